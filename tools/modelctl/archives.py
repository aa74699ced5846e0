"""Tensors in a file that another process writes or reads: text as numpy's type U, since an array of objects would be a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tools.modelctl.parity import Answers

__all__ = ["read", "write"]


def write(file: Path, tensors: Answers) -> None:
    """By name, as an .npz."""
    plain: dict[str, Any] = {name: values.astype("U") if values.dtype.kind == "O" else values for name, values in _arrays(tensors)}
    np.savez(file, allow_pickle=False, **plain)


def read(file: Path | BinaryIO) -> Answers:
    """Text as objects, as everywhere else. Raises `OSError`, `ValueError` and `BadZipFile` for a file that is none."""
    with np.load(file, allow_pickle=False) as archive:
        return {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in archive.items()}


def _arrays(tensors: Answers) -> list[tuple[str, Any]]:
    return [(name, np.asarray(values)) for name, values in tensors.items()]
