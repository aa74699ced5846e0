"""Requests and answers as Triton's SageMaker front end reads and writes them.

Written from its sources (http_server.cc, sagemaker_server.cc, infer_request.cc) and what a real one answered, on NVIDIA's own client
library and not on `modelserve`: what the gateway encodes wrong must not be read by the same mistake. Left out, as nothing here asks for
it: bodies without a JSON header, classification, shared memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

__all__ = ["Request", "Spec", "TritonError", "answer", "check", "error", "parse"]

BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="
_WHO = "[request id: <id_unknown>] "
"""Before what the server's core says, as the gateway sends no id."""


class TritonError(Exception):
    """What Triton answers in place of an inference: a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Spec:
    """An input or output; `shape` has the batch dimension in it where the model has one, and -1 for a size that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    squeezed: bool = False
    """The model itself has it without the last dimension, which is 1."""


@dataclass(frozen=True)
class Request:
    """Arrays by input, and the wanted outputs, each with whether it goes out as binary data; None is all of them."""

    id: str
    specs: Sequence[Spec]
    arrays: Mapping[str, Any]
    outputs: Mapping[str, bool] | None
    binary: bool


def parse(content_type: str, body: bytes) -> Request:
    """Raises `TritonError`, always with status 400."""
    size = _header_size(content_type, len(body))
    document = _member(_json(body[:size]), "inputs", list, "request")
    binary, specs = memoryview(body)[size:], []
    arrays: dict[str, Any] = {}
    for item in document["inputs"]:
        spec = _spec(item)
        if spec.name in arrays:
            raise TritonError(400, f"input '{spec.name}' already exists in request")
        arrays[spec.name], binary = _array(item, spec, binary)
        specs.append(spec)
    if binary:
        raise TritonError(400, "unexpected additional input data for model")
    default = document.get("parameters", {}).get("binary_data_output", False)
    return Request(str(document.get("id", "")), specs, arrays, _outputs(document, default=default), default)


def check(request: Request, model: str, inputs: Mapping[str, Spec], outputs: Mapping[str, Spec], max_batch: int) -> None:
    """Raises `TritonError` where a request does not fit what `config.pbtxt` says of the model."""
    for name in request.outputs or ():
        if name not in outputs:
            raise TritonError(400, f"{_WHO}unexpected inference output '{name}' for model '{model}'")
    if len(request.specs) != len(inputs):
        missing = sorted(set(inputs) - set(request.arrays))
        raise TritonError(
            400,
            f"{_WHO}expected {len(inputs)} inputs but got {len(request.specs)} inputs for model '{model}'. Missing: {', '.join(missing)}",
        )
    for spec in request.specs:
        if spec.name not in inputs:
            raise TritonError(400, f"{_WHO}unexpected inference input '{spec.name}' for model '{model}'")
    _check_batch(request, model, max_batch)
    for spec in request.specs:
        _check_input(spec, inputs[spec.name], model)


def answer(request: Request, model: tuple[str, str], specs: Mapping[str, Spec], arrays: Mapping[str, Any]) -> tuple[str, bytes]:
    """Content type and body of what `model`, a name and a version, answers: `arrays`, in an order of its own. Raises `TritonError`."""
    items: list[dict[str, Any]] = []
    binaries: list[bytes] = []
    for output in sorted(arrays):
        array, datatype = arrays[output], specs[output].datatype
        binary = request.binary if request.outputs is None else request.outputs[output]
        item: dict[str, Any] = {"name": output, "datatype": datatype, "shape": list(array.shape)}
        if datatype == "FP16" and not binary:
            raise TritonError(400, "sending FP16 data via JSON is not supported. Please use the binary data format for output")
        if binary:
            binaries.append(_bytes(array, datatype))
            item["parameters"] = {"binary_data_size": len(binaries[-1])}
        else:
            item["data"] = array.ravel().tolist()
        items.append(item)
    name, version = model
    document = {**({"id": request.id} if request.id else {}), "model_name": name, "model_version": version, "outputs": items}
    header = json.dumps(document, separators=(",", ":")).encode()
    if not binaries:
        return "application/json", header
    return f"{BINARY}{len(header)}", b"".join([header, *binaries])


def error(message: str) -> bytes:
    """The body of an answer that is none."""
    return json.dumps({"error": message}).encode()


def _header_size(content_type: str, size: int) -> int:
    if BINARY not in content_type:
        return size
    if not content_type.startswith(BINARY):
        raise TritonError(400, f"expect MIME type for binary data starts with '{BINARY}', got: {content_type}")
    digits = content_type.removeprefix(BINARY)
    if not digits.isdigit() or int(digits) > size:
        raise TritonError(400, f"inference header size should be in range (0, {size}), got: {digits}")
    return int(digits)


def _json(header: bytes) -> Any:
    try:
        return json.loads(header)
    except (ValueError, RecursionError) as refused:
        raise TritonError(400, f"failed to parse the request JSON buffer: {refused}") from None


def _member(value: Any, name: str, kind: type, where: str) -> Any:
    """`value`, once it is known to be an object with a member of a type."""
    if not isinstance(value, dict) or not isinstance(value.get(name), kind):
        raise TritonError(400, f"Unable to parse '{name}': attempt to access JSON non-{kind.__name__} of the {where} as {kind.__name__}")
    return value


