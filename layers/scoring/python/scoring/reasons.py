"""Counts a shard's rows, and keeps the reasons of bad ones in a file."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import orjson

from .block import Block
from .files import Output, output

__all__ = ["Reasons"]


class Reasons:
    """A line a bad row, numbered from 1 within the shard; no file without any."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path
        self._open = ExitStack()
        self._out: Output | None = None
        self.rows = 0
        self.bad = 0

    @property
    def written(self) -> str | None:
        """The file's path, if there is one."""
        return self._path if self._out else None

    def add(self, block: Block) -> None:
        """All rows of a block, whose bad ones are known."""
        if block.bad:
            self._out = self._out or self._open.enter_context(output(self._fs, self._path))
            lines = (orjson.dumps({"row": self.rows + row + 1, "reason": reason}) + b"\n" for row, reason in sorted(block.bad.items()))
            self._out.write(b"".join(lines))
        self.rows += block.rows
        self.bad += len(block.bad)

    def __enter__(self) -> Self:
        self._open.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.__exit__(kind, error, trace)
