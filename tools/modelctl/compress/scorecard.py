"""Shows what came of each method beside the parent: a table, pictures of the front, and what was measured on."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rich.table import Table
from rich.text import Text

from tools.modelctl.compress.front import scatter
from tools.modelctl.compress.results import Comparison, Result
from tools.modelctl.console import table

__all__ = ["scorecard"]

_HASH = 8  # letters at the end of a version, by which every command knows it


def scorecard(comparison: Comparison, chosen: Collection[Result], *, gpu: bool) -> Iterator[Table | Text]:
    """A row a result, those of `chosen` stand out; `gpu` where the model will run on one."""
    yield _table(comparison, chosen)
    if comparison.origin:
        yield Text(f"drop is held against {comparison.origin}, which no compression made")
    for method, why in comparison.left_out.items():
        yield Text.assemble((f"{method} was left out: ", "dim"), why)
    if len(comparison.results) > 1 and (batches := comparison.parent.measured.latency):
        yield from _pictures(comparison, batches[0].rows)
    there = "; it will run on a GPU, which was not measured" if gpu else ""
    yield Text(f"µs are medians of a run with that many rows, measured in turns, on one thread of this CPU: {comparison.cpu}{there}")


def _table(comparison: Comparison, chosen: Collection[Result]) -> Table:
    """Of at most 80 columns with what models usually have; what has more is folded and never cut."""
    rows = " / ".join(str(batch.rows) for batch in comparison.parent.measured.latency)
    found = table("=method", ">kB", ">smaller")
    found.add_column(comparison.metric, justify="right", overflow="fold")
    found.add_column("drop", justify="right", no_wrap=True)
    found.add_column(f"µs at\n{rows} rows", justify="right", overflow="fold")
    found.add_column("load,\nms", justify="right", no_wrap=True)
    for result in (comparison.parent, *comparison.results):
        found.add_row(*_cells(comparison, result), style="bold green" if result in chosen else None)
    return found


def _cells(comparison: Comparison, result: Result) -> list[str]:
    parent = result is comparison.parent
    return [
        "\n".join(_parent(comparison)) if parent else result.method,
        f"{result.size / 1000:,.1f}",
        "" if parent else f"{comparison.parent.size / result.size:.2f}x",
        f"{result.metric:.4g}",
        "" if parent and not comparison.origin else f"{comparison.drop(result):.4g}",
        " / ".join(f"{batch.p50_us:,.0f}" for batch in result.measured.latency),
        f"{result.measured.load_ms:.3g}",
    ]


def _parent(comparison: Comparison) -> Iterator[str]:
    """What it is called, which version it is, and how it was made of another one."""
    yield comparison.parent.method
    if comparison.version:
        yield comparison.version[-_HASH:]
    if comparison.transform:
        yield comparison.transform


def _pictures(comparison: Comparison, rows: int) -> Iterator[Text]:
    yield Text()
    pictures = (
        scatter(comparison.points, comparison.front, lambda point: point.size / 1000, x="kB", y=comparison.metric),
        scatter(comparison.points, comparison.front, lambda point: point.latency_us, x=f"µs, {rows}", y=comparison.metric),
    )
    for line in (line for picture in pictures for line in picture):
        yield Text(line)
    yield Text("● on the front: no other that may be published is as small, as good and as fast   ○ others")
