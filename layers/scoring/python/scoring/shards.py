"""Scores one shard: reads, runs and writes beside one another, and vouches for the part when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelserve.dataplane import Model

from .plan import Plan, Shard
from .reports import ShardReport

__all__ = ["score"]


def score(
    fs: Any,
    plan: Plan,
    shard: Shard,
    model: Model,
    out_fs: Any,
    work: str,
    *,
    refuse_nan: bool = False,
    seconds: float = 60.0,
    batch_rows: int = 4096,
    progress: Callable[[int], None] = lambda rows: None,
) -> ShardReport:
    """Writes the shard's rows with predictions to a part under `work`, then its report; a valid report is returned as it is.

    `refuse_nan` makes rows with NaN or infinity bad, `seconds` bounds each run of the model, `progress` is told the rows of each batch.
    Raises `FileChanged` and other `DataSetError`s, and the model's `ServeError` where it says nothing of the rows.
    """
    raise NotImplementedError
