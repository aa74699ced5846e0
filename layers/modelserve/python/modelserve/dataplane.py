"""Inference without a transport: a request that is checked against a model's signature, run, and answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from math import prod

from ._typing import TYPE_CHECKING, Any, Protocol
from .classification import classify
from .errors import InvalidInput, PayloadTooLarge
from .manifest import TensorSpec
from .protocol import InferRequest, InferResponse
from .tensors import DATATYPES, Tensor, is_finite, not_finite, strings

if TYPE_CHECKING:
    from .tensors import Data

__all__ = [
    "MAX_ANSWER_BYTES",
    "MOST_ANSWERED_BYTES",
    "DataPlane",
    "Model",
    "answer_too_large",
    "check",
    "check_elements",
    "finished",
    "is_of",
]

MAX_ANSWER_BYTES = 6 * 2**20
"""What Lambda carries back."""
MOST_ANSWERED_BYTES = 4 * MAX_ANSWER_BYTES
"""Of outputs that may still fit an answer: as text, 2 bytes an element there can be 8 here."""


class Model(Protocol):
    """One version of a model that can answer; a session here, an endpoint elsewhere."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    labels: tuple[str, ...]
    platform: str

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        """The named outputs. Raises `ServeError`."""

    def ready(self, *, seconds: float) -> None:
        """Raises `ServeError` unless it can answer now; finding out takes no longer than `seconds`."""


class DataPlane:
    """What the protocol asks of a model, whatever brought the question."""

    def __init__(self, find: Callable[[str | None], Model]) -> None:
        """`find` gives the model of a version or alias, of the default alias for None, or raises `ServeError`."""
        self.find = find

    def infer(self, version: str | None, request: InferRequest, *, seconds: float) -> InferResponse:
        """The answer to `request`, loading and running within `seconds`. Raises `ServeError`."""
        ends = time.monotonic() + seconds
        model, names = self.checked(version, request)
        outputs = model.run(request.inputs, names, seconds=ends - time.monotonic())
        return finished(outputs, request, name=model.name, version=model.version, labels=model.labels)

    def checked(self, version: str | None, request: InferRequest) -> tuple[Model, list[str]]:
        """The model that answers, whose signature `request` fits, and the outputs to ask it for. Raises `ServeError`."""
        model = self.find(version)
        if request.raw is not None:
            request.inputs = [_from_raw(model.inputs, request.raw)]
        check(request.inputs, model.inputs)
        return model, _names(model, request)

    def metadata(self, version: str | None) -> dict[str, Any]:
        """The model metadata object of the protocol. Raises `ServeError`."""
        model = self.find(version)
        return {
            "name": model.name,
            "versions": [model.version],
            "platform": model.platform,
            "inputs": [_describe(spec) for spec in model.inputs],
            "outputs": [_describe(spec) for spec in model.outputs],
        }

    def ready(self, version: str | None, *, seconds: float) -> None:
        """Raises `ServeError` unless the model can answer; finding out takes no longer than `seconds`."""
        ends = time.monotonic() + seconds
        self.find(version).ready(seconds=ends - time.monotonic())


def finished(
    outputs: list[Tensor], request: InferRequest, *, name: str, version: str, labels: tuple[str, ...], most: int = MAX_ANSWER_BYTES
) -> InferResponse:
    """The answer of a version of a model to `request`, whose `outputs` are those asked for; no larger than `most` bytes can be.

    Raises `PayloadTooLarge`, `InvalidInput`.
    """
    _refuse_too_large(outputs, request, most)
    if request.outputs is not None:
        outputs = [
            classify(tensor, requested.classification, labels) if requested.classification else tensor
            for tensor, requested in zip(outputs, request.outputs, strict=True)
        ]
    return InferResponse(name, version, request.id, outputs)


def answer_too_large(limit: int = MAX_ANSWER_BYTES) -> PayloadTooLarge:
    """The error in place of an answer over `limit` bytes."""
    return PayloadTooLarge("the answer", limit, "send fewer rows, ask for fewer outputs, or ask for them with binary_data")


