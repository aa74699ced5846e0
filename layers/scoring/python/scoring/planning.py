"""Makes plans: finds the files, binds their columns to the model, and cuts them into shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .plan import SHARD_BYTES, Plan, Signature

__all__ = ["begin", "plan"]


def plan(
    fs: Any,
    path: str,
    model: Signature,
    *,
    shard_bytes: int = SHARD_BYTES,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    prefix: str = "",
) -> Plan:
    """The plan of a run over the file at `path`, or over every data file below it, sorted by path.

    `columns` binds inputs that columns of their own name don't; `prefix` stands before the outputs' names where these become columns.
    Reads Parquet footers, the first rows of the others, and CSV files whole, where a quoted line break may stand anywhere.
    Raises `DataSetError`.
    """
    raise NotImplementedError


def begin(plan: Plan, fs: Any, work: str) -> str:
    """Keeps `plan` under `work`, unless it is there already; the time (UTC, ISO 8601) at which the run first began.

    Raises `PlanConflict` where another plan is.
    """
    raise NotImplementedError
