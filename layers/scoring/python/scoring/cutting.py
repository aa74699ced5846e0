"""Where text files may be cut: between rows, and as near to the wanted size as rows allow."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import FileUnreadable
from .lines import ROW_BYTES, row_ends, whole_rows

__all__ = ["cut_lines", "cut_quoted"]

_PIECE = 2**16


def cut_quoted(source: Any, path: str, start: int, shard_bytes: int) -> list[tuple[int, int]]:
    """Bounds of the shards of a CSV file whose rows begin at `start`; unless it is one, all of it is read, as a quote may open anywhere."""
    size, at, found = source.size(), start, []
    if size - start <= shard_bytes:
        return [(start, size)]
    for data in whole_rows(source, path, start, size, quoted=True):
        while at + len(data) - start >= shard_bytes:
            ends = row_ends(data, quoted=True)
            index = int(np.searchsorted(ends, start + shard_bytes - at))
            if index == len(ends):
                break
            found.append((start, at + int(ends[index])))
            start = found[-1][1]
        at += len(data)
    return _with_rest(found, start, size)


def cut_lines(source: Any, path: str, start: int, shard_bytes: int) -> list[tuple[int, int]]:
    """Bounds of the shards of a file whose rows are its lines, of which only those at the bounds are read."""
    size, found = source.size(), []
    while size - start > shard_bytes:
        source.seek(start + shard_bytes - 1)
        stop = start + shard_bytes - 1
        while (piece := source.read(_PIECE)) and b"\n" not in piece:
            stop += len(piece)
            if stop - start - shard_bytes > ROW_BYTES:
                raise FileUnreadable(f"{path} has a line longer than {ROW_BYTES // 2**20} MiB at byte {start + shard_bytes:,}")
        stop += piece.find(b"\n") + 1
        found.append((start, min(stop, size)))
        start = found[-1][1]
    return _with_rest(found, start, size)


def _with_rest(found: list[tuple[int, int]], start: int, size: int) -> list[tuple[int, int]]:
    return [*found, (start, size)] if start < size or not found else found
