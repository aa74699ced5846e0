"""Ends a run: numbers the bad rows within their files, and writes the manifest last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from .errors import PartsMissing
from .files import output, put, together
from .keeping import all_kept
from .plan import Plan
from .planning import now
from .reports import Manifest, ShardReport

__all__ = ["finish", "in_order"]

_PIECE = 2**20


def finish(plan: Plan, reports: Iterable[ShardReport] | None, fs: Any, work: str, out: str, *, started: str) -> Manifest:
    """Writes `<out>/errors.jsonl` (unless no row is bad) and then `<out>/manifest.json`; `started` is what `begin` gave.

    `fs` has both the parts under `work` and `out`; `reports` may come in any order, and are read from `work` for None.
    Raises `PartsMissing`.
    """
    ordered = in_order(plan, all_kept(plan, fs, work) if reports is None else reports)
    bad = sum(report.bad for report in ordered)
    errors = f"{out}/errors.jsonl" if bad else None
    if errors:
        with output(fs, errors) as file:
            for line in _numbered(plan, ordered, fs):
                file.write(line)
    rows = sum(report.rows for report in ordered)
    manifest = Manifest(
        model=plan.model,
        version=plan.version,
        format=plan.format,
        inputs=plan.files,
        columns=plan.columns,
        outputs=plan.outputs,
        batch_rows=plan.batch_rows,
        rows=rows,
        scored=rows - bad,
        bad=bad,
        errors=errors,
        parts=tuple(report.part for report in ordered),
        started=started,
        finished=now(),
        plan=plan.id,
    )
    put(fs, f"{out}/manifest.json", manifest.to_json())
    return manifest


def in_order(plan: Plan, reports: Iterable[ShardReport]) -> list[ShardReport]:
    """One report a shard, by index. Raises `PartsMissing`."""
    found = sorted(reports, key=lambda report: report.index)
    if any(report.plan != plan.id for report in found):
        raise PartsMissing("some reports are of another plan; score every shard of this one")
    indices = [report.index for report in found]
    if indices != [shard.index for shard in plan.shards]:
        missing = sorted({shard.index for shard in plan.shards} - set(indices))
        what = f"shards {', '.join(map(str, missing[:10]))} have no report" if missing else "a shard has two reports"
        raise PartsMissing(f"{what}; expected one for each of {len(plan.shards)} shards; score what is missing, then finish again")
    return found


def _numbered(plan: Plan, reports: list[ShardReport], fs: Any) -> Iterator[bytes]:
    """The reasons of all shards, with the file and the row's number in it."""
    file, before = -1, 0
    begun = together(lambda report: _begun(fs, report.errors), reports)
    for shard, report, (stream, first) in zip(plan.shards, reports, begun, strict=True):
        if shard.file != file:
            file, before = shard.file, 0
        for line in _lines(stream, first):
            item = orjson.loads(line)
            document = {"file": plan.files[file].path, "row": before + item["row"], "reason": item["reason"]}
            yield orjson.dumps(document) + b"\n"
        before += report.rows


def _begun(fs: Any, path: str | None) -> tuple[Any, bytes]:
    """An open file and its first piece, which is mostly all of it; nothing for None."""
    if path is None:
        return None, b""
    stream = fs.open_input_stream(path, compression=None)
    return stream, stream.read(_PIECE)


def _lines(stream: Any, piece: bytes) -> Iterator[bytes]:
    rest = b""
    while piece:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        piece = stream.read(_PIECE)
    if stream:
        stream.close()
