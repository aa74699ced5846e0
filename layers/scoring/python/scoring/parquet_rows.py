"""Parquet: the model's columns are decoded, all others are only copied, row group after row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from .block import Block
from .errors import FileUnreadable
from .files import Output
from .footers import Footer, Splicer

__all__ = ["ParquetWriter", "blocks", "cut", "schema"]

_BATCH_ROWS = 16_384
_MOST_ROWS = 64 * 2**20  # of a row group that Arrow writes


def schema(source: Any, path: str) -> Any:
    """The Arrow schema. Raises `FileUnreadable`."""
    Footer.read(source, path)
    return parquet.read_schema(source)


def cut(source: Any, path: str, shard_bytes: int) -> list[tuple[int, int]]:
    """Runs of row groups of about `shard_bytes`, the last one first beyond; one of none for a file without row groups."""
    metadata = parquet.ParquetFile(source).metadata
    found, start, size = [], 0, 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        if group.num_rows > _MOST_ROWS:
            raise FileUnreadable(f"{path} has a row group of {group.num_rows:,} rows; expected {_MOST_ROWS:,} at most; write smaller ones")
        size += _size(group)
        if size >= shard_bytes:
            found.append((start, index + 1))
            start, size = index + 1, 0
    return [*found, (start, metadata.num_row_groups)] if start < metadata.num_row_groups or not found else found


def blocks(source: Any, start: int, stop: int, columns: Sequence[str]) -> Iterator[Block]:
    """The rows of some row groups, of which each is at the end of a block."""
    file = parquet.ParquetFile(source)
    for index in range(start, stop):
        group = file.metadata.row_group(index)
        rows, size = group.num_rows, _size(group)
        left = rows
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[index], columns=list(columns)):
            left -= batch.num_rows
            found = {column: batch.column(batch.schema.get_field_index(column)) for column in columns}
            yield Block(rows=batch.num_rows, columns=found, size=size * batch.num_rows // rows, ends=not left)
        if not rows:
            yield Block(rows=0, columns={}, size=0)


def _size(group: Any) -> int:
    return sum(group.column(index).total_compressed_size for index in range(group.num_columns))


class ParquetWriter:
    """Copies the row groups that were read, with a column an output behind the others."""

    def __init__(self, out: Output, source: Any, path: str, start: int, fields: Sequence[Any]) -> None:
        """`source` is the file that is read, from row group `start`; `fields` are the outputs' Arrow fields."""
        self._source = source
        footer = Footer.read(source, path)
        self._groups = iter(footer.groups[start:])
        self._schema = pa.schema(fields)
        file = parquet.ParquetFile(source)
        self._compression = _compression(file.metadata)
        own = self._table(self._schema.empty_table())[1]
        own_schema = file.schema_arrow
        whole = self._table(pa.schema([*own_schema, *fields], metadata=own_schema.metadata).empty_table())[1]
        self._splicer = Splicer(out, footer.extended(own).with_arrow_schema(whole))
        self._waiting: list[Any] = []

    def write(self, block: Block, columns: Sequence[Any]) -> None:
        """`columns` in the order of the fields; kept until their row group ends."""
        if block.rows:
            self._waiting.append(pa.table(list(columns), schema=self._schema))
        if block.ends:
            group = next(self._groups)
            if self._waiting:  # else a row group without rows
                added, footer = self._table(pa.concat_tables(self._waiting))
                self._splicer.add([(self._source, group), (added, footer.groups[0])])
            self._waiting = []

    def close(self) -> None:
        """Writes the metadata."""
        self._splicer.close()

    def _table(self, table: Any) -> tuple[Any, Footer]:
        """A file of one row group."""
        sink = pa.BufferOutputStream()
        parquet.write_table(table, sink, row_group_size=max(table.num_rows, 1), compression=self._compression)
        source = pa.BufferReader(sink.getvalue())
        return source, Footer.read(source, "a column of predictions")


def _compression(metadata: Any) -> str:
    """That of the first column."""
    if not metadata.num_row_groups or not metadata.num_columns:
        return "snappy"
    name: str = metadata.row_group(0).column(0).compression
    return {"UNCOMPRESSED": "none", "UNKNOWN": "snappy", "LZ4_RAW": "lz4"}.get(name, name.lower())
