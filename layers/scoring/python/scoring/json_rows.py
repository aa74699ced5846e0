"""JSON Lines: rows are read by Arrow, written as they stood with members added; a line that Arrow refuses is looked at by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from .arrays import true_rows
from .block import Block, shown
from .csv_rows import write_rows
from .files import Output
from .lines import BOM, rows, whole_rows
from .outputs import json_texts
from .values import ARROW, EXPECTED

__all__ = ["JsonWriter", "blocks", "members"]

_FEW = 16
_EMPTY = r"^\{\s*\}$"  # an object that no comma may follow within
_HEAD = 2**20


def members(source: Any) -> tuple[list[str], int]:
    """Names that the objects of the file's first rows have, and where the first row begins; no names without any row."""
    source.seek(0)
    data = source.read(_HEAD)
    start = len(BOM) if data.startswith(BOM) else 0
    found: dict[str, None] = {}
    for line in data[start:].split(b"\n"):
        document = _document(line)
        if isinstance(document, dict):
            found |= dict.fromkeys(document)
    return list(found), start


def blocks(
    source: Any, path: str, start: int, stop: int, *, columns: Mapping[str, tuple[str, bool]], taken: Sequence[str]
) -> Iterator[Block]:
    """The rows between two offsets. `columns` says of each to read its datatype and whether it holds lists, `taken` are the outputs' names.

    Raises `FileUnreadable`.
    """
    kinds = {column: pa.list_(ARROW[datatype]) if lists else ARROW[datatype] for column, (datatype, lists) in columns.items()}
    marks = [orjson.dumps(name) for name in taken]
    for data in whole_rows(source, path, start, stop, quoted=False):
        lines = rows(data, quoted=False)
        if len(lines):
            block = _read(data, lines, columns, kinds)
            block.broken |= dict.fromkeys(true_rows(pc.match_substring_regex(lines, _EMPTY)), b"")
            if any(mark in data for mark in marks):
                _refuse_taken(block, taken, marks)
            block.size = len(data)
            yield block


def _read(data: bytes, lines: Any, columns: Mapping[str, tuple[str, bool]], kinds: dict[str, Any]) -> Block:
    table = _parse(data, lines, kinds)
    if table is not None:
        return Block(rows=len(lines), columns={name: table[name].combine_chunks() for name in kinds}, size=0, lines=lines)
    if len(lines) <= _FEW:
        return _one_by_one(lines, columns, kinds)
    half = len(lines) // 2
    parts = [_read(b"\n".join(part.to_pylist()), part, columns, kinds) for part in (lines.slice(0, half), lines.slice(half))]
    return Block(
        rows=len(lines),
        columns={name: pa.concat_arrays([part.columns[name] for part in parts]) for name in kinds},
        size=0,
        lines=lines,
        bad=parts[0].bad | {half + row: reason for row, reason in parts[1].bad.items()},
        broken=parts[0].broken | {half + row: text for row, text in parts[1].broken.items()},
    )


def _parse(data: bytes, lines: Any, kinds: dict[str, Any]) -> Any:
    """None for rows that are not all objects with such members; two objects in a line, or one in two, are never taken for rows."""
    if not (pc.all(pc.starts_with(lines, b"{")).as_py() and pc.all(pc.ends_with(lines, b"}")).as_py()):
        return None
    reading = arrow_json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    parsing = arrow_json.ParseOptions(explicit_schema=pa.schema(list(kinds.items())), unexpected_field_behavior="ignore")
    try:
        lines.cast(pa.string())  # is UTF-8, which Arrow's parser doesn't look at
        table = arrow_json.read_json(pa.BufferReader(data), reading, parsing)
    except pa.ArrowInvalid:
        return None
    return table if table.num_rows == len(lines) else None


