"""Ends a run: numbers the bad rows within their files, and writes the manifest last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .plan import Plan
from .reports import Manifest, ShardReport

__all__ = ["finish"]


def finish(plan: Plan, reports: Iterable[ShardReport] | None, fs: Any, work: str, out: str, *, started: str) -> Manifest:
    """Writes `<out>/errors.jsonl` (unless no row is bad) and then `<out>/manifest.json`; `started` is what `begin` gave.

    `fs` has both the parts under `work` and `out`; `reports` may come in any order, and are read from `work` for None. Raises `PartsMissing`.
    """
    raise NotImplementedError
