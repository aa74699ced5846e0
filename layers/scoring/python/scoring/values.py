"""Columns of values as the elements of tensors: what can't be one makes its row bad, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .arrays import numbers, true_rows, whole
from .block import shown
from .errors import ColumnsMissing

__all__ = ["ARROW", "EXPECTED", "check_type", "elements", "texts"]

ARROW: dict[str, Any] = {
    "BOOL": pa.bool_(),
    "UINT8": pa.uint8(),
    "UINT16": pa.uint16(),
    "UINT32": pa.uint32(),
    "UINT64": pa.uint64(),
    "INT8": pa.int8(),
    "INT16": pa.int16(),
    "INT32": pa.int32(),
    "INT64": pa.int64(),
    "FP16": pa.float64(),
    "BF16": pa.float64(),
    "FP32": pa.float64(),
    "FP64": pa.float64(),
    "BYTES": pa.string(),
}
"""What text is read as for a datatype; floating-point numbers are narrowed after, as the API does with JSON."""
EXPECTED = {
    **{name: f"a whole number ({name})" for name in ARROW if "INT" in name},
    **{name: f"a number ({name})" for name in ("FP16", "BF16", "FP32", "FP64")},
    "BOOL": "true or false (BOOL)",
    "BYTES": "text (BYTES)",
}
"""In a reason."""
_FLOATS = {"FP16": np.float16, "BF16": np.float32, "FP32": np.float32, "FP64": np.float64}
_BFLOAT16_MAX = 3.3895313892515355e38


def check_type(column: str, kind: Any, datatype: str, path: str) -> None:
    """Raises `ColumnsMissing` for a Parquet column whose values can't be elements of `datatype`, whatever they are."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    number = pa.types.is_integer(value) or pa.types.is_floating(value) or pa.types.is_decimal(value)
    text = pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value)
    binary = pa.types.is_binary(value) or pa.types.is_large_binary(value)
    fits = {"BOOL": pa.types.is_boolean(value), "BYTES": text or binary}.get(datatype, number)
    if not fits and not pa.types.is_null(value):
        raise ColumnsMissing(f"{path} has a column {column!r} of type {kind}; expected {EXPECTED[datatype]}; convert it")


def elements(array: Any, datatype: str, column: str, bad: dict[int, str], *, refuse_nan: bool) -> NDArray[Any]:
    """The values of a column of numbers or booleans, as the datatype's numpy elements; 0 where `bad` is given a reason."""
    array = _plain(array)
    float_already = datatype in _FLOATS and pa.types.is_floating(array.type)
    cast = array if float_already else _cast(array, ARROW[datatype], exact=datatype not in _FLOATS)
    _note(array, cast, datatype, column, bad)
    values = numbers(pc.fill_null(cast, False if datatype == "BOOL" else 0) if cast.null_count else cast)
    if datatype not in _FLOATS:
        return values
    if refuse_nan:
        _note_rows(~np.isfinite(values), values, "a finite number, as this model takes no other", column, bad)
    return _narrow(values, datatype, column, bad)


def texts(array: Any, column: str, bad: dict[int, str]) -> Any:
    """The values of a column of text as an Arrow array; empty where `bad` is given a reason."""
    array = _plain(array)
    cast = _cast(array, pa.string(), exact=True)
    _note(array, cast, "BYTES", column, bad)
    return pc.fill_null(cast, "") if cast.null_count else cast


def _plain(array: Any) -> Any:
    array = whole(array)
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array


def _cast(array: Any, kind: Any, *, exact: bool) -> Any:
    """As `kind`, null where that can't be: the whole at once, and by halves down to the culprits if it fails."""
    if array.type == kind:
        return array
    if pa.types.is_binary(array.type) and not pa.types.is_string(kind):
        array = pc.ascii_trim(_cast(array, pa.string(), exact=True), " \t")  # as Arrow's CSV reader does
    try:
        return array.cast(kind, safe=exact or (not pa.types.is_floating(array.type) and not pa.types.is_integer(array.type)))
    except pa.ArrowInvalid:
        if len(array) == 1:
            return pa.nulls(1, kind)
    half = len(array) // 2
    return pa.concat_arrays([_cast(array.slice(0, half), kind, exact=exact), _cast(array.slice(half), kind, exact=exact)])


def _note(array: Any, cast: Any, datatype: str, column: str, bad: dict[int, str]) -> None:
    """A reason for each null of `cast`, by what stood there."""
    if not cast.null_count:
        return
    for row in true_rows(cast.is_null()):
        value = array[row].as_py()
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        absent = value is None or (value == "" and datatype != "BYTES")
        found = "has no value" if absent else f"holds {shown(value)}"
        bad.setdefault(row, f"column {column!r} {found}; expected {EXPECTED[datatype]}")


def _note_rows(wrong: NDArray[np.bool_], values: NDArray[Any], expected: str, column: str, bad: dict[int, str]) -> None:
    for row in np.flatnonzero(wrong).tolist():
        bad.setdefault(row, f"column {column!r} holds {shown(float(values[row]))}; expected {expected}")


def _narrow(values: NDArray[Any], datatype: str, column: str, bad: dict[int, str]) -> NDArray[Any]:
    """A finite number that becomes infinity is none that the datatype holds."""
    with np.errstate(over="ignore"):
        narrow = values.astype(_FLOATS[datatype], copy=False)
    if datatype == "BF16":
        lost = (np.abs(narrow) > _BFLOAT16_MAX) & np.isfinite(values)
    else:
        lost = np.isinf(narrow) & np.isfinite(values) if narrow.itemsize < values.itemsize else np.zeros(0, np.bool_)
    _note_rows(lost, values, f"a number that {datatype} holds", column, bad)
    return _bfloat16(narrow) if datatype == "BF16" else narrow


def _bfloat16(values: NDArray[Any]) -> NDArray[Any]:
    """The bits, rounded to the nearest, to even when between two; NaN stays one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
