"""What can run a graph: ONNX Runtime on the CPU, and on a GPU either ONNX Runtime or, where that can't be had, torch."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from tools.loopback.errors import MeasureError

__all__ = ["Answers", "Device", "Run", "cpu", "gpu"]

Answers = dict[str, NDArray[Any]]
Run = Callable[[NDArray[Any]], Answers]
"""From the rows of a model's one input, in the host's memory, to its answers there: copies to and from a GPU are part of a run."""
_CUDA = "CUDAExecutionProvider"


@dataclass(frozen=True)
class Device:
    """Where graphs run, and by what."""

    name: str
    engine: str
    """With its version."""
    open: Callable[[ModelProto], Run]


def cpu(threads: int = 0) -> Device:
    """ONNX Runtime with `threads`, 0 for one a core."""
    return Device(_processor(), f"onnxruntime {onnxruntime.__version__}", lambda model: _session(model, "CPUExecutionProvider", threads))


def gpu() -> Device | None:
    """None where there is none. Products are FP32 throughout: TF32, which newer GPUs would use, is off."""
    if _CUDA in onnxruntime.get_available_providers() and (name := _nvidia()):
        return Device(name, f"onnxruntime-gpu {onnxruntime.__version__}", lambda model: _session(model, (_CUDA, {"use_tf32": "0"}), 0))
    if find_spec("torch") is None:
        return None
    import torch  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415  # an extra, and seconds to import

    if not torch.cuda.is_available():
        return None
    from tools.bench.torch_graph import open_graph  # noqa: PLC0415  # imports torch

    torch.backends.cudnn.allow_tf32 = False
    engine = f"torch {torch.__version__}, the graph's own operators one by one"
    return Device(_nvidia() or torch.cuda.get_device_name(), engine, lambda model: open_graph(model, "cuda"))


def _session(model: ModelProto, provider: Any, threads: int) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[provider])
    wanted = provider if isinstance(provider, str) else provider[0]
    if session.get_providers()[0] != wanted:  # ONNX Runtime goes on with the CPU, and only logs it
        raise MeasureError(
            f"ONNX Runtime can't use {wanted} here; its log says why, most often that CUDA's or cuDNN's libraries are missing"
        )
    (entry,), names = session.get_inputs(), [output.name for output in session.get_outputs()]
    return lambda rows: dict(zip(names, map(np.asarray, session.run(names, {entry.name: rows})), strict=True))


def _nvidia() -> str | None:
    """Name and driver of the first GPU, as its own tool tells them."""
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0].split(", ")
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None
    return f"{found[0]}, driver {found[-1]}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.machine()
