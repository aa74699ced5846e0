"""Parts put together to one file, for those who have asked for one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .csv_rows import header
from .files import Output, output
from .footers import Footer, Splicer
from .keeping import all_kept
from .plan import Plan
from .reports import Part

__all__ = ["join"]

_PIECE = 4 * 2**20


def join(plan: Plan, fs: Any, work: str, path: str) -> Part:
    """Writes every part under `work` in order to one file at `path`, which is there once it is whole. Raises `PartsMissing`."""
    reports = all_kept(plan, fs, work)
    with output(fs, path) as out:
        parts = (report.part.path for report in reports)
        if plan.format == "parquet":
            _join_row_groups(parts, fs, out)
        else:
            for number, part in enumerate(parts):
                for piece in _text(part, fs, headless=plan.format == "csv" and number > 0):
                    out.write(piece)
    return Part(path=path, rows=sum(report.rows for report in reports), size=out.size, sha256=out.sha256)


def _text(path: str, fs: Any, *, headless: bool) -> Iterator[bytes]:
    with fs.open_input_file(path) as source:
        start = len(header(source, path)[1]) if headless else 0
        source.seek(start)
        while piece := source.read(_PIECE):
            yield piece


def _join_row_groups(paths: Iterable[str], fs: Any, out: Output) -> None:
    splicer: Splicer | None = None
    for path in paths:
        with fs.open_input_file(path) as source:
            footer = Footer.read(source, path)
            splicer = splicer or Splicer(out, footer)
            for group in footer.groups:
                splicer.add([(source, group)])
    assert splicer is not None  # a plan has a shard at least
    splicer.close()
