"""The formats of data sets, told by a file's suffix, each behind the same few questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Protocol

import pyarrow as pa

from modelserve.manifest import TensorSpec

from . import csv_rows, json_rows, parquet_rows
from .block import Block
from .columns import width
from .cutting import cut_lines, cut_quoted
from .errors import NothingToScore
from .files import Output
from .values import check_type

__all__ = ["FORMATS", "Format", "Head", "Writer", "format_of"]


@dataclass(frozen=True)
class Head:
    """What is known of a file before its rows are read."""

    columns: list[str] | None
    """None for a file without rows, whose columns are not known."""
    schema: Any
    """What two files of one data set must have in common."""
    start: int
    """Where rows begin, in bytes."""


class Writer(Protocol):
    """Writes a part."""

    def write(self, block: Block, columns: Sequence[Any]) -> None:
        """A block's rows with predictions."""

    def close(self) -> None:
        """What stands behind all rows."""


class Format(Protocol):
    """A file format."""

    name: str
    lists: bool
    """Whether a column may hold lists."""

    def head(self, source: Any, path: str) -> Head:
        """Raises `FileUnreadable`."""

    def check(self, head: Head, spec: TensorSpec, columns: Sequence[str], path: str) -> None:
        """Raises `ColumnsMissing` for columns of another type than an input needs."""

    def cut(self, source: Any, path: str, head: Head, shard_bytes: int) -> list[tuple[int, int]]:
        """Starts and stops of a file's shards, one at least."""

    def blocks(
        self,
        source: Any,
        path: str,
        bounds: tuple[int, int],
        inputs: Sequence[TensorSpec],
        columns: Mapping[str, Sequence[str]],
        taken: Sequence[str],
    ) -> Iterator[Block]:
        """A shard's rows; `columns` are the inputs', `taken` the outputs'."""

    def writer(self, out: Output, source: Any, path: str, start: int, fields: Sequence[Any]) -> Writer:
        """For a shard of `source`; `fields` are the outputs' Arrow fields."""


def _read(inputs: Sequence[TensorSpec], columns: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, bool]]:
    """Datatype of each column to read, and whether it holds lists."""
    return {column: (spec.datatype, len(columns[spec.name]) == 1 and width(spec) != 1) for spec in inputs for column in columns[spec.name]}


class _Csv:
    name = "csv"
    lists = False

    def head(self, source: Any, path: str) -> Head:
        names, head = csv_rows.header(source, path)
        return Head(names, names, len(head))

    def check(self, head: Head, spec: TensorSpec, columns: Sequence[str], path: str) -> None:
        """Text is looked at row by row."""

    def cut(self, source: Any, path: str, head: Head, shard_bytes: int) -> list[tuple[int, int]]:
        return cut_quoted(source, path, head.start, shard_bytes)

    def blocks(
        self,
        source: Any,
        path: str,
        bounds: tuple[int, int],
        inputs: Sequence[TensorSpec],
        columns: Mapping[str, Sequence[str]],
        taken: Sequence[str],
    ) -> Iterator[Block]:
        names, _ = csv_rows.header(source, path)
        datatypes = {column: datatype for column, (datatype, _) in _read(inputs, columns).items()}
        return csv_rows.blocks(source, path, *bounds, names=names, datatypes=datatypes)

    def writer(self, out: Output, source: Any, path: str, start: int, fields: Sequence[Any]) -> Writer:
        return csv_rows.CsvWriter(out, csv_rows.header(source, path)[1], [field.name for field in fields])


class _JsonLines:
    name = "jsonl"
    lists = True

    def head(self, source: Any, path: str) -> Head:
        names, start = json_rows.members(source)
        return Head(names or None, None, start)

    def check(self, head: Head, spec: TensorSpec, columns: Sequence[str], path: str) -> None:
        """Values are looked at row by row."""

    def cut(self, source: Any, path: str, head: Head, shard_bytes: int) -> list[tuple[int, int]]:
        return cut_lines(source, path, head.start, shard_bytes)

    def blocks(
        self,
        source: Any,
        path: str,
        bounds: tuple[int, int],
        inputs: Sequence[TensorSpec],
        columns: Mapping[str, Sequence[str]],
        taken: Sequence[str],
    ) -> Iterator[Block]:
        return json_rows.blocks(source, path, *bounds, columns=_read(inputs, columns), taken=taken)

    def writer(self, out: Output, source: Any, path: str, start: int, fields: Sequence[Any]) -> Writer:
        return json_rows.JsonWriter(out, [field.name for field in fields])


class _Parquet:
    name = "parquet"
    lists = True

    def head(self, source: Any, path: str) -> Head:
        schema = parquet_rows.schema(source, path)
        return Head(schema.names, schema.remove_metadata(), 0)

    def check(self, head: Head, spec: TensorSpec, columns: Sequence[str], path: str) -> None:
        for column in columns:
            kind = head.schema.field(column).type
            if len(columns) == 1 and width(spec) != 1:
                listed = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
                check_type(column, kind.value_type if listed else kind, spec.datatype if listed else "list", path)
            else:
                check_type(column, kind, spec.datatype, path)

    def cut(self, source: Any, path: str, head: Head, shard_bytes: int) -> list[tuple[int, int]]:
        return parquet_rows.cut(source, path, shard_bytes)

    def blocks(
        self,
        source: Any,
        path: str,
        bounds: tuple[int, int],
        inputs: Sequence[TensorSpec],
        columns: Mapping[str, Sequence[str]],
        taken: Sequence[str],
    ) -> Iterator[Block]:
        return parquet_rows.blocks(source, *bounds, list(dict.fromkeys(chain.from_iterable(columns.values()))))

    def writer(self, out: Output, source: Any, path: str, start: int, fields: Sequence[Any]) -> Writer:
        return parquet_rows.ParquetWriter(out, source, path, start, fields)


FORMATS: dict[str, Format] = {each.name: each for each in (_Csv(), _JsonLines(), _Parquet())}
_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}


def format_of(path: str) -> Format:
    """By the suffix. Raises `NothingToScore` for one that none has."""
    for suffix, name in _SUFFIXES.items():
        if path.lower().endswith(suffix):
            return FORMATS[name]
    expected = "expected .csv, .jsonl, .ndjson or .parquet"
    if path.lower().endswith((".gz", ".zst", ".bz2", ".zip", ".xz")):
        raise NothingToScore(f"{path} is compressed as a whole, so that it can't be read in parts; {expected}: decompress it first")
    raise NothingToScore(f"{path} has a suffix that no format has; {expected}")
