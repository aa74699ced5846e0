"""Drawings of a name, a value and what is around it, a row each: dots with their intervals and gates, and bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tools.modelctl.report import charts
from tools.modelctl.report.charts import WIDTH, Scale, bar, dot, label, line, mark
from tools.modelctl.report.text import DASH, number

__all__ = ["Limit", "Row", "bars", "whiskers"]

_ROW = 34  # units of height


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A limit, and whether it is the least or the most."""

    limit: float
    least: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """A value with what is around it: its interval, a limit, the same of another version."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    beside: str = ""
    """Under the value; its interval when left out."""
    shown: str = ""
    """The value with its unit; as a number when left out."""
    gates: Sequence[Limit] = ()
    other: tuple[float, float | None, float | None] | None = None

    @property
    def numbers(self) -> list[float]:
        found = [self.value, self.low, self.high, *(gate.limit for gate in self.gates), *(self.other or ())]
        return [each for each in found if each is not None]

    @property
    def interval(self) -> str:
        return f"{number(self.low)} {DASH} {number(self.high)}" if self.low is not None and self.high is not None else ""


def whiskers(
    title: str, says: str, rows: Sequence[Row], *, axis: str | None, key: tuple[str, str] | None = None, at: float | None = None
) -> Markup:
    """A dot and its interval a row; without `axis` each row on a scale of its own. `at` is a line through all of them."""
    top, left, right = 24 if key else 6, charts.room_for(each for row in rows for each in (row.name, row.note)), _right(rows)
    bottom = top + _ROW * len(rows)
    parts = _key(*key) if key else []
    shared = None
    if axis is not None:
        everything = [each for row in rows for each in row.numbers] + ([at] if at is not None else [])
        low, high = charts.extent(everything)
        if min(everything) >= 0 and max(everything) <= 1:
            low, high = max(0.0, low), min(1.0, high)
        shared = Scale(low, high, left, right)
        parts += charts.under_axis(shared, top, bottom, axis, about=4)
    if shared and at is not None:
        parts.append(line(f"M{shared(at):.1f} {top}V{bottom}", "overall"))
    for index, row in enumerate(rows):
        own = shared or Scale(*charts.extent(row.numbers, margin=0.2), left, right)
        parts += _row(row, own, top + _ROW * index + _ROW / 2, right, framed=shared is None)
    return charts.drawing(title, says, bottom + (38 if axis is not None else 4), parts)


def bars(title: str, says: str, rows: Sequence[Row], *, axis: str) -> Markup:
    """A bar a row from zero, with its deviation or range as a whisker; values below zero go left."""
    left, right, top = charts.room_for(each for row in rows for each in (row.name, row.note)), _right(rows), 6
    height = 34 if any(row.note or row.beside for row in rows) else 24
    bottom = top + height * len(rows)
    low, high = charts.extent([0.0, *(each for row in rows for each in row.numbers)], margin=0.02)
    scale = Scale(0.0 if low > -0.03 * high else low, high, left, right)
    parts = charts.under_axis(scale, top, bottom, axis, about=4)
    for index, row in enumerate(rows):
        y, zero, end = top + height * index, scale(0.0), scale(row.value)
        middle = y + height / 2
        tip = f"{row.name}: {number(row.value)}"
        parts.append(bar(min(zero, end), middle - 7, max(abs(end - zero), 1), 14, "main soft", tip=tip))
        parts += _whisker(scale, middle, row.low, row.high, "whisker")
        parts += _names(row, middle, right)
    return charts.drawing(title, says, bottom + 38, parts)


def _right(rows: Sequence[Row]) -> float:
    """Where the numbers beside a drawing begin, less a little."""
    return (
        WIDTH
        - charts.room_for([each for row in rows for each in (row.shown or number(row.value), row.beside or row.interval)], most=130)
        - 6
    )


def _row(row: Row, scale: Scale, y: float, right: float, *, framed: bool) -> list[Markup]:
    parts = [line(f"M{scale.start:.1f} {y:.1f}H{right:.1f}", "grid")] if framed else []
    for gate in row.gates:
        x, way = scale(gate.limit), 6 if gate.least else -6
        parts.append(line(f"M{x:.1f} {y - 11:.1f}V{y + 11:.1f}M{x:.1f} {y - 11:.1f}l{way} 4l{-way} 4", "gate"))
    middle = y - 5 if row.other else y
    parts += _whisker(scale, middle, row.low, row.high, "whisker")
    parts.append(dot(scale(row.value), middle, 5, "main", f"{row.name}: {number(row.value)} {row.interval}"))
    if row.other:
        value, low, high = row.other
        parts += _whisker(scale, y + 7, low, high, "whisker other")
        parts.append(mark(scale(value), y + 7, "other", f"{row.name}: {number(value)}"))
    return [*parts, *_names(row, y, right)]


def _names(row: Row, y: float, right: float) -> list[Markup]:
    """Left what it is, right what it came to, with a second line each where there is more to say."""
    beside = row.beside or row.interval
    left = charts.room_for([row.name])
    parts = [
        label(2, y + (-1 if row.note else 4), row.name, "", most=left),
        label(right + 10, y + (-1 if beside else 4), row.shown or number(row.value), "value"),
    ]
    if row.note:
        parts.append(label(2, y + 12, row.note, "small"))
    if beside:
        parts.append(label(right + 10, y + 12, beside, "small"))
    return parts


def _whisker(scale: Scale, y: float, low: float | None, high: float | None, kind: str) -> list[Markup]:
    if low is None or high is None:
        return []
    return [line(f"M{scale(low):.1f} {y:.1f}H{scale(high):.1f}M{scale(low):.1f} {y - 3:.1f}v6M{scale(high):.1f} {y - 3:.1f}v6", kind)]


def _key(this: str, other: str) -> list[Markup]:
    half = WIDTH / 2
    return [
        dot(8, 10, 5, "main"),
        label(20, 14, this, "", most=half - 30),
        mark(half, 10, "other"),
        label(half + 12, 14, other, "", most=half - 20),
    ]
