"""Reports of the shards that are scored, by which a run goes on where it stopped and ends when it is whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pyarrow.fs import FileSelector, FileType

from .errors import DataSetError, PartsMissing
from .files import put, read, sizes, together
from .plan import Plan, Shard
from .reports import ShardReport

__all__ = ["all_kept", "keep", "kept"]


def keep(report: ShardReport, fs: Any, work: str) -> None:
    """Vouches for a part, which is there already."""
    put(fs, _path(work, report.index), orjson.dumps(report.to_dict()))


def kept(plan: Plan, shard: Shard, fs: Any, work: str) -> ShardReport | None:
    """The report of a shard that was scored, if it is of this plan and its part lies there."""
    return _kept(plan, shard, fs, work, lambda paths: sizes(fs, paths))


def all_kept(plan: Plan, fs: Any, work: str) -> list[ShardReport]:
    """What `kept` has for each shard, in order. Raises `PartsMissing`.

    What lies there is listed once, which takes fewer requests than to look for each part.
    """
    there = {path: size for folder in ("data", "errors") for path, size in _listed(fs, f"{work}/{folder}").items()}
    found = list(together(lambda shard: _kept(plan, shard, fs, work, lambda paths: [there.get(path) for path in paths]), plan.shards))
    if missing := [str(shard.index) for shard, report in zip(plan.shards, found, strict=True) if report is None]:
        raise PartsMissing(
            f"{len(missing)} of {len(found)} shards have no report, such as {', '.join(missing[:10])}; score them, then finish"
        )
    return [report for report in found if report]


def _kept(plan: Plan, shard: Shard, fs: Any, work: str, sizes_of: Callable[[list[str]], list[int | None]]) -> ShardReport | None:
    body = read(fs, _path(work, shard.index))
    if body is None:
        return None
    try:
        report = ShardReport.from_dict(orjson.loads(body))
    except (orjson.JSONDecodeError, DataSetError):
        return None
    if (report.plan, report.index) != (plan.id, shard.index):
        return None
    size, *errors = sizes_of([report.part.path, *([report.errors] if report.errors else [])])
    return report if size == report.part.size and all(errors) else None


def _listed(fs: Any, folder: str) -> Mapping[str, int]:
    found = fs.get_file_info(FileSelector(folder, allow_not_found=True))
    return {info.path: info.size for info in found if info.type == FileType.File}


def _path(work: str, index: int) -> str:
    return f"{work}/reports/{index:05d}.json"
