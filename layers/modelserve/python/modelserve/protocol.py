"""The Open Inference Protocol v2 on the wire: bytes to requests, answers to bytes.

The REST interface of KServe and Triton (github.com/kserve/open-inference-protocol) with Triton's binary tensor data
extension: the body is a JSON object, `Inference-Header-Content-Length` bytes long, and after it the binary tensors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from math import isfinite
from reprlib import repr as brief

import orjson

from . import errors
from ._typing import TYPE_CHECKING, Any
from .errors import InvalidInput, InvalidRequest, ServeError
from .tensors import DATATYPES, Tensor, from_list, to_list

if TYPE_CHECKING:
    from .tensors import Data

__all__ = [
    "STATUS",
    "InferRequest",
    "InferResponse",
    "RequestedOutput",
    "encode",
    "json_values",
    "may_hold_booleans",
    "parse",
    "parse_document",
    "status_of",
]

STATUS: dict[type[ServeError], int] = {
    errors.InvalidRequest: 400,
    errors.InvalidInput: 400,
    errors.ModelFailed: 400,
    errors.RouteNotFound: 404,
    errors.ModelNotFound: 404,
    errors.VersionNotFound: 404,
    errors.JobNotFound: 404,
    errors.JobsNotTaken: 404,
    errors.UploadNotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.PayloadTooLarge: 413,
    errors.IdempotencyKeyReused: 422,
    errors.InsufficientMemory: 500,
    errors.ModelNotReady: 503,
    errors.RegistryError: 503,
    errors.DeadlineExceeded: 504,
    errors.JobExpired: 504,
}
"""What each error, and each of its subclasses, is in HTTP."""

_MAX_NAME = 1024
"""Characters; a message may quote it."""
_MAX_DIMENSIONS = 64
_NONE: Mapping[str, Any] = {}
_MAX_TENSORS = 4096
_MAX_SIZE = 2**63 - 1
_FEW_LETTERS = 64
_NOT_FINITE = re.compile(rb"NaN|-?Infinity")


def status_of(error: ServeError) -> int:
    """The HTTP status of an error, by the nearest class in `STATUS`."""
    return next((STATUS[cls] for cls in type(error).__mro__ if cls in STATUS), 500)


class RequestedOutput:
    """An output the caller asked for; `classification` is the number of classes to name instead of the values, 0 for none."""

    __slots__ = ("binary", "classification", "name")

    def __init__(self, name: str, *, binary: bool, classification: int) -> None:
        self.name = name
        self.binary = binary
        self.classification = classification


class InferRequest:
    """A parsed request. `outputs` is None where the caller asked for all of them; `parameters` are as they were sent.

    `raw` is the body of a request that is nothing but the data of the model's only input.
    """

    __slots__ = ("binary", "id", "inputs", "outputs", "parameters", "raw")

    def __init__(
        self,
        inputs: list[Tensor],
        *,
        id: str | None = None,  # noqa: A002 - the protocol's own name
        outputs: list[RequestedOutput] | None = None,
        binary: bool = False,
        raw: Data | None = None,
        parameters: Mapping[str, Any] = _NONE,
    ) -> None:
        self.inputs = inputs
        self.id = id
        self.outputs = outputs
        self.binary = binary
        self.raw = raw
        self.parameters = parameters

    def wants_binary(self, output: str) -> bool:
        """Whether the answer carries `output` as binary data."""
        if self.outputs is not None:
            for requested in self.outputs:
                if requested.name == output:
                    return requested.binary
        return self.binary


class InferResponse:
    """The answer of one version of a model."""

    __slots__ = ("id", "model", "outputs", "version")

    def __init__(self, model: str, version: str, id: str | None, outputs: list[Tensor]) -> None:  # noqa: A002 - as above
        self.model = model
        self.version = version
        self.id = id
        self.outputs = outputs


def parse(body: Data, header_length: int | None) -> InferRequest:
    """A request from its body; `header_length` is Inference-Header-Content-Length, None where there is no such header.

    Raises `InvalidRequest` or `InvalidInput`, saying what is wrong.
    """
    if header_length is None:
        return parse_document(_document_of(body), booleans=may_hold_booleans(body))
    view = memoryview(body)
    if not 0 <= header_length <= len(view):
        raise InvalidRequest(f"Inference-Header-Content-Length is {header_length}; expected 0 to {len(view)}, the size of the body")
    if header_length == 0:
        return InferRequest([], binary=True, raw=view)
    header = view[:header_length]
    return parse_document(_document_of(header), view[header_length:], booleans=may_hold_booleans(header))


def parse_document(document: Any, binary: Data = b"", *, booleans: bool = True) -> InferRequest:
    """A request from its JSON object and the binary data that follows it. Raises as `parse` does."""
    if type(document) is not dict:
        raise InvalidRequest(f"the request is {_kind(document)}; expected a JSON object with 'inputs'")
    items = document.get("inputs")
    if type(items) is not list or not items:
        raise InvalidRequest("'inputs' is missing or empty; expected a list of tensors, each with name, datatype, shape and data")
    if len(items) > _MAX_TENSORS:
        raise InvalidRequest(f"'inputs' has {len(items)} tensors; at most {_MAX_TENSORS} are read")
    request = InferRequest([], id=_id(document) if "id" in document else None)
    if "parameters" in document:
        request.parameters = _parameters(document, "the request")
        request.binary = _flag(request.parameters, "binary_data_output", default=False)
    view, offset, inputs = memoryview(binary), 0, {}
    for item in items:
        tensor, offset = _input(item, view, offset, booleans=booleans)
        if tensor.name in inputs:
            raise InvalidRequest(f"input {tensor.name!r} stands twice in the request; each input is given once")
        inputs[tensor.name] = tensor
    request.inputs = list(inputs.values())
    if offset != len(view):
        raise InvalidRequest(f"{len(view)} bytes of binary data follow the JSON object, but binary_data_size of all inputs is {offset}")
    if (outputs := document.get("outputs")) is not None:
        request.outputs = _outputs(outputs, default=request.binary)
    return request


def encode(response: InferResponse, request: InferRequest) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer. Raises `InvalidInput` or `UnsupportedDatatype` for what JSON can't carry."""
    binaries: list[Data] = []
    items: list[dict[str, Any]] = []
    plain = request.outputs is None
    for tensor in response.outputs:
        name, datatype, data = tensor.name, tensor.datatype, tensor.data
        if request.binary if plain else request.wants_binary(name):
            parameters = {"binary_data_size": memoryview(data).nbytes}
            binaries.append(data)
            items.append({"name": name, "datatype": datatype, "shape": tensor.shape, "parameters": parameters})
        else:
            items.append({"name": name, "datatype": datatype, "shape": tensor.shape, "data": json_values(tensor, len(items))})
    document: dict[str, Any] = {"model_name": response.model, "model_version": response.version, "outputs": items}
    if response.id is not None:
        document["id"] = response.id
    header = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if b"null" in header:
        _refuse_non_finite(response, request)
    if not binaries:
        return {"Content-Type": "application/json"}, header
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(header))}
    return headers, b"".join([header, *binaries])