def check(inputs: Sequence[Tensor], signature: Sequence[TensorSpec]) -> None:
    """Raises `InvalidInput` unless `inputs` are those of `signature`, in any order."""
    expected = {spec.name: spec for spec in signature}
    for tensor in inputs:
        spec = expected.pop(tensor.name, None)
        if spec is None:
            raise InvalidInput(f"there is no input {tensor.name!r}; expected {_list(signature)}")
        _fits(tensor, spec)
    if expected:
        raise InvalidInput(f"input {next(iter(expected))!r} is missing; expected {_list(signature)}")


def check_elements(inputs: Sequence[Tensor], *, refuse_nan: bool) -> None:
    """What a signature can't rule out, in the words of `session.Session`. Raises `InvalidInput`."""
    for tensor in inputs:
        if tensor.datatype == "BYTES":
            strings(tensor)
        elif refuse_nan and not is_finite(tensor):
            raise not_finite(tensor.name)


def _fits(tensor: Tensor, spec: TensorSpec) -> None:
    if tensor.datatype != spec.datatype:
        raise InvalidInput(f"input {tensor.name!r} is {tensor.datatype}; expected {spec.datatype}")
    shape = tensor.shape
    if not is_of(shape, spec.shape):
        raise InvalidInput(f"input {tensor.name!r} has shape {list(shape)}; expected {list(spec.shape)}, where -1 is any size")
    if 0 in shape:
        raise InvalidInput(f"input {tensor.name!r} has shape {list(shape)} and so no elements; send at least one row")
    size = DATATYPES[tensor.datatype].size
    nbytes = memoryview(tensor.data).nbytes
    if size and nbytes != prod(shape) * size:
        raise InvalidInput(f"input {tensor.name!r} has {nbytes} bytes; {tensor.datatype} of shape {list(shape)} takes {prod(shape) * size}")


def is_of(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a tensor of `shape` is one of those that a signature wants, in which -1 is any size."""
    if shape == wanted:
        return True
    if len(shape) != len(wanted):
        return False
    if shape[1:] == wanted[1:] and wanted[0] == -1:  # nearly every model's: any number of rows
        return True
    return all(want in (-1, size) for size, want in zip(shape, wanted, strict=True))


def _refuse_too_large(outputs: Sequence[Tensor], request: InferRequest, most: int) -> None:
    """Before it is written: as JSON an answer takes a multiple of its memory. An element takes two bytes of text at least."""
    wholes = {each.name for each in request.outputs if each.classification or each.binary} if request.outputs else None
    size = 0
    for tensor in outputs:
        whole = request.binary if wholes is None else tensor.name in wholes
        size += memoryview(tensor.data).nbytes if whole else 2 * prod(tensor.shape)
    if size > most:
        raise answer_too_large(most)


def _from_raw(signature: Sequence[TensorSpec], data: Data) -> Tensor:
    """The only input of a model from a body that is nothing but its data; one dynamic dimension follows from the size."""
    nbytes = memoryview(data).nbytes
    if len(signature) != 1 or sum(size < 0 for size in signature[0].shape) > 1:
        raise InvalidInput(f"a raw body fits a model with one input and one dynamic dimension at most; expected {_list(signature)}")
    spec = signature[0]
    if spec.datatype == "BYTES":
        element = nbytes.to_bytes(4, "little") + bytes(data)
        return Tensor(spec.name, spec.datatype, tuple(1 if size < 0 else size for size in spec.shape), element)
    row = DATATYPES[spec.datatype].size * prod(size for size in spec.shape if size >= 0)
    if not row or nbytes % row:
        raise InvalidInput(f"the raw body has {nbytes} bytes; expected a multiple of {row} for {_list(signature)}")
    return Tensor(spec.name, spec.datatype, tuple(nbytes // row if size < 0 else size for size in spec.shape), data)


def _names(model: Model, request: InferRequest) -> list[str]:
    known = [spec.name for spec in model.outputs]
    if request.outputs is None:
        return known
    for requested in request.outputs:
        if requested.name not in known:
            raise InvalidInput(f"there is no output {requested.name!r}; expected one of {', '.join(known)}")
    return [requested.name for requested in request.outputs]


def _describe(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _list(signature: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} ({spec.datatype} {list(spec.shape)})" for spec in signature)
