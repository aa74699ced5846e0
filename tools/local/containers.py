"""What a SageMaker endpoint runs, stood in for: model archives as Triton takes them, run by ONNX Runtime on this machine's CPU."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnxruntime as ort
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tools.local import triton
from tools.local.triton import Spec, TritonError

__all__ = ["Container", "LoadFailed", "OnnxContainer"]

_TYPES = {"BOOL": "bool", "FP16": "float16", "FP32": "float", "FP64": "double", "BYTES": "string"}
"""In ONNX Runtime's words; integers are called the same in lower case."""
_SECONDS = 60
"""In which SageMaker wants a container's answer."""
_ERROR = re.compile(r"\[ONNXRuntimeError\] : (\d+) : \w+ : ")


class LoadFailed(Exception):
    """An archive that the server does not take, with its message."""


class Container(Protocol):
    """An inference server that loads model archives and answers for them."""

    def load(self, name: str, folder: Path) -> None:
        """Loads the unpacked archive in `folder` under a name of the caller's. Raises `LoadFailed`."""

    def invoke(self, name: str, content_type: str, body: bytes) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer, an error's too. Raises `TimeoutError` after a minute, `OSError` when it is gone."""

    def unload(self, name: str) -> None:
        """Forgets a model that was loaded."""


@dataclass(frozen=True)
class _Model:
    inputs: dict[str, Spec]
    outputs: dict[str, Spec]
    max_batch: int
    session: Any
    version: str


class OnnxContainer:
    """Behaves as Triton with its ONNX Runtime backend; of `config.pbtxt` it goes by names, datatypes, dimensions and the batch size.

    How Triton would gather requests into batches, and on what device, has no counterpart here.
    """

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def load(self, name: str, folder: Path) -> None:
        """Raises `LoadFailed` for an archive of another layout, a config that is none, or a graph that is not as the config says."""
        self._models[name] = _load(folder)

    def invoke(self, name: str, content_type: str, body: bytes) -> tuple[int, str, bytes]:
        """Runs in the caller's thread; several may run at once. Raises `TimeoutError`."""
        try:
            model = self._models.get(name)
            if model is None:
                raise TritonError(404, f"Request for unknown model: '{name}' is not found")
            return 200, *_infer(model, name, content_type, body)
        except TritonError as refused:
            return refused.status, "application/json", triton.error(str(refused))

    def unload(self, name: str) -> None:
        self._models.pop(name, None)


def _infer(model: _Model, name: str, content_type: str, body: bytes) -> tuple[str, bytes]:
    request = triton.parse(content_type, body)
    triton.check(request, name, model.inputs, model.outputs, model.max_batch)
    wanted = list(model.outputs if request.outputs is None else request.outputs)
    feed = {key: _squeezed(array, model.inputs[key]) for key, array in request.arrays.items()}
    found = _run(model.session, wanted, feed)
    arrays = {key: array[..., None] if model.outputs[key].squeezed else array for key, array in zip(wanted, found, strict=True)}
    return triton.answer(request, (name, model.version), model.outputs, arrays)


def _run(session: Any, outputs: list[str], feed: dict[str, Any]) -> list[Any]:
    options = ort.RunOptions()
    stop = threading.Timer(_SECONDS, setattr, (options, "terminate", True))
    stop.daemon = True
    stop.start()
    try:
        return list(session.run(outputs, feed, options))
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no other base
        if options.terminate:
            raise TimeoutError from None
        raise TritonError(400, _message(error)) from None
    finally:
        stop.cancel()


def _squeezed(array: Any, spec: Spec) -> Any:
    return array[..., 0] if spec.squeezed else array


def _message(error: Exception) -> str:
    return _ERROR.sub(r"onnx runtime error \1: ", str(error))


def _load(folder: Path) -> _Model:
    files = sorted(folder.glob("*/config.pbtxt"))
    if len(files) != 1:
        raise LoadFailed(f"{len(files)} models in the archive; expected <name>/config.pbtxt and <name>/<number>/model.onnx")
    config = _config(files[0])
    versions = [each.name for each in files[0].parent.iterdir() if each.name.isdecimal()]
    if not versions:
        raise LoadFailed(f"failed to load '{config.name}', at least one version must be available under the version policy of the model")
    version = max(versions, key=int)
    graph = files[0].parent / version / "model.onnx"
    if not graph.is_file():
        raise LoadFailed(f"failed to load '{config.name}': unable to find '{version}/{graph.name}' of the model")
    session = _session(config.name, graph)
    return _Model(
        inputs=_specs(config, "input", session.get_inputs()),
        outputs=_specs(config, "output", session.get_outputs()),
        max_batch=config.max_batch_size,
        session=session,
        version=version,
    )


def _config(file: Path) -> Any:
    """Read by Triton's own schema, as Triton does."""
    try:
        config = text_format.Parse(file.read_text("utf-8"), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise LoadFailed(f"failed to read text proto from {file.name}: {error}") from None
    if config.name != file.parent.name:
        raise LoadFailed(f"failed to load '{file.parent.name}', expected it to be named '{config.name}' as in {file.name}")
    if "onnxruntime" not in {config.backend, config.platform.removesuffix("_onnx")}:
        raise LoadFailed(f"failed to load '{config.name}': backend '{config.backend or config.platform}'; this machine runs onnxruntime")
    return config


def _specs(config: Any, kind: str, arguments: Sequence[Any]) -> dict[str, Spec]:
    """By name. Raises `LoadFailed` where the graph's tensors are not as the config says."""
    tensors, found = {each.name: each for each in getattr(config, kind)}, {each.name: each for each in arguments}
    if set(tensors) != set(found):
        raise LoadFailed(f"unable to load model '{config.name}', its configuration has the {kind}s {sorted(tensors)}, it {sorted(found)}")
    return {name: _spec(config, tensors[name], found[name]) for name in tensors}


def _spec(config: Any, tensor: Any, argument: Any) -> Spec:
    shape = tuple(size if isinstance(size, int) else -1 for size in argument.shape)
    squeezed = tensor.HasField("reshape") or not shape
    spec = Spec(tensor.name, _datatype(tensor), ((-1,) if config.max_batch_size else ()) + tuple(tensor.dims), squeezed)
    if argument.type != f"tensor({_TYPES.get(spec.datatype, spec.datatype.lower())})" or spec.datatype == "BF16":
        raise LoadFailed(f"unable to load model '{config.name}', it has '{spec.name}' as {argument.type}, its config as {spec.datatype}")
    expected = spec.shape[:-1] if squeezed else spec.shape
    if len(shape) != len(expected) or any(-1 != size != wanted for size, wanted in zip(shape, expected, strict=True)):
        raise LoadFailed(
            f"model '{config.name}', tensor '{spec.name}': the model expects {len(shape)} dimensions (shape {list(shape)}) but the model "
            f"configuration specifies {len(spec.shape)} dimensions (shape {list(spec.shape)})"
        )
    return spec


def _datatype(tensor: Any) -> str:
    name = str(model_config_pb2.DataType.Name(tensor.data_type)).removeprefix("TYPE_")
    return "BYTES" if name == "STRING" else name


def _session(name: str, graph: Path) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # the exceptions say the same
    options.intra_op_num_threads = os.cpu_count() or 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - as above
        raise LoadFailed(f"failed to load '{name}': {_message(error)}") from None
