"""What a sample model must answer: the same request given to ONNX Runtime itself, on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from tests.image.docker import ImageError

__all__ = ["check_answer", "expected"]

_KINDS = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "INT32": np.int32, "BOOL": np.bool_, "BYTES": np.object_}


def expected(model: Path, request: bytes) -> dict[str, list[Any]]:
    """Every output's values, flat and in row-major order."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    tensors = json.loads(request)["inputs"]
    feeds = {each["name"]: np.array(each["data"], _KINDS[each["datatype"]]).reshape(each["shape"]) for each in tensors}
    names = [each.name for each in session.get_outputs()]
    return {name: np.ravel(values).tolist() for name, values in zip(names, session.run(None, feeds), strict=True)}


def check_answer(answer: dict[str, Any], outputs: dict[str, list[Any]]) -> None:
    """Raises `ImageError` when an output is missing or has other values; numbers within 1e-5 of each other are the same."""
    found = {each["name"]: each["data"] for each in answer["outputs"]}
    for name, values in outputs.items():
        if name not in found or not _equal(found[name], values):
            raise ImageError(f"{answer['model_name']} answered {name} = {found.get(name)}; ONNX Runtime itself says {values}")


def _equal(found: list[Any], values: list[Any]) -> bool:
    if len(found) != len(values):
        return False
    numbers = all(isinstance(each, (int, float)) for each in [*found, *values])
    return bool(np.allclose(found, values, rtol=1e-5, atol=1e-6)) if numbers else found == values