def _one_by_one(lines: Any, columns: Mapping[str, tuple[str, bool]], kinds: dict[str, Any]) -> Block:
    values: dict[str, list[Any]] = {name: [] for name in columns}
    block = Block(rows=len(lines), columns={}, size=0, lines=lines)
    for row, line in enumerate(lines.to_pylist()):
        document = _document(line)
        if not isinstance(document, dict):
            block.bad[row] = f"the line is {_kind(document)}; expected a JSON object in UTF-8"
            block.broken[row] = b""
            document = {}
        for name, (datatype, lists) in columns.items():
            value = document.get(name)
            if value is not None and not _fits(value, datatype, lists=lists):
                expected = f"a list, each {EXPECTED[datatype]}" if lists else EXPECTED[datatype]
                block.bad.setdefault(row, f"column {name!r} holds {shown(value)}; expected {expected}")
                value = None
            values[name].append(_narrowed(value, datatype))
    block.columns = {name: pa.array(values[name], kind) for name, kind in kinds.items()}
    return block


def _document(line: bytes) -> Any:
    """`ValueError` for what is no JSON; NaN and infinities are read, as the API reads them."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return ValueError


def _kind(document: Any) -> str:
    if document is ValueError:
        return "no JSON, or not UTF-8"
    return {list: "a list", str: "text", bool: "true or false", type(None): "null"}.get(type(document), "a number")


def _fits(value: Any, datatype: str, *, lists: bool) -> bool:
    if lists:
        return isinstance(value, list) and all(item is None or _fits(item, datatype, lists=False) for item in value)
    if datatype == "BYTES":
        return isinstance(value, str) and not any("\ud800" <= mark <= "\udfff" for mark in value)
    if datatype == "BOOL":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int if "INT" in datatype else int | float):
        return False
    try:
        pa.scalar(_narrowed(value, datatype), ARROW[datatype])
    except (pa.ArrowInvalid, OverflowError):
        return False
    return True


def _narrowed(value: Any, datatype: str) -> Any:
    """Whole numbers are read as a floating-point column's nearest, which Arrow would refuse beyond 2^53."""
    if isinstance(value, list):
        return [_narrowed(item, datatype) for item in value]
    return float(value) if isinstance(value, int) and ARROW[datatype] == pa.float64() else value


def _refuse_taken(block: Block, taken: Sequence[str], marks: Sequence[bytes]) -> None:
    """An object with two members of one name would say one thing to one reader and another to the next."""
    for mark in marks:
        for row in true_rows(pc.match_substring(block.lines, mark)):
            document = _document(block.lines[row].as_py())
            for name in taken:
                if isinstance(document, dict) and name in document:
                    block.bad[row] = f"column {name!r} holds {shown(document[name])}; expected none of that name, which is the prediction's"
                    kept = {key: value for key, value in document.items() if key not in taken}
                    block.broken[row] = json.dumps(kept, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")[:-1]


class JsonWriter:
    """Objects as they stood, with a member an output at the end."""

    def __init__(self, out: Output, names: Sequence[str]) -> None:
        self._out = out
        self._keys = [b"," + orjson.dumps(name) + b":" for name in names]
        self._nulls = b"".join(key + b"null" for key in self._keys) + b"}\n"

    def write(self, block: Block, columns: Sequence[Any]) -> None:
        """`columns` in the order of the names."""
        pieces = [pc.binary_slice(block.lines, 0, -1)]
        for key, column in zip(self._keys, columns, strict=True):
            pieces += [pa.scalar(key, pa.binary()), json_texts(column).cast(pa.binary())]
        joined = pc.binary_join_element_wise(*pieces, pa.scalar(b"}\n", pa.binary()), pa.scalar(b"", pa.binary()))
        write_rows(self._out, joined, {row: self._instead(text) for row, text in block.broken.items()})

    def close(self) -> None:
        """There is nothing behind the rows."""

    def _instead(self, text: bytes) -> bytes:
        """`text` is an object without its end, or nothing."""
        return text + self._nulls if len(text) > 1 else b"{" + self._nulls[1:]