def _spec(item: Any) -> Spec:
    for name, kind in (("name", str), ("datatype", str), ("shape", list)):
        _member(item, name, kind, "input")
    if not all(type(size) is int and size >= 0 for size in item["shape"]):
        raise TritonError(400, f"Unable to parse 'shape' of input '{item['name']}'")
    if triton_to_np_dtype(item["datatype"]) is None:
        raise TritonError(400, f"inference input '{item['name']}' has the unknown datatype '{item['datatype']}'")
    return Spec(item["name"], item["datatype"], tuple(item["shape"]))


def _array(item: Mapping[str, Any], spec: Spec, binary: memoryview) -> tuple[Any, memoryview]:
    """The elements, and what is left of the binary data behind them."""
    size = item.get("parameters", {}).get("binary_data_size")
    if size is None:
        return _from_json(_member(item, "data", list, "input")["data"], spec), binary
    if size > len(binary):
        raise TritonError(400, f"unexpected size for input '{spec.name}', expecting {size - len(binary)} additional bytes for model")
    return _from_bytes(binary[:size], spec), binary[size:]


def _from_json(values: list[Any], spec: Spec) -> Any:
    try:
        array = np.array(values, dtype=triton_to_np_dtype(spec.datatype))
        return array.reshape(spec.shape)
    except (ValueError, TypeError, OverflowError) as refused:
        raise TritonError(400, f"Unable to parse 'data' of input '{spec.name}': {refused}") from None


def _from_bytes(data: memoryview, spec: Spec) -> Any:
    count = math.prod(spec.shape)
    if spec.datatype == "BYTES":
        return _strings(bytes(data), spec, count)
    dtype = np.dtype(triton_to_np_dtype(spec.datatype))
    if len(data) != count * dtype.itemsize:
        raise TritonError(
            400, f"{_WHO}input byte size mismatch for input '{spec.name}'. Expected {count * dtype.itemsize}, got {len(data)}"
        )
    return np.frombuffer(data, dtype).reshape(spec.shape)


def _strings(data: bytes, spec: Spec, count: int) -> Any:
    try:
        # A real one lets any bytes through; ONNX Runtime takes nothing but text from Python.
        array = np.array([element.decode() for element in deserialize_bytes_tensor(data)], dtype=object)
    except UnicodeDecodeError:
        raise TritonError(400, f"{_WHO}string data that is not UTF-8 for inference input '{spec.name}'") from None
    except Exception as refused:  # noqa: BLE001 - struct's error, or an index beyond the end
        raise TritonError(400, f"{_WHO}incomplete string data for inference input '{spec.name}': {refused}") from None
    if len(array) != count:
        raise TritonError(400, f"{_WHO}expected {count} string elements for inference input '{spec.name}', got {len(array)}")
    return array.reshape(spec.shape)


def _outputs(document: Mapping[str, Any], *, default: bool) -> Mapping[str, bool] | None:
    if "outputs" not in document:
        return None
    outputs = {}
    for item in _member(document, "outputs", list, "request")["outputs"]:
        parameters = _member(item, "name", str, "output").get("parameters", {})
        if "classification" in parameters:
            raise TritonError(400, "the gateway classifies by itself; nothing else runs on this machine")
        outputs[item["name"]] = parameters.get("binary_data", default)
    return outputs


def _check_batch(request: Request, model: str, max_batch: int) -> None:
    if not max_batch:
        return
    sizes = set()
    for spec in request.specs:
        if not spec.shape:
            raise TritonError(400, f"{_WHO}input '{spec.name}' has no shape but model requires batch dimension for '{model}'")
        sizes.add(spec.shape[0])
        if len(sizes) > 1:
            raise TritonError(400, f"{_WHO}input '{spec.name}' batch size does not match other inputs for '{model}'")
    if 0 in sizes:  # a real one takes it for a batch of 1, and misses the data
        raise TritonError(400, f"{_WHO}input byte size mismatch for input '{request.specs[0].name}' for model '{model}'. Got 0")
    if max(sizes) > max_batch:
        raise TritonError(400, f"{_WHO}inference request batch-size must be <= {max_batch} for '{model}'")


def _check_input(found: Spec, expected: Spec, model: str) -> None:
    if found.datatype != expected.datatype:
        raise TritonError(
            400, f"{_WHO}inference input '{found.name}' data-type is '{found.datatype}', but model '{model}' expects '{expected.datatype}'"
        )
    sizes = zip(found.shape, expected.shape, strict=False)
    if len(found.shape) != len(expected.shape) or any(wanted not in {-1, size} for size, wanted in sizes):
        shapes = f"Expected {_dims(expected.shape)}, got {_dims(found.shape)}. "
        raise TritonError(400, f"{_WHO}unexpected shape for input '{found.name}' for model '{model}'. {shapes}")


def _dims(shape: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _bytes(array: Any, datatype: str) -> bytes:
    if datatype != "BYTES":
        return bytes(np.ascontiguousarray(array).tobytes())
    try:
        packed = serialize_byte_tensor(array.astype(object))
    except InferenceServerException as refused:
        raise TritonError(400, str(refused)) from None
    return bytes(packed.item()) if packed.size else b""
