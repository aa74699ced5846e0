"""Which results are worth a look: those that no other beats in size, metric and latency at once; and a picture of them for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

__all__ = ["NOISE", "Point", "front", "scatter"]

NOISE = 1.1
"""How many times as long a run must take to be called slower."""
_WIDTH, _HEIGHT = 58, 10
_MARGIN = 10  # characters of the numbers beside the plot


@dataclass(frozen=True, kw_only=True)
class Point:
    """A result, or the parent."""

    method: str
    size: int
    """Bytes."""
    metric: float
    drop: float
    """How much worse than the parent's; negative when better."""
    latency: tuple[float, ...]
    """µs, medians of a run at each batch that was measured, the smallest first; of all points the same batches."""

    @property
    def latency_us(self) -> float:
        """At the smallest batch."""
        return next(iter(self.latency), 0.0)


def front(points: Sequence[Point]) -> set[str]:
    """The methods of the points that are on the Pareto front: no other is as good in size, drop and every latency, and better in one."""
    return {point.method for point in points if not any(_beats(other, point) for other in points)}


def _beats(one: Point, other: Point) -> bool:
    times = list(zip(one.latency, other.latency, strict=True))
    as_good = one.size <= other.size and one.drop <= other.drop and all(mine <= theirs * NOISE for mine, theirs in times)
    return as_good and (one.size < other.size or one.drop < other.drop or any(mine * NOISE < theirs for mine, theirs in times))


def scatter(points: Sequence[Point], full: Container[str], across: Callable[[Point], float], *, x: str, y: str) -> list[str]:
    """Lines of text: the metric upwards, a full dot for the methods in `full`. `x` is the unit of `across`, `y` the metric's name."""
    xs, ys = [across(point) for point in points], [point.metric for point in points]
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT)]
    places = [
        (_place(point.metric, ys, _HEIGHT - 1), _place(across(point), xs, _WIDTH - 1, least=max(xs) * (NOISE - 1))) for point in points
    ]
    for (up, right), point in zip(places, points, strict=True):
        grid[_HEIGHT - 1 - up][right] = "●" if point.method in full else "○"
    for (up, right), point in zip(places, points, strict=True):
        _write(grid, _HEIGHT - 1 - up, right, point.method)
    lines = [f"{'':{_MARGIN}}│{''.join(row).rstrip()}" for row in grid]
    for up, value in {_place(value, ys, _HEIGHT - 1): value for value in (min(ys), max(ys))}.items():
        lines[_HEIGHT - 1 - up] = f"{value:>{_MARGIN}.4g}" + lines[_HEIGHT - 1 - up][_MARGIN:]
    low, high = f"{min(xs):.4g}", f"{max(xs):.4g} {x}"
    return [f"{y:>{_MARGIN}}", *lines, f"{'':{_MARGIN}}└{'─' * _WIDTH}", f"{'':{_MARGIN}} {low}{high:>{_WIDTH - len(low)}}"]


def _place(value: float, values: Sequence[float], most: int, *, least: float = 0.0) -> int:
    """In the middle where values differ by no more than `least`: noise is not to look like a difference."""
    low, high = min(values), max(values)
    return round((value - low) / (high - low) * most) if high - low > least else most // 2


def _write(grid: list[list[str]], row: int, right: int, text: str) -> None:
    """Beside the dot, or on the nearest line where there is room for it; nowhere if there is none."""
    start = right + 2 if right + 2 + len(text) <= _WIDTH else right - 1 - len(text)
    for place in sorted(range(_HEIGHT), key=lambda other: abs(other - row)):
        if start >= 0 and not any(mark.strip() for mark in grid[place][max(0, start - 1) : start + len(text) + 1]):
            grid[place][start : start + len(text)] = text
            return
