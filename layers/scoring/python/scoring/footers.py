"""Parquet files put together from the column chunks of others, which are copied byte by byte: whatever they hold stays as it is.

Arrow's own writer would have to read and write every column twice, for the part and for the one file that parts are joined to. Measured
end to end with 30 numbers a row, as throughput of a bare loop's on two cores: 0.91 by copying, 0.62 by `pyarrow.parquet.ParquetWriter`,
0.82 with it where one part needs no joining. With a tree in place of the tumour model: 1.3 us a row by copying, 4.9 and 2.8 without.

Field numbers are those of parquet.thrift (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import FileUnreadable
from .files import Output
from .thrift import BINARY, I32, I64, LIST, STRUCT, Struct, decode, encode

__all__ = ["Footer", "Splicer"]

_MAGIC = b"PAR1"
_PIECE = 4 * 2**20
# FileMetaData
_SCHEMA, _ROWS, _GROUPS, _KEY_VALUES, _CREATED_BY, _ORDERS, _ENCRYPTION = 2, 3, 4, 5, 6, 7, 8
# SchemaElement
_CHILDREN = 5
# RowGroup
_COLUMNS, _BYTES, _GROUP_ROWS, _FILE_OFFSET, _COMPRESSED, _ORDINAL = 1, 2, 3, 5, 6, 7
# ColumnChunk: where pages are indexed, which is not copied
_PATH, _CHUNK_OFFSET, _CHUNK, _INDEXES = 1, 2, 3, (4, 5, 6, 7)
# ColumnMetaData
_SIZE, _DATA_AT, _INDEX_AT, _DICTIONARY_AT, _BLOOM = 7, 9, 10, 11, (14, 15)
_ARROW_SCHEMA = b"ARROW:schema"


class Footer:
    """The metadata of one file."""

    def __init__(self, fields: Struct) -> None:
        self.fields = fields

    @classmethod
    def read(cls, source: Any, path: str) -> Footer:
        """Raises `FileUnreadable` for a file that is not Parquet, or that is encrypted."""
        size = source.size()
        source.seek(max(0, size - 8))
        tail = source.read(8)
        length = int.from_bytes(tail[:4], "little")
        if tail[4:] != _MAGIC or length + 12 > size:
            raise FileUnreadable(f"{path} is not a Parquet file, or it is encrypted or cut off; expected one that ends with PAR1")
        source.seek(size - 8 - length)
        try:
            footer = cls(decode(source.read(length)))
            outside = any(_CHUNK not in chunk or _PATH in chunk for group in footer.groups for chunk in group[_COLUMNS][1][1])
        except (ValueError, KeyError, TypeError) as error:
            raise FileUnreadable(f"{path} has Parquet metadata that can't be read ({error}); write it again") from None
        if outside:
            raise FileUnreadable(f"{path} has columns that are encrypted or lie in other files; expected them all in the file itself")
        return footer

    @property
    def groups(self) -> list[Struct]:
        found: list[Struct] = self.fields[_GROUPS][1][1]
        return found

    def extended(self, added: Footer) -> Footer:
        """The metadata of a file that has the columns of `added` behind its own, without row groups yet."""
        (root, *own), (other_root, *others) = self.fields[_SCHEMA][1][1], added.fields[_SCHEMA][1][1]
        root = {**root, _CHILDREN: (I32, root[_CHILDREN][1] + other_root[_CHILDREN][1])}
        fields = {**self.fields, _SCHEMA: (LIST, (STRUCT, [root, *own, *others]))}
        if _ORDERS in self.fields and _ORDERS in added.fields:
            fields[_ORDERS] = (LIST, (STRUCT, [*self.fields[_ORDERS][1][1], *added.fields[_ORDERS][1][1]]))
        else:
            fields.pop(_ORDERS, None)
        return Footer(fields)

    def with_arrow_schema(self, whole: Footer) -> Footer:
        """With the Arrow schema that `whole` keeps, where this one keeps one at all."""
        if _KEY_VALUES not in self.fields:
            return self
        schemas = [item for item in whole.fields[_KEY_VALUES][1][1] if item[1] == (BINARY, _ARROW_SCHEMA)]
        items = [schemas[0] if item[1] == (BINARY, _ARROW_SCHEMA) else item for item in self.fields[_KEY_VALUES][1][1]]
        return Footer({**self.fields, _KEY_VALUES: (LIST, (STRUCT, items))})


class Splicer:
    """Writes one file, row group after row group."""

    def __init__(self, out: Output, footer: Footer) -> None:
        """`footer` gives the schema; its row groups are not looked at."""
        self._out = out
        self._footer = footer
        self._groups: list[Struct] = []
        self.rows = 0
        out.write(_MAGIC)

    def add(self, sources: Sequence[tuple[Any, Struct]]) -> None:
        """One row group of the columns of several, each with the seekable file that it lies in; all have as many rows."""
        begins = self._out.size
        columns = [self._copy(source, chunk) for source, group in sources for chunk in group[_COLUMNS][1][1]]
        first = sources[0][1]
        whole: Struct = {
            **first,
            _COLUMNS: (LIST, (STRUCT, columns)),
            _BYTES: (I64, sum(group[_BYTES][1] for _, group in sources)),
            _FILE_OFFSET: (I64, begins),
            _COMPRESSED: (I64, self._out.size - begins),
        }
        whole.pop(_ORDINAL, None)  # optional, and another one in another file
        self._groups.append(whole)
        self.rows += first[_GROUP_ROWS][1]

    def close(self) -> None:
        """Writes the metadata."""
        fields = {**self._footer.fields, _ROWS: (I64, self.rows), _GROUPS: (LIST, (STRUCT, self._groups))}
        body = encode(fields)
        self._out.write(body + len(body).to_bytes(4, "little") + _MAGIC)

    def _copy(self, source: Any, chunk: Struct) -> Struct:
        meta = chunk[_CHUNK][1]
        data_at = meta[_DATA_AT][1]
        dictionary_at = meta[_DICTIONARY_AT][1] if _DICTIONARY_AT in meta else 0  # some writers say 0 for none
        start = min(data_at, dictionary_at) if dictionary_at > 0 else data_at
        moved = self._out.size - start
        source.seek(start)
        left = meta[_SIZE][1]
        while left:
            piece = source.read(min(_PIECE, left))
            if not piece:
                raise FileUnreadable("a Parquet file ends within a column; it was changed since, so start a new run")
            self._out.write(piece)
            left -= len(piece)
        offsets = {field: (I64, meta[field][1] + moved) for field in (_DATA_AT, _INDEX_AT, _DICTIONARY_AT) if field in meta}
        kept = {field: value for field, value in meta.items() if field not in _BLOOM}
        shifted: Struct = {**kept, **offsets}
        if not dictionary_at:
            shifted.pop(_DICTIONARY_AT, None)
        result = {field: value for field, value in chunk.items() if field not in _INDEXES}
        return {**result, _CHUNK_OFFSET: (I64, 0), _CHUNK: (STRUCT, shifted)}
