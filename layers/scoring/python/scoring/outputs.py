"""A model's outputs as columns, typed for Parquet or as the text of CSV and JSON."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from modelserve.manifest import TensorSpec
from modelserve.tensors import Tensor, iter_bytes

__all__ = ["column", "column_type", "csv_texts", "json_texts"]

_TYPES: dict[str, tuple[str, Any]] = {
    "BOOL": ("?", pa.bool_()),
    "UINT8": ("<u1", pa.uint8()),
    "UINT16": ("<u2", pa.uint16()),
    "UINT32": ("<u4", pa.uint32()),
    "UINT64": ("<u8", pa.uint64()),
    "INT8": ("<i1", pa.int8()),
    "INT16": ("<i2", pa.int16()),
    "INT32": ("<i4", pa.int32()),
    "INT64": ("<i8", pa.int64()),
    "FP16": ("<f2", pa.float32()),
    "BF16": ("<u2", pa.float32()),
    "FP32": ("<f4", pa.float32()),
    "FP64": ("<f8", pa.float64()),
    "BYTES": ("", pa.string()),
}


def column_type(spec: TensorSpec, labels: tuple[str, ...]) -> Any:
    """The Arrow type of an output's column: lists for more than one element a row; halves of a float are written as floats."""
    if _is_label(spec, labels):
        return pa.string()
    kind = _TYPES[spec.datatype][1]
    return kind if prod(spec.shape[1:]) == 1 else pa.list_(kind)


def column(tensor: Tensor, spec: TensorSpec, labels: tuple[str, ...]) -> Any:
    """An Arrow array of `column_type`, an entry a row; whole-numbered labels become the texts that `labels` has for them."""
    values = _values(tensor)
    if _is_label(spec, labels):
        return _labelled(values, labels)
    if prod(spec.shape[1:]) == 1:
        return values
    rows = tensor.shape[0]
    offsets = np.arange(rows + 1, dtype=np.int32) * (len(values) // rows if rows else 0)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _is_label(spec: TensorSpec, labels: tuple[str, ...]) -> bool:
    return bool(labels) and spec.name == "label" and "INT" in spec.datatype and prod(spec.shape[1:]) == 1


def _values(tensor: Tensor) -> Any:
    code, kind = _TYPES[tensor.datatype]
    if tensor.datatype == "BYTES":
        return pa.array([element.decode(errors="replace") for element in iter_bytes(tensor)], kind)
    values: Any = np.frombuffer(memoryview(tensor.data).cast("B"), code)
    if tensor.datatype == "BF16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    elif tensor.datatype == "FP16":
        values = values.astype(np.float32)
    return pa.array(values)


def _labelled(values: Any, labels: tuple[str, ...]) -> Any:
    known = pc.and_(pc.greater_equal(values, 0), pc.less(values, len(labels)))
    named = pa.array(labels, pa.string()).take(pc.if_else(known, values, None))
    return pc.coalesce(named, values.cast(pa.string()))


def json_texts(array: Any) -> Any:
    """Each entry as JSON in an Arrow array; NaN and infinities, which JSON has not, are null."""
    kind = array.type
    if pa.types.is_list(kind):
        items = pa.ListArray.from_arrays(array.offsets, json_texts(array.values))
        lists = pc.binary_join_element_wise("[", pc.binary_join(items, ","), "]", "")
        return pc.fill_null(pc.if_else(array.is_valid(), lists, None), "null")
    if pa.types.is_string(kind):
        return pc.fill_null(_encoded(array, lambda text: orjson.dumps(text).decode()), "null")
    if pa.types.is_floating(kind):
        array = pc.if_else(pc.is_finite(array), array, None)
    return pc.fill_null(array.cast(pa.string()), "null")


def csv_texts(array: Any) -> Any:
    """Each entry as a field of CSV in an Arrow array, quoted where it must be; lists are JSON, and nothing stands for null."""
    if pa.types.is_list(array.type):
        texts = pc.replace_substring(json_texts(array), '"', '""')
        array = pc.if_else(array.is_valid(), pc.binary_join_element_wise('"', texts, '"', ""), None)
    elif pa.types.is_string(array.type):
        array = _encoded(array, _field)
    return pc.fill_null(array.cast(pa.string()), "")


def _field(text: str) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if not text or any(mark in text for mark in ',"\r\n') else text


def _encoded(array: Any, encode: Any) -> Any:
    """Each different text once: labels are few."""
    different = array.dictionary_encode()
    return pa.array([encode(text) for text in different.dictionary.to_pylist()], pa.string()).take(different.indices)
