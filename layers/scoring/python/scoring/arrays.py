"""Arrow arrays as numpy sees them, without pandas, which Arrow's own `to_numpy` imports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["content", "numbers", "placed", "true_rows", "whole"]


def whole(array: Any) -> Any:
    """One array of what may be chunks."""
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def numbers(array: Any) -> NDArray[Any]:
    """The values of an array of numbers or booleans, sharing its memory but for booleans; anything where it is null."""
    data, stop = array.buffers()[1], array.offset + len(array)
    if data is None:
        return np.zeros(len(array), np.bool_ if pa.types.is_boolean(array.type) else array.type.to_pandas_dtype())
    if pa.types.is_boolean(array.type):
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=stop, bitorder="little")
        return bits[array.offset :].view(np.bool_)
    values: NDArray[Any] = np.frombuffer(data, array.type.to_pandas_dtype())[array.offset : stop]
    return values


def true_rows(array: Any) -> list[int]:
    """Where an array of booleans is true."""
    rows: list[int] = np.flatnonzero(numbers(array)).tolist()
    return rows


def placed(rows: int, at: NDArray[np.int64] | Sequence[int]) -> Any:
    """Indices to `take` by, so that entries come to stand at these of `rows` rows, and null at the others."""
    places = np.full(rows, -1)
    places[at] = np.arange(len(at))
    return pa.array(places, mask=places < 0)


def content(array: Any) -> Any:
    """A buffer of a binary array's entries, one behind the other."""
    _, offsets, data = array.buffers()
    if data is None or not len(array):
        return pa.py_buffer(b"")
    ends = np.frombuffer(offsets, np.int32)
    first, last = int(ends[array.offset]), int(ends[array.offset + len(array)])
    return data.slice(first, last - first)
