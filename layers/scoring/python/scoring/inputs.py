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

from . import arrays
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
        values = _of_lists(block, spec, columns[0], size, refuse_nan=refuse_nan)
    else:
        found = [_read(spec, block.columns[column], column, block.bad, refuse_nan=refuse_nan) for column in columns]
        values = _in_turns(found, block.rows)
    return values.reshape(-1, size) if isinstance(values, np.ndarray) else values


def _in_turns(found: list[Any], rows: int) -> Any:
    """The first element of every column, then the second of every column."""
    if len(found) == 1:
        return found[0]
    if isinstance(found[0], np.ndarray):
        return np.column_stack(found)
    return pa.concat_arrays(found).take(pa.array(np.arange(len(found) * rows).reshape(len(found), -1).T.ravel()))


def _of_lists(block: Block, spec: TensorSpec, column: str, size: int, *, refuse_nan: bool) -> Any:
    array = arrays.whole(block.columns[column])
    lengths = arrays.numbers(pc.fill_null(pc.list_value_length(array), -1))
    for row in np.flatnonzero(lengths != size).tolist():
        found = "has no value" if lengths[row] < 0 else f"holds a list of {lengths[row]}"
        block.bad.setdefault(row, f"column {column!r} {found}; expected a list of {size}, each {EXPECTED[spec.datatype]}")
    whole = np.flatnonzero(lengths == size)
    flat = pc.list_flatten(array if len(whole) == block.rows else array.take(pa.array(whole)))
    bad: dict[int, str] = {}
    result = _read(spec, flat, column, bad, refuse_nan=refuse_nan)
    if len(whole) != block.rows:
        result = _spread(result, whole, block.rows, size)
    for place, reason in bad.items():
        block.bad.setdefault(int(whole[place // size]), f"{reason}, at position {place % size} of the list")
    return result


def _read(spec: TensorSpec, array: Any, column: str, bad: dict[int, str], *, refuse_nan: bool) -> Any:
    if spec.datatype == "BYTES":
        return texts(array, column, bad)
    return elements(array, spec.datatype, column, bad, refuse_nan=refuse_nan)


def _spread(values: Any, at: NDArray[np.int64], rows: int, size: int) -> Any:
    """`size` elements for each of `rows` rows, zeros or empty texts for those that are not among `at`."""
    places = (at[:, None] * size + np.arange(size)).ravel()
    if not isinstance(values, np.ndarray):
        return pc.fill_null(values.take(arrays.placed(rows * size, places)), "")
    result = np.zeros(rows * size, values.dtype)
    result[places] = values
    return result


def _encoded(array: Any) -> memoryview:
    """As the protocol has BYTES: each length in four bytes, then the text."""
    lengths = arrays.numbers(pc.binary_length(array)).astype("<i4")
    prefixes = pa.Array.from_buffers(pa.binary(4), len(array), [None, pa.py_buffer(lengths)]).cast(pa.binary())
    return memoryview(arrays.content(pc.binary_join_element_wise(prefixes, array.cast(pa.binary()), b"")))
