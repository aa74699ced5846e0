"""Rows of text files: where each ends, also in CSV whose quoted fields hold line breaks, and blocks of whole rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from .errors import FileUnreadable

__all__ = ["BLOCK_BYTES", "BOM", "ROW_BYTES", "first_row", "is_open", "last_end", "row_ends", "rows", "whole_rows"]

BLOCK_BYTES = 2 * 2**20
"""Read at once."""
ROW_BYTES = 16 * 2**20
"""Of the largest row: a quote that is never closed would take the rest of the file into memory."""
BOM = b"\xef\xbb\xbf"
_QUOTE, _NEWLINE = ord('"'), ord("\n")
# A field that begins with a quote ends at the next one that is not doubled; any other ends at a comma or line break.
_FIELD = re.compile(rb'(?:"[^"]*(?:""[^"]*)*(?:"[^,\n]*|\Z)|[^,\n]*)([,\n]|\Z)')
_BEFORE_FIELD = np.frombuffer(b",\n", np.uint8)


def row_ends(data: bytes, *, quoted: bool) -> NDArray[np.int64]:
    """The offset behind each line break that ends a row; `data` begins with a row. A break within quotes ends none where `quoted`."""
    codes = np.frombuffer(data, np.uint8)
    if not quoted or b'"' not in data:
        return np.flatnonzero(codes == _NEWLINE).astype(np.int64) + 1
    quotes = np.flatnonzero(codes == _QUOTE)
    if not _well_placed(codes, quotes):
        return np.fromiter(_one_by_one(data), np.int64)
    breaks = np.flatnonzero(codes == _NEWLINE)
    ends: NDArray[np.int64] = breaks[np.searchsorted(quotes, breaks) % 2 == 0] + 1
    return ends


def _well_placed(codes: NDArray[np.uint8], quotes: NDArray[np.int64]) -> bool:
    """Whether quotes open and close in turns: each one that opens begins a field, or doubles the one before it."""
    opening = quotes[::2]
    opening = opening[opening > 0]
    before = codes[opening - 1]
    return bool((np.isin(before, _BEFORE_FIELD) | (before == _QUOTE)).all())


def _one_by_one(data: bytes) -> Iterator[int]:
    """For a quote within an unquoted field, which is only itself there."""
    for field in _FIELD.finditer(data):
        if field[1] == b"\n":
            yield field.end()


def last_end(data: bytes, *, quoted: bool) -> int:
    """The offset behind the last row of `data` that has its line break; 0 for none."""
    if not quoted or b'"' not in data:
        return data.rfind(b"\n") + 1
    ends = row_ends(data, quoted=True)
    return int(ends[-1]) if len(ends) else 0


def is_open(data: bytes) -> bool:
    """Whether a quote is open at the end of a block, and so of a file."""
    rest = data[last_end(data, quoted=True) :]
    return b'"' in rest and not last_end(rest + b"\n", quoted=True)


def whole_rows(stream: Any, path: str, start: int, stop: int, *, quoted: bool) -> Iterator[bytes]:
    """Blocks of whole rows from `start`, where a row begins, to `stop`, where one ends; the last may lack its line break.

    `stream` is a seekable file. Raises `FileUnreadable` for a row over `ROW_BYTES`.
    """
    stream.seek(start)
    rest, at = b"", start
    while at < stop:
        piece = stream.read(min(BLOCK_BYTES, stop - at))
        if not piece:
            raise FileUnreadable(f"{path} ends at byte {at:,}; expected {stop:,}; it was changed since, so start a new run")
        at += len(piece)
        data = rest + piece
        end = len(data) if at == stop else last_end(data, quoted=quoted)
        rest = data[end:]
        if len(rest) > ROW_BYTES:
            found = f"{path} has a row at byte {at - len(rest):,} that is longer than {ROW_BYTES // 2**20} MiB"
            raise FileUnreadable(f"{found}; expected a line break before, so look there for a quote that is not closed")
        if end:
            yield data[:end]


def rows(data: bytes, *, quoted: bool) -> Any:
    """The rows of a block as a binary array, without line breaks and without empty lines."""
    ends = row_ends(data, quoted=quoted)
    if not len(ends) or ends[-1] != len(data):
        ends = np.append(ends, len(data))
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    lines = pa.Array.from_buffers(pa.string(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    trimmed = pc.ascii_rtrim(lines, "\r\n" if quoted else " \t\r\n")
    full = pc.greater(pc.binary_length(trimmed), 0)
    if not pc.all(full).as_py():
        trimmed = trimmed.filter(full)
    return trimmed.view(pa.binary())


def first_row(stream: Any, path: str, size: int) -> bytes:
    """A file's header with its line break, and with its byte order mark. Raises `FileUnreadable`."""
    for piece in (2**16, ROW_BYTES):
        stream.seek(0)
        data = stream.read(min(piece, size))
        mark = len(BOM) if data.startswith(BOM) else 0
        ends = row_ends(data[mark:], quoted=True)
        if len(ends):
            return bytes(data[: mark + int(ends[0])])
        if len(data) == size:
            return bytes(data)
    raise FileUnreadable(f"{path} has a header longer than {ROW_BYTES // 2**20} MiB; look there for a quote that is not closed")
