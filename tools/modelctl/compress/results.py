"""What a smaller model is judged by: its size, its answers for held-out rows and its time, each beside its parent's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tools.modelctl.built import Built
from tools.modelctl.compress.front import NOISE, Point, front
from tools.modelctl.compress.validation import within
from tools.modelctl.latency import Measured

__all__ = ["PARENT", "UNSCORED", "Comparison", "Result"]

PARENT = "parent"
"""What the version that was made smaller is called among the methods."""
UNSCORED = frozenset({"disagreement", "difference"})
"""What decides where nothing is scored: the share of labels that differ from those before, or the largest difference of a number."""
_SMALLER = 0.99
"""Of the parent's bytes: what saves less is not worth a version."""
_FASTER = 0.9


@dataclass(frozen=True, kw_only=True)
class Result:
    """A model, its parent or one that a method made of it, on the held-out rows and on this machine."""

    method: str
    model: Path
    metric: float
    measured: Measured
    built: Built | None = None
    """None of the parent."""

    @property
    def size(self) -> int:
        """Bytes of model.onnx."""
        return self.model.stat().st_size


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that was made of one parent and measured in one run."""

    name: str
    version: str | None
    """Of the parent; None of a build that is not published."""
    transform: str | None = None
    """How the parent was made from its own parent."""
    origin: str | None = None
    """The version that drops are held against, where that isn't the parent: one that no compression made."""
    reference: float
    """In `metric`, of that version."""
    metric: str
    """What decides; one of `UNSCORED` where nothing is scored."""
    lower_is_better: bool
    limit: float
    """How much worse than `reference` a result may be."""
    cpu: str
    parent: Result
    results: tuple[Result, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a method made nothing, by method."""
    notes: tuple[str, ...] = ()
    """What to know of all results: a sentence each."""

    @property
    def scored(self) -> bool:
        """Whether it is known how often answers are right; if not, only how far they are from those before."""
        return self.metric not in UNSCORED

    def drop(self, result: Result) -> float:
        """How much worse than `reference`, in the metric's own unit; negative when better."""
        return (result.metric - self.reference) * (1 if self.lower_is_better else -1) + 0.0  # no -0

    def latency(self, result: Result) -> dict[str, float]:
        """Times the parent's median, by rows of a request."""
        pairs = zip(result.measured.latency, self.parent.measured.latency, strict=True)
        return {str(mine.rows): mine.p50_us / theirs.p50_us for mine, theirs in pairs}

    def load(self, result: Result) -> float:
        """Times what loading the parent takes."""
        return result.measured.load_ms / self.parent.measured.load_ms

    def slower(self, result: Result) -> list[str]:
        """The batches that take longer than the parent's, and by how much."""
        return [f"{ratio:.2f} times as long at {_rows(rows)}" for rows, ratio in self.latency(result).items() if ratio > NOISE]

    def problems(self, result: Result) -> list[str]:
        """Why not to publish it, a sentence each; none of one that may be."""
        assert result.built is not None
        found = list(result.built.failures)
        if not within(drop := self.drop(result), self.limit):
            whose = f"that of {self.origin}, which no compression made" if self.origin else "the parent's"
            found.insert(0, f"{self.metric} is worse by {drop:.4g} than {whose}, and at most {self.limit:.4g} is allowed")
        if result.size > self.parent.size * _SMALLER and not (result.method == "optimize" and self._faster(result)):
            faster = " and not faster" if result.method == "optimize" else ""
            found.append(f"it is not smaller than its parent by a hundredth{faster}, {result.size:,} bytes to {self.parent.size:,}")
        return found

    def _faster(self, result: Result) -> bool:
        ratios = self.latency(result).values()
        return min(ratios, default=1.0) < _FASTER and max(ratios) <= NOISE

    @property
    def held(self) -> list[Result]:
        """Those that may be published, the best first: not slower before slower, then small before large."""
        fitting = [result for result in self.results if not self.problems(result)]
        return sorted(fitting, key=lambda result: (bool(self.slower(result)), result.size, self.drop(result)))

    @cached_property
    def front(self) -> set[str]:
        """The methods on the Pareto front of the parent and those that may be published: others push nobody off it."""
        good = {PARENT, *(result.method for result in self.held)}
        return front([point for point in self.points if point.method in good])

    @property
    def points(self) -> list[Point]:
        """The parent first."""
        return [
            Point(
                method=each.method,
                size=each.size,
                metric=each.metric,
                drop=self.drop(each),
                latency=tuple(batch.p50_us for batch in each.measured.latency),
            )
            for each in (self.parent, *self.results)
        ]

    def note(self, result: Result) -> str:
        """In a few words what a person should know of it."""
        if result is self.parent:
            return ""
        slower = self.slower(result)
        return "; ".join([*self.problems(result), *([f"slower on this CPU: {', '.join(slower)}"] if slower else [])])

    def document(self, result: Result) -> dict[str, Any]:
        """The part `compression` of report.json; every ratio is to the parent's, and below 1 where the result is smaller or faster."""
        loads = {each.method: each.measured.load_ms for each in (self.parent, *self.results)}
        notes = {each.method: self.note(each) for each in (self.parent, *self.results)}
        return {
            **({"parent": self.version} if self.version else {}),
            **({"origin": self.origin} if self.origin else {}),
            **({"note": "; ".join(self.notes)} if self.notes else {}),
            "method": result.method,
            "metric": self.metric,
            "drop": self.drop(result),
            "limit": self.limit,
            "size_ratio": result.size / self.parent.size,
            "latency": self.latency(result),
            "load_ratio": self.load(result),
            "slower": bool(self.slower(result)),
            "cpu": self.cpu,
            "front": [
                {
                    "method": point.method,
                    "size": point.size,
                    "metric": point.metric,
                    "latency_us": point.latency_us,
                    "load_ms": loads[point.method],
                    "on_front": point.method in self.front,
                    "note": notes[point.method],
                }
                for point in self.points
            ],
        }


def _rows(count: str) -> str:
    return "1 row" if count == "1" else f"{count} rows"
