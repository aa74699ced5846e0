"""The usual request in the fewest steps: one input of numbers, in JSON, for all outputs, in JSON.

No error is made here. What is unusual about a request is left to `protocol` and `dataplane`, which alone say what is wrong with one; a test
holds the two ways against each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import prod
from struct import error as StructError  # noqa: N812 - an exception, which the library writes small
from struct import pack

import orjson

from ._typing import TYPE_CHECKING, Any
from .dataplane import finished, is_of
from .protocol import MAX_DIMENSIONS, MAX_NAME, InferRequest, encode, json_values
from .tensors import DATATYPES, Tensor

if TYPE_CHECKING:
    from .dataplane import Model
    from .manifest import TensorSpec

__all__ = ["infer"]

_CODES = {name: datatype.code for name, datatype in DATATYPES.items() if datatype.code not in {None, "?"}}
_FEW = 2**16
"""Elements of outputs that are certain to fit an answer."""


def infer(find: Callable[[str | None], Model], document: Any, *, seconds: float) -> tuple[Model, Tensor, bytes] | None:
    """The model that answered, its input, and its answer as JSON; None, before anything is run, where the long way is to answer.

    In `document` stands neither true nor false. Raises `ServeError`.
    """
    tensor = _input(document)
    if tensor is None:
        return None
    ends = time.monotonic() + seconds
    model = find(None)
    if len(model.inputs) != 1 or not _fits(tensor, model.inputs[0]):
        return None
    outputs = model.run([tensor], [spec.name for spec in model.outputs], seconds=ends - time.monotonic())
    sent = document.get("id")
    return model, tensor, _written(model, outputs, sent) or _at_length(model, outputs, tensor, sent)


def _input(document: Any) -> Tensor | None:
    try:
        (item,) = document["inputs"]
        name, datatype, shape, values = item["name"], item["datatype"], item["shape"], item["data"]
        if len(item) != 4 or len(document) != (2 if "id" in document else 1) or not document.get("id", "").isascii():
            return None
        if type(name) is not str or not 0 < len(name) <= MAX_NAME or type(shape) is not list or len(shape) > MAX_DIMENSIONS:
            return None
        for size in shape:
            if type(size) is not int or size < 1:
                return None
        if len(values) != prod(shape):  # of few sizes, else this would take long
            return None
        return Tensor(name, datatype, tuple(shape), pack(f"{len(values)}{_CODES[datatype]}", *values))
    except (AttributeError, KeyError, OverflowError, StructError, TypeError, ValueError):
        return None


def _fits(tensor: Tensor, spec: TensorSpec) -> bool:
    return tensor.name == spec.name and tensor.datatype == spec.datatype and is_of(tensor.shape, spec.shape)


def _written(model: Model, outputs: list[Tensor], sent: str | None) -> bytes | None:
    items: list[dict[str, Any]] = []
    elements = 0
    for tensor in outputs:
        elements += prod(tensor.shape)
        if elements > _FEW:
            return None
        items.append({"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": json_values(tensor, len(items))})
    document = {"model_name": model.name, "model_version": model.version, "outputs": items}
    if sent is not None:
        document["id"] = sent
    body = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return None if b"null" in body else body


def _at_length(model: Model, outputs: list[Tensor], tensor: Tensor, sent: str | None) -> bytes:
    """As `_written`, of outputs that may be too large for an answer, or hold what JSON can't carry."""
    request = InferRequest([tensor], id=sent)
    return encode(finished(outputs, request, name=model.name, version=model.version, labels=model.labels), request)[1]
