"""CSV: rows are read by Arrow, written as they stood with fields added, and cut where no quote is open."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from .arrays import content, placed
from .block import Block
from .errors import FileUnreadable
from .files import Output
from .lines import BOM, ROW_BYTES, first_row, is_open, rows, whole_rows
from .outputs import csv_texts
from .values import ARROW

__all__ = ["CsvWriter", "blocks", "header"]

_READ_AS_TEXT = {"BOOL", "BYTES"}
csv.field_size_limit(ROW_BYTES)  # of 128 KiB, of which a wider row would be lost


def header(source: Any, path: str) -> tuple[list[str], bytes]:
    """The columns' names, and the header as it stands. Raises `FileUnreadable`."""
    head = first_row(source, path, source.size())
    try:
        text = head.removeprefix(BOM).decode()
    except UnicodeDecodeError:
        raise FileUnreadable(f"{path} has a header that is not UTF-8; expected CSV in UTF-8 with a header") from None
    try:
        names = next(csv.reader([text.rstrip("\r\n")]), [])
    except csv.Error as error:
        expected = "expected a line of names, ended by \\n or \\r\\n and not by \\r alone"
        raise FileUnreadable(f"{path} has a header that can't be read as CSV ({error}); {expected}; write the file so") from None
    if not names:
        raise FileUnreadable(f"{path} has no header; expected CSV whose first line names its columns")
    return names, head


def blocks(source: Any, path: str, start: int, stop: int, *, names: Sequence[str], datatypes: Mapping[str, str]) -> Iterator[Block]:
    """The rows between two offsets; `datatypes` has the columns to read. Raises `FileUnreadable`."""
    places = {column: str(names.index(column)) for column in datatypes}
    kinds = {places[column]: ARROW[datatype] for column, datatype in datatypes.items() if datatype not in _READ_AS_TEXT}
    for data in whole_rows(source, path, start, stop, quoted=True):
        lines = rows(data, quoted=True)
        if len(lines):
            block = _read(data, lines, len(names), list(places.values()), kinds)
            block.columns = {column: block.columns[place] for column, place in places.items()}
            if is_open(data):
                _refuse(block, len(lines) - 1, len(names))
            block.size = len(data)
            yield block


def _read(data: bytes, lines: Any, width: int, wanted: list[str], kinds: dict[str, Any]) -> Block:
    """Numbers are read at once as such, and as text, to be looked at one by one, where that fails."""
    for types in (kinds, {}) if kinds else ({},):
        skipped: list[int] = []
        try:
            table = _parse(data, width, {column: types.get(column, pa.binary()) for column in wanted}, skipped)
        except pa.ArrowInvalid:
            continue
        if table.num_rows + len(skipped) == len(lines):
            return _whole(table, lines, skipped, width)
    if len(lines) == 1:
        block = _whole(pa.table({column: pa.nulls(1, pa.binary()) for column in wanted}), lines, [], width)
        _refuse(block, 0, width)
        return block
    half = len(lines) // 2
    return _both(*(_read(b"\n".join(part.to_pylist()), part, width, wanted, {}) for part in (lines.slice(0, half), lines.slice(half))))


def _parse(data: bytes, width: int, kinds: dict[str, Any], skipped: list[int]) -> Any:
    def skip(row: Any) -> str:
        skipped.append(row.number - 1)
        return "skip"

    reading = arrow_csv.ReadOptions(column_names=[str(place) for place in range(width)], use_threads=False, block_size=len(data) + 1)
    parsing = arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip)
    converting = arrow_csv.ConvertOptions(
        column_types=kinds, include_columns=list(kinds), null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
    )
    return arrow_csv.read_csv(pa.BufferReader(data), reading, parsing, converting)


def _whole(table: Any, lines: Any, skipped: list[int], width: int) -> Block:
    """With a row of nulls for each that has another number of fields."""
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    block = Block(rows=len(lines), columns=columns, size=0, lines=lines)
    if skipped:
        indices = placed(len(lines), np.setdiff1d(np.arange(len(lines)), skipped))
        block.columns = {name: array.take(indices) for name, array in columns.items()}
    for row in skipped:
        fields = _fields(lines[row].as_py())
        block.bad[row] = f"the row has {len(fields)} fields; expected {width}, one a column of the header"
        block.broken[row] = _fitted(lines[row].as_py(), width)
    return block


def _refuse(block: Block, row: int, width: int) -> None:
    block.bad[row] = f"the row can't be read as CSV; expected {width} fields, each quote closed, and line breaks only between quotes"
    block.broken[row] = _fitted(block.lines[row].as_py(), width)


def _both(one: Block, other: Block) -> Block:
    return Block(
        rows=one.rows + other.rows,
        columns={name: pa.concat_arrays([array, other.columns[name]]) for name, array in one.columns.items()},
        size=0,
        lines=pa.concat_arrays([one.lines, other.lines]),
        bad=one.bad | {one.rows + row: reason for row, reason in other.bad.items()},
        broken=one.broken | {one.rows + row: text for row, text in other.broken.items()},
    )


def _fields(line: bytes) -> list[str]:
    """In Latin-1, which keeps any byte; none for a row that no reader takes."""
    try:
        return next(csv.reader([line.decode("latin-1")]), [])
    except csv.Error:
        return []


def _fitted(line: bytes, width: int) -> bytes:
    """A row with as many fields as the header: cut, or filled up with empty ones."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow((_fields(line) + [""] * width)[:width])
    return out.getvalue().encode("latin-1")


class CsvWriter:
    """Rows as they stood, with a field an output behind."""

    def __init__(self, out: Output, head: bytes, names: Sequence[str]) -> None:
        """`head` is the input's header, whose line break the rows get too; `names` are the outputs' columns."""
        self._out = out
        self._end = b"\r\n" if head.endswith(b"\r\n") else b"\n"
        self._empty = b"," * len(names)
        added = csv_texts(pa.array(names)).to_pylist()
        out.write(head.rstrip(b"\r\n") + "".join(f",{name}" for name in added).encode() + self._end)

    def write(self, block: Block, columns: Sequence[Any]) -> None:
        """`columns` in the order of the names."""
        texts = [csv_texts(column).cast(pa.binary()) for column in columns]
        texts[-1] = pc.binary_join_element_wise(texts[-1], self._end, b"")
        joined = pc.binary_join_element_wise(block.lines, *texts, b",")
        write_rows(self._out, joined, {row: line + self._empty + self._end for row, line in block.broken.items()})

    def close(self) -> None:
        """There is nothing behind the rows."""


def write_rows(out: Output, texts: Any, instead: Mapping[int, bytes]) -> None:
    """All entries of a binary array without anything between them, some of them replaced."""
    if instead:
        rows_ = sorted(instead)
        mask = np.zeros(len(texts), np.bool_)
        mask[rows_] = True
        texts = pc.replace_with_mask(texts, pa.array(mask), pa.array([instead[row] for row in rows_], pa.binary()))
    out.write(content(texts))
