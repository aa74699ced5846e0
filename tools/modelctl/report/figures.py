"""The drawings of a page, each from plain numbers; whatever has a colour also has a place, a shape or a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tools.modelctl.report import charts
from tools.modelctl.report.charts import WIDTH, Point, Scale, bar, dot, label, line
from tools.modelctl.report.text import counted, number, percent, tick

__all__ = ["curves", "fan", "front", "heat", "histogram", "reliability"]

_SQUARE = (44.0, 24.0, 300.0)
"""Left, top and side of what is as high as it is wide."""
_DASHES = ("one", "two", "three", "four")


def histogram(title: str, says: str, edges: Sequence[float], counts: Sequence[int], *, axis: str) -> Markup:
    """How many fall between each two edges, with a line at zero."""
    left, right, top, bottom = 44.0, WIDTH - 24.0, 24.0, 214.0
    across, up = Scale(edges[0], edges[-1], left, right), Scale(0.0, max([1, *counts]) * 1.05, bottom, top)
    parts = [*charts.left_axis(up, left, right, "rows"), *charts.under_axis(across, bottom, bottom, axis, about=5)]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        tip = f"{number(low)} to {number(high)}: {counted(count, 'row')}"
        parts.append(bar(across(low) + 0.5, up(count), across(high) - across(low) - 1, bottom - up(count), "main soft", tip=tip))
    if edges[0] < 0 < edges[-1]:
        parts.append(line(f"M{across(0):.1f} {top}V{bottom}", "overall"))
    return charts.drawing(title, says, bottom + 40, parts)


def heat(title: str, says: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> Markup:
    """A square a pair of classes: down what is true, across what was answered; the stronger the larger its share of the row."""
    left = charts.room_for(names, most=110)
    cell = min(88.0, (max(WIDTH, left + 28.0 * len(names)) - left - 4) / len(names))
    slanted = charts.room_for(names, least=0) > cell + 6
    top, width = 50.0 + 0.7 * (left - 50) if slanted else 44.0, max(WIDTH, left + cell * len(names) + (left * 0.5 if slanted else 4))
    parts = [label(2, top - 8, "true ↓", "axis"), label(2, 14, "answered as →", "axis")]
    for column, name in enumerate(names):
        x = left + cell * (column + 0.5)
        above = charts.slanted(x, top - 6, name, "tick", most=left - 10) if slanted else label(x, top - 8, name, "tick", anchor="middle")
        parts.append(above)
    for row, (name, found) in enumerate(zip(names, counts, strict=True)):
        y, total = top + cell * row, sum(found)
        parts.append(label(left - 8, y + cell / 2 + 4, name, "", anchor="end", most=left - 10))
        for column, count in enumerate(found[: len(names)]):
            parts += _cell(left + cell * column, y, cell, count, total, right=row == column, tip=f"{name} answered as {names[column]}")
    return charts.drawing(title, says, top + cell * len(names) + 6, parts, width=width)


def curves(title: str, says: str, series: Sequence[tuple[str, Sequence[Point]]], *, axes: tuple[str, str]) -> Markup:
    """Up to four lines in the unit square, each of another dash, named right of it; further ones are thin and without a name."""
    parts, across, up = _square(axes)
    for _, points in series[len(_DASHES) :]:
        parts.append(charts.path([(across(x), up(y)) for x, y in points], "curve rest"))
    for (name, points), dash in zip(series, _DASHES, strict=False):
        parts.append(charts.path([(across(x), up(y)) for x, y in points], f"curve {dash}"))
        y = up(0.0) - 14 - 18 * (min(len(series), len(_DASHES)) - 1 - _DASHES.index(dash))
        parts.append(line(f"M{across(0.42):.1f} {y - 4:.1f}h26", f"curve {dash}"))
        parts.append(label(across(0.42) + 34, y, name, "on", most=across(1.0) - across(0.42) - 38))
    return charts.drawing(title, says, up(0.0) + 40, parts)


def reliability(title: str, says: str, bins: Sequence[Mapping[str, float]], *, axes: tuple[str, str]) -> Markup:
    """What was observed for each probability that was stated; larger dots are more rows."""
    parts, across, up = _square(axes)
    points = [(across(each["predicted"]), up(each["observed"])) for each in bins]
    most = max(each["rows"] for each in bins) or 1
    parts.append(charts.path(points, "curve one"))
    for (x, y), each in zip(points, bins, strict=True):
        tip = f"said {percent(each['predicted'])}, was {percent(each['observed'])}, {counted(int(each['rows']), 'row')}"
        parts.append(dot(x, y, 3 + 6 * (each["rows"] / most) ** 0.5, "main", tip))
    return charts.drawing(title, says, up(0.0) + 40, parts)


def fan(title: str, says: str, points: Sequence[Mapping[str, float]], *, axes: tuple[str, str]) -> Markup:
    """Median and a band around it along what was predicted."""
    left, right, top, bottom = 58.0, WIDTH - 24.0, 24.0, 214.0
    across = Scale(*charts.extent([each["predicted"] for each in points], margin=0.03), left, right)
    up = Scale(*charts.extent([0.0, *(each[key] for each in points for key in ("low", "high"))]), bottom, top)
    parts = [*charts.left_axis(up, left, right, axes[1]), *charts.under_axis(across, bottom, bottom, axes[0], about=5)]
    low, median, high = ([(across(each["predicted"]), up(each[key])) for each in points] for key in ("low", "median", "high"))
    parts += [charts.area(high, low, "band"), line(f"M{left} {up(0):.1f}H{right}", "overall"), charts.path(median, "curve one")]
    for (x, y), each in zip(median, points, strict=True):
        parts.append(dot(x, y, 3.5, "main", f"{number(each['predicted'])}: {number(each['median'])}, {counted(int(each['rows']), 'row')}"))
    return charts.drawing(title, says, bottom + 40, parts)


def front(title: str, says: str, found: Sequence[Mapping[str, Any]], *, metric: str) -> Markup:
    """Size against a metric; larger dots answer slower, filled ones lie on the front, and a line joins these."""
    left, right, top, bottom = 58.0, WIDTH - 60.0, 24.0, 260.0
    sizes = [each["size"] / 1000 for each in found]
    low, high = min(sizes), max(sizes)
    across = Scale(low / 1.3, high * 1.3, left, right, log=True)
    up = Scale(*charts.extent([each["metric"] for each in found], margin=0.18), bottom, top)
    slowest = max(each.get("latency_us", 0.0) for each in found) or 1.0
    parts = [*charts.left_axis(up, left, right, metric), *_sizes(across, bottom)]
    best = sorted((each["size"] / 1000, each["metric"]) for each in found if each["on_front"])
    parts.append(charts.path([(across(size), up(value)) for size, value in best], "joined") if best else Markup())
    taken: list[Point] = []
    for each in sorted(found, key=lambda each: bool(each["on_front"])):
        x, y = across(each["size"] / 1000), up(each["metric"])
        radius = 4 + 8 * (each.get("latency_us", 0.0) / slowest) ** 0.5
        tip = f"{each['method']}: {number(each['size'] / 1000)} kB, {metric} {number(each['metric'])}"
        parts.append(dot(x, y, radius, "main best" if each["on_front"] else "hollow", tip))
        at = _free(y - radius - 5, x, taken)
        parts.append(label(x, at, each["method"], "on" if each["on_front"] else "tick", anchor="middle", most=110))
    return charts.drawing(title, says, bottom + 40, parts)


def _cell(x: float, y: float, side: float, count: int, total: int, *, right: bool, tip: str) -> list[Markup]:
    share = count / total if total else 0.0
    kind = "good" if right else "bad"
    parts = [bar(x + 1, y + 1, side - 2, side - 2, f"cell {kind}", tip=f"{tip}: {count:,} of {total:,}", opacity=0.66 * share**0.5)]
    shown = f"{count:,}" if count else "·"
    roomy = side >= 56 and count
    parts.append(label(x + side / 2, y + side / 2 + (0 if roomy else 4), shown, "on" if count else "tick", anchor="middle"))
    if roomy:
        parts.append(label(x + side / 2, y + side / 2 + 15, percent(share), "part", anchor="middle"))
    return parts


def _square(axes: tuple[str, str]) -> tuple[list[Markup], Scale, Scale]:
    """Of shares, with the diagonal."""
    left, top, side = _SQUARE
    across, up = Scale(0.0, 1.0, left, left + side + 60), Scale(0.0, 1.0, top + side, top)
    parts = [
        *charts.left_axis(up, left, left + side + 60, axes[1], shown=percent),
        *charts.under_axis(across, top, top + side, axes[0], shown=percent),
        line(f"M{across(0):.1f} {up(0):.1f}L{across(1):.1f} {up(1):.1f}", "overall"),
    ]
    return parts, across, up


def _sizes(across: Scale, bottom: float) -> list[Markup]:
    """Round numbers of kilobytes under a logarithmic axis."""
    powers = [10.0**power * factor for power in range(-3, 8) for factor in (1, 2, 5)]
    within = [each for each in powers if across.low <= each <= across.high]
    shown = within[:: max(1, len(within) // 6)]
    parts = [label(across(each), bottom + 15, tick(each), "tick", anchor="middle") for each in shown]
    ticks = [line(f"M{across(each):.1f} {bottom}v5", "grid") for each in shown]
    return [
        *ticks,
        *parts,
        label((across.start + across.end) / 2, bottom + 32, "size of model.onnx, kB (logarithmic)", "axis", anchor="middle"),
    ]


def _free(y: float, x: float, taken: list[Point]) -> float:
    """Higher up where another label is in the way already."""
    while any(abs(y - other) < 13 and abs(x - beside) < 80 for beside, other in taken):
        y -= 13
    taken.append((x, y))
    return y