def json_values(tensor: Tensor, index: int) -> Any:
    """Elements on their way into JSON, FP32 in the fewest digits: orjson writes a numpy array itself."""
    data, datatype = tensor.data, tensor.datatype
    if type(data) is not bytes and hasattr(data, "__array_struct__") and datatype not in {"BYTES", "FP16", "BF16"}:
        return data
    return _fp32_json()(data, index) if datatype == "FP32" else to_list(tensor)


@cache
def _fp32_json() -> Callable[[Data, int], Any]:
    from ._fp32_json import shower  # noqa: PLC0415 - not every model has such outputs, and a numpy array needs no help

    return shower()


def _refuse_non_finite(response: InferResponse, request: InferRequest) -> None:
    """JSON has no NaN and no infinity, and orjson writes null for them."""
    for tensor in response.outputs:
        if tensor.datatype in {"FP32", "FP64"} and not request.wants_binary(tensor.name) and not all(map(isfinite, to_list(tensor))):
            raise InvalidInput(
                f"output {tensor.name!r} holds NaN or infinity, which JSON can't carry; send finite inputs, or ask for it with binary_data"
            )


def _document_of(body: Data) -> Any:
    """The JSON of a body, in which NaN and infinity are numbers too. Raises `InvalidRequest`."""
    try:
        return orjson.loads(body if type(body) is bytes else memoryview(body))
    except orjson.JSONDecodeError as error:
        text = bytes(body)
        if b"NaN" not in text and b"Infinity" not in text:
            raise InvalidRequest(f"the body is not JSON: {error}; send a JSON object, or set Inference-Header-Content-Length") from None
    try:
        orjson.loads(_NOT_FINITE.sub(b"0", text))  # the same JSON is refused with NaN as without
        return json.loads(text)  # tritonclient writes NaN, which only the standard library reads
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}; NaN, Infinity and -Infinity are read as numbers") from None


