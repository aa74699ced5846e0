"""The formats of data sets, told by a file's suffix, each behind the same few questions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

__all__ = ["FORMATS", "Format", "Head", "Task", "Writer", "format_of"]


@dataclass(frozen=True)
class Head:
    """What is known of a file before its rows are read."""

    columns: list[str] | None
    """None for a file without rows, whose columns are not known."""
    schema: Any
    """What two files of one data set must have in common."""
    start: int
    """Where rows begin, in bytes."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A shard of one file, and what is read and written."""

    path: str
    start: int
    stop: int
    inputs: Sequence[TensorSpec]
    columns: Mapping[str, Sequence[str]]
    """Of each input."""
    fields: Sequence[Any]
    """Arrow fields of the outputs' columns."""

    @property
    def read(self) -> dict[str, tuple[str, bool]]:
        """Datatype of each column that is read, and whether it holds lists."""
        found: dict[str, tuple[str, bool]] = {}
        for spec in self.inputs:
            columns = self.columns[spec.name]
            found |= dict.fromkeys(columns, (spec.datatype, len(columns) == 1 and width(spec) != 1))
        return found

    @property
    def written(self) -> list[str]:
        """Names of the outputs' columns."""
        return [field.name for field in self.fields]


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

    def blocks(self, source: Any, task: Task) -> Iterator[Block]:
        """The rows of a shard of the open file."""

    def writer(self, out: Output, source: Any, task: Task) -> Writer:
        """For the part of a shard of the open file."""


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

    def blocks(self, source: Any, task: Task) -> Iterator[Block]:
        names, _ = csv_rows.header(source, task.path)
        datatypes = {column: datatype for column, (datatype, _) in task.read.items()}
        return csv_rows.blocks(source, task.path, task.start, task.stop, names=names, datatypes=datatypes)

    def writer(self, out: Output, source: Any, task: Task) -> Writer:
        return csv_rows.CsvWriter(out, csv_rows.header(source, task.path)[1], task.written)


class _JsonLines:
    name = "jsonl"
    lists = True

    def head(self, source: Any, path: str) -> Head:  # noqa: ARG002 - as `Format` has it
        names, start = json_rows.members(source)
        return Head(names or None, None, start)

    def check(self, head: Head, spec: TensorSpec, columns: Sequence[str], path: str) -> None:
        """Values are looked at row by row."""

    def cut(self, source: Any, path: str, head: Head, shard_bytes: int) -> list[tuple[int, int]]:
        return cut_lines(source, path, head.start, shard_bytes)

    def blocks(self, source: Any, task: Task) -> Iterator[Block]:
        return json_rows.blocks(source, task.path, task.start, task.stop, columns=task.read, taken=task.written)

    def writer(self, out: Output, source: Any, task: Task) -> Writer:  # noqa: ARG002 - as `Format` has it
        return json_rows.JsonWriter(out, task.written)


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

    def cut(self, source: Any, path: str, head: Head, shard_bytes: int) -> list[tuple[int, int]]:  # noqa: ARG002 - as `Format` has it
        return parquet_rows.cut(source, path, shard_bytes)

    def blocks(self, source: Any, task: Task) -> Iterator[Block]:
        return parquet_rows.blocks(source, task.start, task.stop, list(task.read))

    def writer(self, out: Output, source: Any, task: Task) -> Writer:
        return parquet_rows.ParquetWriter(out, source, task.path, task.start, task.fields)


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
