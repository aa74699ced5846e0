"""Columns put together to a model's inputs: a matrix an input, of which any run of rows is a tensor without a copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from modelserve.manifest import TensorSpec
from modelserve.tensors import Tensor

from .block import Block
from .columns import width
from .values import EXPECTED, elements, texts

__all__ = ["Inputs", "gather"]


class Inputs:
    """The inputs of some rows."""

    def __init__(self, specs: Sequence[TensorSpec], values: Mapping[str, Any], rows: int) -> None:
        """`values` has [rows, width] of numbers, or an Arrow array of rows x width texts, an input."""
        self._specs = specs
        self._values = values
        self.rows = rows

    def taken(self, rows: NDArray[np.int64]) -> Inputs:
        """Of these rows only."""
        values = {}
        for spec in self._specs:
            size, value = width(spec), self._values[spec.name]
            if spec.datatype == "BYTES":
                values[spec.name] = value.take(pa.array((rows[:, None] * size + np.arange(size)).ravel()))
            else:
                values[spec.name] = value[rows]
        return Inputs(self._specs, values, len(rows))

    def tensors(self, start: int, stop: int) -> list[Tensor]:
        """Of the rows from `start` to `stop`."""
        return [self._tensor(spec, start, stop) for spec in self._specs]

    def _tensor(self, spec: TensorSpec, start: int, stop: int) -> Tensor:
        size, value = width(spec), self._values[spec.name]
        data = _encoded(value.slice(start * size, (stop - start) * size)) if spec.datatype == "BYTES" else value[start:stop].reshape(-1)
        return Tensor(spec.name, spec.datatype, (stop - start, *spec.shape[1:]), data)


def gather(block: Block, specs: Sequence[TensorSpec], columns: Mapping[str, Sequence[str]], *, refuse_nan: bool) -> Inputs:
    """The inputs of a block's rows; `block.bad` gains the rows that the model is not to be asked, whose elements are anything."""
    values = {spec.name: _values(block, spec, columns[spec.name], refuse_nan=refuse_nan) for spec in specs}
    return Inputs(specs, values, block.rows)


def _values(block: Block, spec: TensorSpec, columns: Sequence[str], *, refuse_nan: bool) -> Any:
    size = width(spec)
    if len(columns) == 1 and size != 1:
        return _of_lists(block, spec, columns[0], size, refuse_nan=refuse_nan)
    if spec.datatype == "BYTES":
        read = [texts(block.columns[column], column, block.bad) for column in columns]
        return read[0] if size == 1 else pa.concat_arrays(read).take(pa.array(np.arange(size * block.rows).reshape(size, -1).T.ravel()))
    found = [elements(block.columns[column], spec.datatype, column, block.bad, refuse_nan=refuse_nan) for column in columns]
    return np.column_stack(found) if size != 1 else found[0].reshape(-1, 1)


def _of_lists(block: Block, spec: TensorSpec, column: str, size: int, *, refuse_nan: bool) -> Any:
    array = block.columns[column]
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    lengths = pc.fill_null(pc.list_value_length(array), -1).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths != size).tolist():
        found = "has no value" if lengths[row] < 0 else f"holds a list of {lengths[row]}"
        block.bad.setdefault(row, f"column {column!r} {found}; expected a list of {size}, each {EXPECTED[spec.datatype]}")
    whole = np.flatnonzero(lengths == size)
    flat = pc.list_flatten(array if len(whole) == block.rows else array.take(pa.array(whole)))
    bad: dict[int, str] = {}
    if spec.datatype == "BYTES":
        result = _spread(texts(flat, column, bad), whole, block.rows, size)
    else:
        found = elements(flat, spec.datatype, column, bad, refuse_nan=refuse_nan).reshape(-1, size)
        result = found
        if len(whole) != block.rows:
            result = np.zeros((block.rows, size), found.dtype)
            result[whole] = found
    for place, reason in bad.items():
        block.bad.setdefault(int(whole[place // size]), f"{reason}, at position {place % size} of the list")
    return result


def _spread(flat: Any, whole: NDArray[np.int64], rows: int, size: int) -> Any:
    """`size` texts for each of all rows, empty ones for rows that are not `whole`."""
    if len(whole) == rows:
        return flat
    places = np.full((rows, size), -1)
    places[whole] = np.arange(len(whole) * size).reshape(-1, size)
    return pc.fill_null(flat.take(pa.array(places.ravel(), mask=places.ravel() < 0)), "")


def _encoded(array: Any) -> memoryview:
    """As the protocol has BYTES: each length in four bytes, then the text."""
    lengths = pc.binary_length(array).to_numpy(zero_copy_only=False).astype("<i4")
    prefixes = pa.Array.from_buffers(pa.binary(4), len(array), [None, pa.py_buffer(lengths)]).cast(pa.binary())
    joined = pc.binary_join_element_wise(prefixes, array.cast(pa.binary()), b"")
    _, offsets, data = joined.buffers()
    first = np.frombuffer(offsets, np.int32)[joined.offset : joined.offset + len(array) + 1]
    return memoryview(data)[first[0] : first[-1]] if data is not None else memoryview(b"")
