"""Names the state of everything that a built model depends on, so that work is skipped exactly when none of it changed."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models import config

__all__ = ["fingerprint"]

_PACKAGES = (
    *("keras", "lightgbm", "numpy", "onnx", "onnxmltools", "onnxruntime", "onnxscript", "pandas", "scikit-learn", "skl2onnx"),
    *("tensorflow", "tf2onnx", "torch", "xgboost"),
)
_CODE = (
    *(
        "assess",
        "baseline",
        "built",
        "convert",
        "data",
        "example",
        "gates",
        "graphs",
        "lifecycle",
        "limits",
        "lint",
        "parity",
        "running",
        "source",
        "trial",
    ),
    "triton",
)
_ROOMS = ("evaluate", "frameworks", "loading")


def fingerprint(folder: Path) -> str:
    """SHA-256 over the model's folder, the code that builds it and the versions of what that code calls."""
    here = Path(__file__)
    digest = hashlib.sha256(platform.python_version().encode())
    for package in _PACKAGES:
        digest.update(f"{package}=={_version(package)}\n".encode())
    rooms = (file for room in _ROOMS for file in sorted(here.with_name(room).glob("*.py")))
    code = [Path(config.__file__), *(here.with_name(f"{name}.py") for name in _CODE), *rooms]
    own = sorted(file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    for file in (*code, *own):
        body = file.read_bytes()
        digest.update(f"{file.name} {len(body)}\n".encode())
        digest.update(body)
    return digest.hexdigest()


def _version(package: str) -> str:
    """An extra that isn't there is a state too."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
