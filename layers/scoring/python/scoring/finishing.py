"""Ends a run: numbers the bad rows within their files, and writes the manifest last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from .files import output, put, together
from .keeping import all_kept
from .plan import Plan
from .planning import now
from .reports import Manifest, ShardReport

__all__ = ["finish"]

_PIECE = 2**20


def finish(plan: Plan, fs: Any, work: str, out: str, *, started: str) -> Manifest:
    """Writes `<out>/errors.jsonl` (unless no row is bad) and then `<out>/manifest.json`; `started` is what `begin` gave.

    `fs` has both the parts under `work` and `out`. Raises `PartsMissing`.
    """
    reports = all_kept(plan, fs, work)
    bad = sum(report.bad for report in reports)
    errors = f"{out}/errors.jsonl" if bad else None
    if errors:
        with output(fs, errors) as file:
            for line in _numbered(plan, reports, fs):
                file.write(line)
    rows = sum(report.rows for report in reports)
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
        parts=tuple(report.part for report in reports),
        started=started,
        finished=now(),
        plan=plan.id,
    )
    put(fs, f"{out}/manifest.json", manifest.to_json())
    return manifest


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
