"""ONNX Runtime through its C API: what runs of a graph need is prepared once, so that each is few calls. `binding` is its reference."""

from __future__ import annotations

import time

from ._frames import ELEMENTS, Plan
from ._graph import KINDS, TENSOR, Graph, options
from ._ort import Failed, LibraryUnavailable, api
from ._typing import TYPE_CHECKING
from ._watchdog import Watchdog
from .errors import DeadlineExceeded, ModelNotReady, UnverifiedModel
from .manifest import TensorSpec
from .session import Session, entries, failed, unloadable, unoptimized
from .tensors import Tensor, is_finite, not_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .manifest import Load

__all__ = ["NativeSession", "preload"]

_PLANS = 16
"""Choices of outputs for which a session keeps what their runs need; a client may ask for any."""
_MAPPED = {"session.use_ort_model_bytes_directly": "1", "session.use_ort_model_bytes_for_initializers": "1"}
_WATCHDOG = Watchdog()
_IDENTITY = bytes.fromhex(
    "080a3a370a100a017812017922084964656e746974791201675a0f0a0178120a0a08080112040a020801620f0a0179120a0a08080112040a02080142040a001015"
)
"""A model whose output is its input."""


def preload() -> None:
    """Loads the library, and what its first session makes for all others: 3 ms for the schemas and kernels of all operators.

    Raises `LibraryUnavailable`.
    """
    library = api()
    with options(library, threads=1, entries={}, unoptimized=False) as made:
        Graph(library).load_data(_IDENTITY, made)


class NativeSession(Session):
    """A loaded graph; `inputs` and `outputs` are its signature.

    The file may be deleted once the session exists. Raises `UnverifiedModel` for a graph that can't be loaded or served,
    `InsufficientMemory` for one that asks for more than the process may have, `ModelNotReady` without a library to drive.
    """

    def __init__(self, path: str, *, name: str, threads: int, refuse_nan: bool = False, load: Load | None = None) -> None:
        self.name = name
        self._refuse_nan = refuse_nan
        self._graph = _loaded(path, name, threads, load)
        self.inputs = tuple(_spec(name, *described) for described in self._graph.signature("Input"))
        self.outputs = tuple(_spec(name, *described) for described in self._graph.signature("Output"))
        self._plans: dict[tuple[str, ...], Plan] = {}

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        """As `Session.run`."""
        if self._refuse_nan:
            _refuse_nan(inputs)
        in_time = True
        try:
            names = tuple(outputs)
            plan = self._plans.get(names)
            if plan is None:
                if len(set(names)) < len(names):  # which ONNX Runtime would write once, and leave the other as it was
                    return self._repeated(inputs, names, seconds)
                plan = self._plan(names)
            frame = plan.take()
            frame.write(inputs)
            ticket = _WATCHDOG.watch(frame, time.monotonic() + seconds)
            try:
                frame.run()
            finally:
                in_time = _WATCHDOG.release(ticket)
            answers = frame.read()
        except (Failed, MemoryError) as error:
            if not in_time:
                raise DeadlineExceeded(self.name, seconds) from None
            raise failed(error, name=self.name) from None
        if in_time:
            plan.give_back(frame)
        return answers

    def _repeated(self, inputs: list[Tensor], outputs: tuple[str, ...], seconds: float) -> list[Tensor]:
        once = list(dict.fromkeys(outputs))
        found = dict(zip(once, self.run(inputs, once, seconds=seconds), strict=True))
        return [found[name] for name in outputs]

    def _plan(self, outputs: tuple[str, ...]) -> Plan:
        known = [spec.name for spec in self.outputs]
        if not set(outputs) <= set(known):
            raise Failed(f"the outputs {list(outputs)} were asked for; expected some of {known}")
        plan = Plan(self._graph, [spec.name for spec in self.inputs], outputs)
        if len(self._plans) < _PLANS:
            self._plans[outputs] = plan
        return plan


def _loaded(path: str, name: str, threads: int, load: Load | None) -> Graph:
    try:
        library = api()
    except LibraryUnavailable as error:
        raise ModelNotReady(name, f"{error}, or set SESSION_BACKEND=binding") from None
    mapped = load is not None and load.format == "ort"
    graph = Graph(library)
    settings = entries(load) | (_MAPPED if mapped else {})
    try:
        with options(library, threads=threads, entries=settings, unoptimized=unoptimized(load)) as made:
            (graph.load_mapped if mapped else graph.load)(path, made)
    except (Failed, MemoryError) as error:
        raise unloadable(error, name=name, path=path) from None
    return graph


def _spec(model: str, name: str, kind: int, element: int, shape: tuple[int, ...]) -> TensorSpec:
    if element not in ELEMENTS:
        found = f"a tensor of ONNX's element type {element}" if kind == TENSOR else f"a value of kind {KINDS[kind]}"
        raise UnverifiedModel(f"{name!r} of {model!r}", found, "a tensor; convert with zipmap=False")
    return TensorSpec(name=name, datatype=ELEMENTS[element], shape=shape)


def _refuse_nan(inputs: Sequence[Tensor]) -> None:
    for tensor in inputs:
        if not is_finite(tensor):
            raise not_finite(tensor.name)
