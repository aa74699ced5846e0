"""A trace as text: a line for each thing, from when it began, with a bar where it ran."""

from __future__ import annotations

from rich.text import Text

from tools.modelctl.report.charts import Scale
from tools.modelctl.trace.spans import Row, Trace

__all__ = ["LEAST", "shown", "waterfall"]

LEAST = 0.004
"""Of the whole: what takes less has no line of its own, unless it is of a kind that everybody looks for."""
_ALWAYS = frozenset({"request", "hash", "signature", "session", "run"})
_NAME = 30
_NUMBER = 8
_SHADES = " ░▒▓█"
"""How much of a cell's time it ran."""
_COLOURS = {"import": "blue", "interpreter": "blue", "request": "green", "connect": "green", "session": "magenta", "library": "magenta"}


def waterfall(trace: Trace, *, width: int = 80) -> list[Text]:
    """At most `width` columns; a name that is longer is cut."""
    bar = width - _NAME - _NUMBER - 2
    head = Text.assemble((f"{'own ms':>{_NAME + _NUMBER}}  {_axis(trace.total, bar)}", "dim"))
    return [head, *(_line(row, trace.total, bar) for row in shown(trace))]


def shown(trace: Trace) -> list[Row]:
    """Rows that can be seen, and last what the others are together."""
    rows = [row for row in trace.rows if row.kind != "none" and (row.own >= LEAST * trace.total or row.kind in _ALWAYS)]
    kept = {id(row) for row in rows}
    rest = Row("none", "", 0, sorted(part for row in trace.rows if id(row) not in kept and row.lane == 0 for part in row.parts))
    return [*rows, rest] if rest.parts else rows


def _line(row: Row, total: float, bar: int) -> Text:
    name = f"{'' if row.lane == 0 else '∥ '}{row.label}"
    name = name if len(name) < _NAME else f"{name[: _NAME - 2]}…"
    colour = "dim" if row.kind in {"none", "tracer"} else _COLOURS.get(row.kind, "yellow")
    return Text.assemble(f"{name:<{_NAME}}{row.own:>{_NUMBER}.1f}  ", (_cells(row, total, bar).rstrip(), colour))


def _cells(row: Row, total: float, bar: int) -> str:
    """A cell is a share of the time; one in which it ran at all is not empty."""
    cell = total / bar
    covered = [0.0] * bar
    for begin, end in row.parts:
        for index in range(int(begin / cell), min(bar, int(end / cell) + 1)):
            covered[index] += max(0.0, min(end, (index + 1) * cell) - max(begin, index * cell))
    return "".join(_SHADES[min(4, -int(-4 * share / cell // 1))] if share > cell / 100 else " " for share in covered)


def _axis(total: float, bar: int) -> str:
    """Round milliseconds above where they are."""
    scale = Scale(0, total, 0, bar)
    line = [" "] * (bar + 8)
    for value in scale.ticks(4):
        text = f"{value:g}"
        at = int(scale(value))
        if at + len(text) <= bar:
            line[at : at + len(text)] = text
    return "".join(line).rstrip()
