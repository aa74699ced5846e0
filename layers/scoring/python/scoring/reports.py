"""What became of a shard, and of a run: the counts and hashes that a reader can check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from .errors import DataSetError
from .plan import CODE, SCHEMA, File

__all__ = ["Manifest", "Part", "ShardReport"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the output: the rows of one shard, in order."""

    path: str
    rows: int
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """Written when a shard's part is whole; a shard without a valid one is scored again."""

    plan: str
    """`Plan.id`."""
    index: int
    """`Shard.index`."""
    rows: int
    bad: int
    part: Part
    errors: str | None
    """Path of the bad rows' reasons, numbered within the shard; None without bad rows."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it: a shard function's answer."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ShardReport:
        """Raises `DataSetError` for anything but a report."""
        try:
            return cls(**{**document, "part": Part(**document["part"])})
        except (KeyError, TypeError) as error:
            raise DataSetError(f"what was read is no report of a shard ({error}); score the shard again") from None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What manifest.json says of a whole run; `rows` is the sum over `parts`, and `scored` + `bad`."""

    model: str
    version: str
    format: str
    inputs: tuple[File, ...]
    columns: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, str]
    batch_rows: int
    """As in `Plan`."""
    rows: int
    scored: int
    bad: int
    errors: str | None
    """Path of errors.jsonl; None without bad rows."""
    parts: tuple[Part, ...]
    started: str
    """UTC, ISO 8601, of the first start of a run that was resumed."""
    finished: str
    plan: str
    """`Plan.id`."""
    code: str = CODE
    schema: int = SCHEMA

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)
