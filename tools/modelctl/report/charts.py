"""A small vocabulary of SVG: scales, axes and marks. Colours are classes, so that light, dark and paper each have theirs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from tools.modelctl.report.text import bounded, columns, tick

__all__ = [
    "WIDTH",
    "Point",
    "Scale",
    "area",
    "bar",
    "dot",
    "drawing",
    "extent",
    "label",
    "left_axis",
    "line",
    "mark",
    "path",
    "room_for",
    "under_axis",
]

WIDTH = 420
"""Units of every drawing: wide enough for labels, and on a phone its 12-unit letters are still read."""
Point = tuple[float, float]
_LETTER = 6.4  # units of a letter of 12


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, on a line from `start` to `end` in units of the drawing."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __post_init__(self) -> None:
        """Raises `ValueError` for what no axis can show."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high) or (self.log and self.low <= 0):
            raise ValueError(f"no axis goes from {self.low} to {self.high}")

    def __call__(self, value: float) -> float:
        """Where `value` lies; at the end of the axis where that is passed."""
        low, high, at = (math.log(each) if self.log else each for each in (self.low, self.high, max(value, self.low)))
        return self.start + (self.end - self.start) * min(1.0, max(0.0, (at - low) / (high - low)))

    def ticks(self, about: int = 4) -> list[float]:
        """Round values within the scale, about so many: steps of 1, 2 or 5, or powers of ten where it is logarithmic."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            decades = [10.0**power for power in powers]
            return decades if len(decades) > 1 else [self.low, self.high]
        rough = (self.high - self.low) / about
        power = 10.0 ** math.floor(math.log10(rough))
        step = min((power * factor for factor in (1, 2, 5, 10)), key=lambda each: abs(math.log(each / rough)))
        first = math.ceil(self.low / step - 1e-9)
        return [round(index * step, 12) + 0.0 for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def extent(values: Iterable[float], *, margin: float = 0.08) -> tuple[float, float]:
    """From the least to the largest with some room around; never nothing at all."""
    found = list(values)
    low, high = min(found), max(found)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return low - room, high + room


def drawing(title: str, says: str, height: float, parts: Iterable[Markup], *, width: float = WIDTH) -> Markup:
    """An image with a name and a description for who can't see it."""
    kind = "large" if width > 1.25 * WIDTH else ""
    return Markup('<svg viewBox="0 0 {} {}" role="img" class="{}"><title>{}</title><desc>{}</desc>{}</svg>').format(
        _short(width), _short(height), kind, title, says, Markup().join(parts)
    )


def label(
    x: float, y: float, text: object, kind: str = "", *, anchor: str = "start", most: float | None = None, size: float = _LETTER
) -> Markup:
    """A line of text whose foot is at `y`; cut, and whole in its tooltip, where it would be wider than `most` units."""
    whole = bounded(text)
    shown = bounded(whole, max(2, int(most / size))) if most is not None else whole
    tip = Markup("<title>{}</title>").format(whole) if shown != whole else ""
    return Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}{}</text>').format(_short(x), _short(y), anchor, kind, shown, tip)


def slanted(x: float, y: float, text: object, kind: str = "", *, most: float) -> Markup:
    """As `label`, going up to the right from its foot, where it has no room beside its neighbours."""
    return Markup('<g transform="translate({} {}) rotate(-45)">{}</g>').format(_short(x), _short(y), label(0, 0, text, kind, most=most))


def room_for(labels: Iterable[str], *, least: float = 40, most: float = 150) -> float:
    """Units that the longest of `labels` needs, within bounds."""
    return min(most, max([least, *(columns(bounded(each)) * _LETTER + 14 for each in labels)]))


def path(points: Iterable[Point], kind: str) -> Markup:
    """A line through `points`."""
    return line("M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in points), kind)


def line(steps: str, kind: str) -> Markup:
    """A path in SVG's own terms."""
    return Markup('<path d="{}" class="{}"/>').format(steps, kind)


def area(upper: Sequence[Point], lower: Sequence[Point], kind: str) -> Markup:
    """What lies between two lines."""
    return line("M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in [*upper, *reversed(lower)]) + "Z", kind)


def bar(x: float, y: float, width: float, height: float, kind: str, *, tip: str = "", opacity: float | None = None) -> Markup:
    """A rectangle from its upper left corner."""
    shade = Markup(' fill-opacity="{}"').format(f"{opacity:.3f}") if opacity is not None else ""
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"{}>{}</rect>').format(
        _short(x), _short(y), _short(max(width, 0)), _short(max(height, 0)), kind, shade, _tip(tip)
    )


def dot(x: float, y: float, radius: float, kind: str, tip: str = "") -> Markup:
    """A circle around a point."""
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}">{}</circle>').format(_short(x), _short(y), _short(radius), kind, _tip(tip))


def mark(x: float, y: float, kind: str, tip: str = "") -> Markup:
    """A diamond around a point, told from a dot without colour."""
    return Markup('<path d="M{} {}l5 5l-5 5l-5-5z" class="{}">{}</path>').format(_short(x), _short(y - 5), kind, _tip(tip))


def under_axis(
    scale: Scale, top: float, bottom: float, title: str, *, about: int = 4, shown: Callable[[float], str] = tick
) -> list[Markup]:
    """Grid lines from `top` to `bottom`, a number under each, and what they count."""
    ticks = [(scale(value), shown(value)) for value in scale.ticks(about)]
    grid = [line(f"M{_short(x)} {_short(top)}V{_short(bottom)}", "grid") for x, _ in ticks]
    numbers = [label(x, bottom + 15, text, "tick", anchor="middle") for x, text in ticks]
    return [*grid, *numbers, label((scale.start + scale.end) / 2, bottom + 32, title, "axis", anchor="middle")]


def left_axis(scale: Scale, left: float, right: float, title: str, *, about: int = 4, shown: Callable[[float], str] = tick) -> list[Markup]:
    """As `under_axis`, with the numbers left of the lines, and what they count above them."""
    ticks = [(scale(value), shown(value)) for value in scale.ticks(about)]
    grid = [line(f"M{_short(left)} {_short(y)}H{_short(right)}", "grid") for y, _ in ticks]
    numbers = [label(left - 6, y + 4, text, "tick", anchor="end") for y, text in ticks]
    return [*grid, *numbers, label(2, min(scale.start, scale.end) - 10, title, "axis")]


def _tip(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text) if text else Markup()


def _short(value: float) -> str:
    """A tenth of a unit is less than anyone sees."""
    return f"{value:.1f}".removesuffix(".0")
