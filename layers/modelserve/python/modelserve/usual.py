"""The usual request in the fewest steps, from event to answer: one input of numbers, in JSON, for all outputs, in JSON.

No error about a request is made here. What is unusual about one is left to `proxy`, `protocol` and `dataplane`, which alone say what is
wrong with it; a test holds the two ways against each other.
"""

from __future__ import annotations

import time
from math import prod
from struct import error as StructError  # noqa: N812 - an exception, which the library writes small

import orjson

from ._typing import TYPE_CHECKING, Any
from .dataplane import finished, is_of
from .endpoints import CONTENT_ENCODING, HEADER_LENGTH, Response
from .errors import ServeError
from .protocol import InferRequest, encode, json_values, may_hold_booleans
from .proxy import body_of, target_of
from .tensors import DATATYPES, Tensor, packed

if TYPE_CHECKING:
    from .dataplane import DataPlane, Model

__all__ = ["Usual"]

_CODES = {name: datatype.code for name, datatype in DATATYPES.items() if datatype.code not in {None, "?"}}
_KEPT = 64
"""Sets of headers that are known again."""
_FEW = 2**16
"""Bytes of outputs that need not be counted as text before they are written."""


class Usual:
    """Answers for the default alias of one model."""

    def __init__(self, name: str, plane: DataPlane, *, max_body_bytes: int) -> None:
        self._path = f"/v2/models/{name}/infer"
        self._plane = plane
        self._max_body_bytes = max_body_bytes
        self._headers: set[tuple[str, ...]] = set()
        """Of requests before, and nothing about their bodies: the same come again, since a client and whatever is on its way send them."""

    def answer(self, event: Any, ends: float) -> tuple[Response | None, Any]:
        """The answer by `ends` of `time.monotonic`; None, before anything is run, where the long way is to find it, and then the body's
        JSON if it was read.

        Raises `ServeError`.
        """
        document: Any = None
        try:
            if target_of(event) != ("POST", self._path):
                return None, None
            headers = tuple(event["headers"].keys())
            if headers not in self._headers and not self._are_plain(headers):
                return None, None
            body = body_of(event)
            if len(body) > self._max_body_bytes:
                return None, None
            document = orjson.loads(body)
            asked = None if may_hold_booleans(body) else self._asked(document)
        except (AttributeError, KeyError, OverflowError, ServeError, StructError, TypeError, ValueError):
            asked = None
        if asked is None:
            return None, document
        model, tensor = asked
        outputs = model.run([tensor], [spec.name for spec in model.outputs], seconds=ends - time.monotonic())
        sent = document.get("id")
        text = _written(model, outputs, sent) or _at_length(model, outputs, tensor, sent)
        response = Response(200, {"Content-Type": "application/json"}, text)
        response.version, response.rows = model.version, tensor.shape[0] if tensor.shape else 1
        return response, None

    def _are_plain(self, headers: tuple[str, ...]) -> bool:
        names = ",".join(headers).lower()
        plain = CONTENT_ENCODING not in names and HEADER_LENGTH not in names
        if plain and len(self._headers) < _KEPT:
            self._headers.add(headers)
        return plain

    def _asked(self, document: Any) -> tuple[Model, Tensor] | None:
        """The model and its input. Of names and ranks a signature is the only bound: it can't hold more than it says."""
        (item,) = document["inputs"]
        name, datatype, shape, values = item["name"], item["datatype"], item["shape"], item["data"]
        if len(document) != 1 and (len(document) != 2 or not document["id"].isascii()):
            return None
        if len(item) != 4 or type(shape) is not list:
            return None
        model = self._plane.find(None)
        (spec,) = model.inputs
        if name != spec.name or datatype != spec.datatype:
            return None
        for size in shape:
            if type(size) is not int or size < 1:
                return None
        sizes = tuple(shape)
        if not is_of(sizes, spec.shape) or len(values) != prod(sizes):
            return None
        return model, Tensor(name, datatype, sizes, packed(_CODES[datatype], values))


def _written(model: Model, outputs: list[Tensor], sent: str | None) -> bytes | None:
    items: list[dict[str, Any]] = []
    size = 0
    for tensor in outputs:
        size += len(tensor.data) if type(tensor.data) is bytes else _FEW + 1  # what a run lends is large
        if size > _FEW:
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
