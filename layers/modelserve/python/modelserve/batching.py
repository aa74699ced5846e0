"""Requests that wait together run together: those that fit each other as one, by rows, and each is answered as if it had been alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from ._typing import Protocol
from .dataplane import MAX_ANSWER_BYTES, DataPlane, Model, check_elements, finished
from .errors import InsufficientMemory, ServeError
from .protocol import InferRequest, InferResponse
from .rows import cut, join
from .tensors import Tensor

__all__ = ["MOST_BYTES", "MOST_ROWS", "Joinable", "OutOfTime", "run"]

MOST_ROWS = 256
"""Of requests that run together; a larger one runs by itself."""
MOST_BYTES = 8 * 2**20
"""Of their inputs."""


class Joinable(Model, Protocol):
    """A version that knows whether rows of several requests may run together: `fetch.LoadedModel`."""

    row_wise: bool


class OutOfTime(ServeError):
    """A request that no time was left for: it was not run."""

    def __init__(self, model: str) -> None:
        super().__init__(f"what was before it took all the time; it was not begun by model {model!r}; raise job_timeout")


class _Asked:
    """A request that fits the signature, its inputs in the order of the signature."""

    __slots__ = ("inputs", "names", "request", "rows", "size")

    def __init__(self, model: Joinable, request: InferRequest) -> None:
        """Raises `ServeError` for what is wrong with it, whatever is beside it."""
        _, self.names = DataPlane(lambda _: model).checked(None, request)
        order = [spec.name for spec in model.inputs]
        self.request = request
        self.inputs = sorted(request.inputs, key=lambda tensor: order.index(tensor.name))
        check_elements(self.inputs, refuse_nan=False)  # else texts that one has too many of would be taken for the next one's
        rows = {tensor.shape[:1] for tensor in self.inputs}
        self.rows = min(rows)[0] if model.row_wise and len(rows) == 1 else 0
        """0 where it can't be joined with others."""
        self.size = sum(memoryview(tensor.data).nbytes for tensor in self.inputs)

    @property
    def form(self) -> tuple[object, ...]:
        """What requests must share to run together."""
        return frozenset(self.names), *(tensor.shape[1:] for tensor in self.inputs)


def run(
    model: Joinable, requests: Sequence[InferRequest], *, seconds: float, most: int = MAX_ANSWER_BYTES
) -> list[InferResponse | ServeError]:
    """The answer to each of `requests`, or why there is none, all within `seconds`; an answer is no larger than `most` bytes can be.

    Each may take an equal share of what time is left, so that none takes that of others. A joint run has half of its requests' share;
    where it fails, each of them runs alone in the other half: one of them may be the reason.
    """
    ends = time.monotonic() + seconds
    answers: dict[int, InferResponse | ServeError] = {}
    asked: dict[int, _Asked] = {}
    for index, request in enumerate(requests):
        try:
            asked[index] = _Asked(model, request)
        except ServeError as error:
            answers[index] = error
    for group in _groups(asked):
        waiting = len(requests) - len(answers)
        for index, found in zip(group, _run(model, [asked[index] for index in group], ends, waiting), strict=True):
            answers[index] = _finished(model, asked[index], found, most)
    return [answers[index] for index in range(len(requests))]


def _groups(asked: dict[int, _Asked]) -> Iterator[list[int]]:
    """Those that may run together, each group in the order they came."""
    open_: dict[tuple[object, ...], list[int]] = {}
    for index, one in asked.items():
        if not one.rows:
            yield [index]
            continue
        group = open_.setdefault(one.form, [])
        fits = sum(asked[other].rows for other in group) + one.rows <= MOST_ROWS
        if group and not (fits and sum(asked[other].size for other in group) + one.size <= MOST_BYTES):
            yield group
            group = open_[one.form] = []
        group.append(index)
    yield from open_.values()


def _run(model: Joinable, group: Sequence[_Asked], ends: float, waiting: int) -> list[list[Tensor] | ServeError]:
    """`waiting` are all that share the time until `ends`, these among them."""
    if len(group) > 1:
        try:
            return list(_together(model, group, (ends - time.monotonic()) * len(group) / waiting / 2))
        except (ServeError, MemoryError, ValueError):
            pass  # whose fault it is shows when each runs alone
    return [_alone(model, one, (ends - time.monotonic()) / (waiting - before)) for before, one in enumerate(group)]


def _together(model: Joinable, group: Sequence[_Asked], seconds: float) -> list[list[Tensor]]:
    """Raises `ServeError`, `MemoryError`, and `ValueError` where the answer hasn't the rows of the requests."""
    names = [spec.name for spec in model.outputs if spec.name in group[0].names]
    outputs = model.run(join([one.inputs for one in group]), names, seconds=seconds)
    parts = cut(outputs, [one.rows for one in group])
    return [_ordered(part, one.names) for part, one in zip(parts, group, strict=True)]


def _alone(model: Joinable, one: _Asked, seconds: float) -> list[Tensor] | ServeError:
    if seconds <= 0:
        return OutOfTime(model.name)
    try:
        return model.run(one.inputs, one.names, seconds=seconds)
    except ServeError as error:
        return error
    except MemoryError:
        return InsufficientMemory(model.name)


def _ordered(outputs: Sequence[Tensor], names: Sequence[str]) -> list[Tensor]:
    found = {tensor.name: tensor for tensor in outputs}
    return [found[name] for name in names]


def _finished(model: Joinable, one: _Asked, found: list[Tensor] | ServeError, most: int) -> InferResponse | ServeError:
    if isinstance(found, ServeError):
        return found
    try:
        return finished(found, one.request, name=model.name, version=model.version, labels=model.labels, most=most)
    except ServeError as error:
        return error