def may_hold_booleans(body: Data | str) -> bool:
    """Looks at letters that numbers are written without, each found ten times as fast as a word is; after a few it may as well be so."""
    if isinstance(body, str) and "r" not in body and "l" not in body:  # as most
        return False
    text = body.encode() if isinstance(body, str) else bytes(body)
    for place, letter, word in ((1, b"r", b"true"), (2, b"l", b"false")):
        at = text.find(letter)
        for _ in range(_FEW_LETTERS):
            if at < 0:
                break
            if text.startswith(word, at - place):
                return True
            at = text.find(letter, at + 1)
        else:
            return True
    return False


def _input(item: Any, binary: memoryview, offset: int, *, booleans: bool) -> tuple[Tensor, int]:
    """The tensor and the offset of the binary data behind it."""
    if type(item) is not dict:
        raise InvalidRequest(f"an input is {_kind(item)}; expected an object with name, datatype, shape and data")
    name: Any = item.get("name")
    datatype: Any = item.get("datatype")
    shape: Any = item.get("shape")
    if type(name) is not str or not name:
        raise InvalidRequest(f"an input's name is {_kind(name) if name != '' else 'empty'}; expected a string")
    if len(name) > _MAX_NAME:
        raise InvalidRequest(f"an input's name has {len(name)} characters; expected at most {_MAX_NAME}")
    if type(datatype) is not str or datatype not in DATATYPES:
        raise InvalidRequest(f"input {name!r} has datatype {brief(datatype):.60}; expected one of {', '.join(DATATYPES)}")
    if type(shape) is not list or len(shape) > _MAX_DIMENSIONS or not _are_sizes(shape):
        expected = f"a list of at most {_MAX_DIMENSIONS} sizes, each 0 to {_MAX_SIZE}"
        raise InvalidRequest(f"input {name!r} has shape {brief(shape):.60}; expected {expected}")
    size = _parameters(item, f"input {name!r}").get("binary_data_size") if "parameters" in item else None
    values = item.get("data")
    if size is None:
        if type(values) is not list:
            raise InvalidRequest(f"input {name!r} has data that is {_kind(values)}; expected a list, or the parameter binary_data_size")
        return from_list(name, datatype, tuple(shape), values, booleans=booleans), offset
    if values is not None:
        raise InvalidRequest(f"input {name!r} has both data and binary_data_size; send one of them")
    if type(size) is not int or not 0 <= size <= len(binary) - offset:
        raise InvalidRequest(
            f"input {name!r} has binary_data_size {brief(size):.60}, but {len(binary) - offset} bytes are left of the body"
        )
    return Tensor(name, datatype, tuple(shape), binary[offset : offset + size]), offset + size


def _are_sizes(shape: list[Any]) -> bool:
    for size in shape:  # noqa: SIM110 - a generator takes three times as long
        if type(size) is not int or not 0 <= size <= _MAX_SIZE:
            return False
    return True


def _outputs(items: Any, *, default: bool) -> list[RequestedOutput] | None:
    if type(items) is not list:
        raise InvalidRequest(f"'outputs' is {_kind(items)}; expected a list of objects with a name")
    if len(items) > _MAX_TENSORS:
        raise InvalidRequest(f"'outputs' names {len(items)} tensors; at most {_MAX_TENSORS} are read")
    requested: dict[str, RequestedOutput] = {}
    for item in items:
        if type(item) is not dict or type(item.get("name")) is not str or len(item["name"]) > _MAX_NAME:
            raise InvalidRequest(f"a requested output is {brief(item):.60}; expected an object with a name")
        name = item["name"]
        parameters = _parameters(item, f"output {name!r}")
        classes = parameters.get("classification", 0)
        if type(classes) is not int or classes < 0:
            raise InvalidRequest(
                f"output {name!r} has classification {brief(classes):.60}; expected the number of classes to name, 1 or more"
            )
        if name in requested:
            raise InvalidRequest(f"output {name!r} is asked for twice; name each output once")
        requested[name] = RequestedOutput(name, binary=_flag(parameters, "binary_data", default=default), classification=classes)
    return list(requested.values()) or None


def _parameters(item: dict[str, Any], where: str) -> Mapping[str, Any]:
    parameters = item.get("parameters")
    if parameters is None:
        return _NONE
    if type(parameters) is not dict:
        raise InvalidRequest(f"'parameters' of {where} is {_kind(parameters)}; expected an object")
    if "shared_memory_region" in parameters:
        raise InvalidRequest(f"{where} names a shared memory region; there is none here, send the data itself")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidRequest(f"parameter {name!r} is {brief(value):.60}; expected true or false")
    return value


def _id(document: dict[str, Any]) -> str | None:
    value = document.get("id")
    if value is not None and (type(value) is not str or not _is_unicode(value)):
        raise InvalidRequest(f"'id' is {brief(value):.60}; expected a string of Unicode text")
    return value


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "missing"}
    return names.get(type(value), "a number")
