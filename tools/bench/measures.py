"""What a measurement says of itself, and how pairs of numbers that were measured in turns become one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from statistics import median, quantiles
from typing import Any, Literal, NotRequired, Self, TypedDict, Unpack

from tools.loopback.errors import MeasureError

__all__ = ["GROUPS", "Group", "Options", "Result", "Said", "Tick", "Unavailable", "added", "quartiles", "ratios"]

Group = Literal["cold", "warm", "formats", "memory", "image", "gateway", "batch", "peers"]
GROUPS: tuple[Group, ...] = ("cold", "warm", "formats", "memory", "image", "gateway", "batch", "peers")
Tick = Callable[[], None]
"""Called after each part of a measurement, for whoever watches."""


class Unavailable(MeasureError):
    """This machine lacks what a measurement needs; it is left out, and says why."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How thoroughly to measure; each measurement takes what concerns it."""

    rounds: int = 15
    """Pairs of fresh processes."""
    calls: int = 5000
    """Warm calls."""
    rows: int = 100_000
    """Of a data set."""
    quick: bool = False
    """As little as shows that everything runs: few rounds, small models; its numbers are not worth keeping."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """A measured value beside what it is measured against; `spread` holds the quartiles of the compared value."""

    name: str
    group: Group
    unit: str
    ours: float
    floor: float
    compared: float
    """The ratio to the floor, or what is added to it; a throughput is compared by its inverse: less is better throughout."""
    spread: tuple[float, float]
    bar: float | None
    """At most this; None of what is told and not held."""
    goal: float | None = None
    """Where it should get to, below the bar."""
    comparison: str
    """What is compared with what; the same words for all results of a kind, which a page says once."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What a part of its name stands for, and what a side of it includes, by that part or side; of a page likewise."""
    runs: int
    ratio: bool = True
    """False where `compared` is what is added to the floor, in `unit`."""

    @property
    def met(self) -> bool:
        """The bar; a goal binds nobody."""
        return self.bar is None or self.compared <= self.bar

    def to_dict(self) -> dict[str, Any]:
        """For JSON, with whether it is met."""
        return {**asdict(self), "met": self.met}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """What `to_dict` made; older ones have no notes."""
        values = {each.name: document[each.name] for each in fields(cls) if each.name in document or each.name != "notes"}
        return cls(**{**values, "spread": tuple(values["spread"])})


class Said(TypedDict):
    """What a result says of itself: fields of `Result`."""

    name: str
    group: Group
    unit: str
    bar: float | None
    goal: NotRequired[float | None]
    comparison: str
    notes: NotRequired[Mapping[str, str]]


def ratios(pairs: Iterable[tuple[float, float]], *, scale: float = 1.0, **said: Unpack[Said]) -> Result:
    """Of pairs (floor, ours), each measured in the same moment: the median of their ratios. `scale` takes both to `unit`."""
    found = list(pairs)
    return _result(found, [ours / floor for floor, ours in found], scale, said, ratio=True)


def added(pairs: Iterable[tuple[float, float]], *, scale: float = 1.0, **said: Unpack[Said]) -> Result:
    """As `ratios`, for what ours takes over the floor, in `unit`."""
    found = list(pairs)
    return _result(found, [(ours - floor) * scale for floor, ours in found], scale, said, ratio=False)


def _result(pairs: Sequence[tuple[float, float]], compared: Sequence[float], scale: float, said: Said, *, ratio: bool) -> Result:
    return Result(
        ours=scale * median(ours for _, ours in pairs),
        floor=scale * median(floor for floor, _ in pairs),
        compared=median(compared),
        spread=quartiles(compared),
        runs=len(pairs),
        ratio=ratio,
        **said,
    )


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third; of one value, itself twice."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4)
    return first, third
