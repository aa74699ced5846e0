"""Triton's binary tensors behind SageMaker, whose content type carries the length of the JSON object that a header carries elsewhere.

https://docs.aws.amazon.com/sagemaker/latest/dg/deploy-models-frameworks-triton.html: all inputs and outputs travel as binary data, so
that no number passes through text on its way to a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from reprlib import repr as brief

import orjson

from ._typing import TYPE_CHECKING, Any
from .errors import InvalidInput, UnexpectedAnswer
from .tensors import DATATYPES, Tensor, iter_bytes

if TYPE_CHECKING:
    from .manifest import TensorSpec

__all__ = ["CONTENT_TYPE", "decode_response", "encode_request"]

CONTENT_TYPE = "application/vnd.sagemaker-triton.binary+json;json-header-size="
"""Less the number of bytes; Triton reads it to the letter, and any other spelling as JSON."""
_MAX_HEADER = 2**20
_MAX_SIZE = 2**63 - 1


def encode_request(inputs: Sequence[Tensor], outputs: Sequence[str], *, batched: bool = False) -> tuple[str, bytes]:
    """Content type and body that ask for `outputs` of `inputs`; `batched` where max_batch is not 0."""
    document = {
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": _on_wire(tensor.shape, batched),
                "parameters": {"binary_data_size": memoryview(tensor.data).nbytes},
            }
            for tensor in inputs
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    header = orjson.dumps(document)
    return f"{CONTENT_TYPE}{len(header)}", b"".join([header, *(tensor.data for tensor in inputs)])


def decode_response(content_type: str, body: bytes, outputs: Sequence[TensorSpec], *, archive: int, batched: bool = False) -> list[Tensor]:
    """The tensors of an answer in the order of `outputs`, which it must hold, and nothing else, as their specifications say.

    `archive` is what Triton calls the version that has to have answered, as `manifest.archive_version` gives it.
    Without a size in `content_type`, as of an answer that was kept in S3, the JSON object ends where it ends.
    Raises `UnexpectedAnswer`.
    """
    document, data = _split(content_type, body)
    if document.get("model_version") != str(archive):
        raise UnexpectedAnswer(f"version {brief(document.get('model_version')):.60} of it answered, expected {archive}")
    items = document.get("outputs")
    if type(items) is not list:
        raise UnexpectedAnswer(f"'outputs' is {brief(items):.60}, expected a list")
    wanted = {spec.name: spec for spec in outputs}
    found: dict[str, Tensor] = {}
    for item in items:
        name = item.get("name") if type(item) is dict else None
        spec = wanted.pop(name, None) if type(name) is str else None
        if spec is None:
            names = ", ".join(spec.name for spec in outputs)
            raise UnexpectedAnswer(f"an output is named {brief(name):.60}, expected each of {names} once")
        found[spec.name] = tensor = _tensor(item, spec, data, batched)
        data = data[memoryview(tensor.data).nbytes :]
    if wanted:
        raise UnexpectedAnswer(f"output {next(iter(wanted))!r} is missing")
    if data:
        raise UnexpectedAnswer(f"{len(data)} bytes follow the last output")
    return [found[spec.name] for spec in outputs]


def _on_wire(shape: tuple[int, ...], batched: bool) -> tuple[int, ...]:
    """Triton knows no scalar: one beside the batch has a dimension of its own, which config.pbtxt takes away before the graph."""
    return (*shape, 1) if len(shape) == batched else shape


def _split(content_type: str, body: bytes) -> tuple[Mapping[str, Any], memoryview]:
    """The JSON object and the bytes behind it."""
    try:
        size = _header_size(content_type, body)
        document = orjson.loads(body[:size])
    except (ValueError, RecursionError):
        raise UnexpectedAnswer(f"{len(body)} bytes that do not begin with a JSON object") from None
    if type(document) is not dict:
        raise UnexpectedAnswer("JSON that is no object")
    return document, memoryview(body)[size:]


def _header_size(content_type: str, body: bytes) -> int:
    told = content_type.lower().rpartition("json-header-size=")[2].strip()
    if told.isascii() and told.isdecimal() and len(told) < 20 and 0 < int(told) <= len(body):
        return int(told)
    # In Latin-1 a character is a byte, and JSON's own characters are themselves.
    return json.JSONDecoder().raw_decode(body[:_MAX_HEADER].decode("latin-1"))[1]


def _tensor(item: Mapping[str, Any], spec: TensorSpec, data: memoryview, batched: bool) -> Tensor:
    what = f"output {spec.name!r}"
    datatype: Any = item.get("datatype")
    shape: Any = item.get("shape")
    if datatype != spec.datatype:
        raise UnexpectedAnswer(f"{what} has datatype {brief(datatype):.60}, expected {spec.datatype}")
    expected = _on_wire(spec.shape, batched)
    if not _fits(shape, expected):
        raise UnexpectedAnswer(f"{what} has shape {brief(shape):.60}, expected {list(expected)}, where -1 is any size")
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if type(parameters) is dict else None
    if type(size) is not int or not 0 <= size <= len(data):
        raise UnexpectedAnswer(f"{what} has binary_data_size {brief(size):.60}, and {len(data)} bytes are left")
    tensor = Tensor(spec.name, spec.datatype, tuple(shape[: len(spec.shape)]), data[:size])
    if size != (prod(shape) * DATATYPES[datatype].size if datatype != "BYTES" else _bytes_size(tensor)):
        raise UnexpectedAnswer(f"{what} has {size} bytes, which are not {datatype} of shape {brief(shape):.60}")
    return tensor


def _fits(shape: Any, expected: tuple[int, ...]) -> bool:
    if type(shape) is not list or len(shape) != len(expected):
        return False
    return all(type(size) is int and 0 <= size <= _MAX_SIZE and want in (-1, size) for size, want in zip(shape, expected, strict=True))


def _bytes_size(tensor: Tensor) -> int:
    """What a BYTES tensor takes if it holds as many elements as its shape says, else -1."""
    try:
        sizes = [4 + len(element) for element in iter_bytes(tensor)]
    except InvalidInput:
        return -1
    return sum(sizes) if len(sizes) == prod(tensor.shape) else -1
