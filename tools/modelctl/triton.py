"""Writes what NVIDIA Triton loads: the archive that SageMaker hands to it, with a config.pbtxt made of the signature and model.toml."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.config import GpuConfig
from modelserve.manifest import MODEL_FILE, File, Manifest, TensorSpec, archive_version
from modelserve.record import replace
from tools.modelctl.errors import BuildFailed

if TYPE_CHECKING:
    from tritonclient.grpc.model_config_pb2 import ModelConfig

__all__ = ["CONFIG_FILE", "MAX_BATCH", "archive", "config", "max_batch", "text"]

CONFIG_FILE = "config.pbtxt"
MAX_BATCH = 32
"""Rows that run at once where model.toml doesn't say."""


def max_batch(manifest: Manifest, gpu: GpuConfig) -> int:
    """Rows that Triton may run at once, 0 where each request runs by itself, whatever its shape.

    Raises `BuildFailed` for a `max_batch` that the tensors don't allow: Triton joins requests along the first dimension of every one.
    """
    if gpu.mode == "async":
        return 0
    fixed = next((spec for spec in (*manifest.inputs, *manifest.outputs) if not spec.shape or spec.shape[0] != -1), None)
    if gpu.max_batch is None:
        return 0 if fixed else MAX_BATCH
    if gpu.max_batch and fixed:
        raise BuildFailed(
            f"{manifest.name} can't be batched: tensor {fixed.name!r} has shape {list(fixed.shape)}, and expected is a dynamic first "
            "dimension; convert it with one, or set max_batch = 0 in [gpu] of model.toml"
        )
    return gpu.max_batch


def config(manifest: Manifest, gpu: GpuConfig, *, warm_up: bool = True) -> ModelConfig:
    """The model's configuration in Triton's own schema.

    A tensor that would have no dimension is [1] to clients, beside the batch where there is one. `warm_up` runs it on zeros and empty
    strings before it takes requests, dynamic dimensions taken as 1; a model that refuses these would never be ready. With `tensorrt`
    the manifest must list the model's file. Raises `BuildFailed`.
    """
    from tritonclient.grpc import model_config_pb2 as schema  # noqa: PLC0415 - brings gRPC along, which other commands should not load

    most = max_batch(manifest, gpu)
    found = schema.ModelConfig(name=manifest.name, backend="onnxruntime", platform="onnxruntime_onnx", max_batch_size=most)
    found.input.extend(schema.ModelInput(**_tensor(schema, spec, most)) for spec in manifest.inputs)
    found.output.extend(schema.ModelOutput(**_tensor(schema, spec, most)) for spec in manifest.outputs)
    found.instance_group.add(kind=schema.ModelInstanceGroup.KIND_GPU, count=gpu.instance_count)
    if most > 1:
        found.dynamic_batching.preferred_batch_size.extend(sorted(gpu.preferred_batch_sizes))
        found.dynamic_batching.max_queue_delay_microseconds = gpu.queue_delay
    if gpu.tensorrt:
        accelerator = found.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
        accelerator.parameters.update(_tensorrt(manifest))
    if warm_up:
        # An engine of TensorRT holds for the batches between those that it was made with.
        for size in sorted({1, max(1, most)} if gpu.tensorrt else {1}):
            found.model_warmup.append(_sample(schema, found.input, size))
    return found


def text(manifest: Manifest, gpu: GpuConfig, *, warm_up: bool = True) -> bytes:
    """`config` as config.pbtxt has it."""
    from google.protobuf import text_format  # noqa: PLC0415 - as above

    return str(text_format.MessageToString(config(manifest, gpu, warm_up=warm_up))).encode()


def archive(model: Path, manifest: Manifest, gpu: GpuConfig, to: Path, *, warm_up: bool = True) -> None:
    """Writes <name>/config.pbtxt and <name>/<number>/model.onnx as .tar.gz, all of it or nothing; what goes in decides every byte.

    Nothing is compressed: weights hardly shrink, and every instance would have to unpack them. Raises as `config`.
    """
    with model.open("rb") as body:
        size, sha256 = model.stat().st_size, hashlib.file_digest(body, "sha256").hexdigest()
        body.seek(0)
        pbtxt = text(replace(manifest, files=(File(path=MODEL_FILE, size=size, sha256=sha256),)), gpu, warm_up=warm_up)
        part = to.with_name(f".{to.name}.{os.getpid()}")
        with part.open("wb") as file, gzip.GzipFile("", "wb", 0, file, mtime=0) as stream, _tar(stream) as packed:
            packed.addfile(_member(f"{manifest.name}/{CONFIG_FILE}", len(pbtxt)), BytesIO(pbtxt))
            packed.addfile(_member(f"{manifest.name}/{archive_version(sha256[:8])}/{MODEL_FILE}", size), body)
    part.replace(to)


def _tar(stream: gzip.GzipFile) -> tarfile.TarFile:
    return tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT)


def _member(path: str, size: int) -> tarfile.TarInfo:
    """Without owner and time, which are no part of a model."""
    member = tarfile.TarInfo(path)
    member.size = size
    return member


def _tensor(schema: Any, spec: TensorSpec, most: int) -> dict[str, Any]:
    """Rank 0 is not in Triton's schema. With batches it is told to take the [1] away; without, its ONNX backend takes [1] for a scalar."""
    shape = spec.shape[1:] if most else spec.shape
    if 0 in spec.shape:
        raise BuildFailed(f"tensor {spec.name!r} has shape {list(spec.shape)}, and Triton serves no empty dimension; convert without it")
    if spec.datatype == "BF16":  # github.com/triton-inference-server/server/issues/8464
        raise BuildFailed(f"tensor {spec.name!r} is BF16, which Triton's ONNX backend can't pass; cast it to FP32 within the graph")
    found = {"name": spec.name, "data_type": _datatype(schema, spec), "dims": shape or (1,)}
    return found | {"reshape": schema.ModelTensorReshape()} if most and not shape else found


def _datatype(schema: Any, spec: TensorSpec) -> int:
    return int(schema.DataType.Value("TYPE_" + {"BYTES": "STRING"}.get(spec.datatype, spec.datatype)))


def _tensorrt(manifest: Manifest) -> dict[str, str]:
    """ONNX Runtime names an engine by its graph and not by its weights: versions must not share a folder."""
    cache = f"/tmp/tensorrt-{manifest.name}-{manifest.model_file.sha256[:16]}"  # noqa: S108 - of the container, which serves one model store
    return {"precision_mode": "FP16", "trt_engine_cache_enable": "1", "trt_engine_cache_path": cache}


def _sample(schema: Any, inputs: Any, size: int) -> Any:
    """`size` requests of one row each, which run as one batch."""
    sample = schema.ModelWarmup(name=f"batch of {size}", batch_size=size)
    for spec in inputs:
        sample.inputs[spec.name].data_type = spec.data_type
        sample.inputs[spec.name].dims.extend(1 if dim < 0 else dim for dim in spec.dims)
        sample.inputs[spec.name].zero_data = True
    return sample
