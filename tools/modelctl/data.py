"""Splits rows before anything is fitted, and turns them into the tensors that a served model takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

from models.config import ModelConfig
from tools.modelctl.errors import BuildFailed

__all__ = ["DATATYPES", "INPUT", "Split", "split", "tensors"]

INPUT = "input"
"""Name of the one tensor that rows of numbers make."""
DATATYPES = {
    "bool": "BOOL",
    "object": "BYTES",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    **{f"{kind}{bits}": f"{kind}{bits}".upper() for kind in ("int", "uint") for bits in (8, 16, 32, 64)},
}
"""Of the protocol, by numpy's name."""


@dataclass(frozen=True)
class Split:
    """Rows to fit on, and rows that training never sees."""

    X: Any
    y: Any
    held_out_X: Any
    held_out_y: Any

    @property
    def trained(self) -> int:
        """Rows to fit on."""
        return _count(self.X)

    @property
    def held_out(self) -> int:
        return _count(self.held_out_X)


def split(config: ModelConfig, X: Any, y: Any) -> Split:
    """As model.toml's [data] says; each class keeps its share. Raises `BuildFailed` when there are too few rows."""
    from sklearn.model_selection import train_test_split  # noqa: PLC0415 - a second, and who only needs tensors splits nothing

    options = {"test_size": config.data.held_out, "random_state": config.data.seed}
    try:
        if isinstance(X, dict):
            parts = train_test_split(*X.values(), **options)
            return Split(dict(zip(X, parts[::2], strict=True)), None, dict(zip(X, parts[1::2], strict=True)), None)
        if y is None:
            X, held_out_X = train_test_split(X, **options)
            return Split(X, None, held_out_X, None)
        stratify = y if config.task == "classification" else None
        X, held_out_X, y, held_out_y = train_test_split(X, y, stratify=stratify, **options)
    except ValueError as error:
        raise BuildFailed(f"the rows of {config.name} can't be split: {error}; load() must answer more of them") from None
    return Split(X, y, held_out_X, held_out_y)


def tensors(X: Any, datatype: DTypeLike = np.float32) -> dict[str, NDArray[Any]]:
    """Arrays by name are the tensors of a graph of its own, as they are.

    An array is one tensor of its shape, FP32 unless a graph of its own says otherwise; a table of numbers is one FP32 tensor
    [rows, columns]; a table with text or truth values is one tensor [rows, 1] a column.

    In such a table whole numbers are INT64 and others FP32. Raises `BuildFailed` for a column of anything else.
    """
    if isinstance(X, dict):
        return {name: np.asarray(values) for name, values in X.items()}
    if not isinstance(X, pd.DataFrame):
        return {INPUT: np.asarray(X, dtype=datatype)}
    if all(pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind) for kind in X.dtypes):
        return {INPUT: X.to_numpy(dtype=np.float32)}
    return {str(name): _column(X[name]) for name in X.columns}


def _count(X: Any) -> int:
    return len(next(iter(X.values()))) if isinstance(X, dict) else len(X)


def _column(column: pd.Series[Any]) -> NDArray[Any]:
    if pd.api.types.is_bool_dtype(column.dtype):
        values = column.to_numpy(dtype=np.bool_)
    elif pd.api.types.is_integer_dtype(column.dtype):
        values = column.to_numpy(dtype=np.int64)
    elif pd.api.types.is_float_dtype(column.dtype):
        values = column.to_numpy(dtype=np.float32)
    elif all(isinstance(value, str) for value in column):
        values = column.to_numpy(dtype=object)
    else:
        raise BuildFailed(f"column {column.name!r} is {column.dtype}; expected numbers, text without gaps, or True and False")
    return values.reshape(-1, 1)
