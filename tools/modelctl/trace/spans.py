"""What a traced process was doing at each moment, thread by thread: spans that contain each other become time that each has for itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

__all__ = ["KINDS", "Row", "Span", "Trace"]

KINDS = {
    "interpreter": "interpreter",
    "tracer": "(the tracer itself)",
    "import": "import",
    "runtime": "runtime client",
    "init": "INIT, waiting",
    "request": "",
    "connect": "connect to",
    "hash": "SHA-256 of the model",
    "zstd": "decompress",
    "manifest": "manifest",
    "signature": "signature",
    "library": "ONNX Runtime's library",
    "session": "session",
    "run": "first run",
    "handler": "handler",
    "log": "log and metrics",
    "none": "everything else",
}
"""What each kind is called."""
_LEAST = 0.01
"""Of the whole: an import that takes less is told with the others."""
_STANDARD = "standard library"
_OTHERS = "other packages"


@dataclass(frozen=True)
class Span:
    """A call, or a part of one; times in milliseconds since the process was asked for."""

    kind: str
    name: str
    begin: float
    end: float
    lane: int
    """Its thread: 0 is the main one, the others are numbered as they appear."""


@dataclass
class Row:
    """All of one thing on one thread."""

    kind: str
    name: str
    lane: int
    parts: list[tuple[float, float]] = field(default_factory=list)
    """When it ran and nothing within it did, in order."""

    @property
    def own(self) -> float:
        """Milliseconds."""
        return sum(end - begin for begin, end in self.parts)

    @property
    def label(self) -> str:
        """As a person reads it."""
        return f"{KINDS[self.kind]} {self.name}".strip()


@dataclass(frozen=True)
class Trace:
    """One cold start."""

    spans: tuple[Span, ...]
    total: float
    """Milliseconds to the answer."""

    @classmethod
    def read(cls, written: Iterable[tuple[str, str, int, int, int]]) -> Trace:
        """Of what the tracer wrote. Raises `ValueError` where there is no end."""
        found = list(written)
        ends = [end for kind, _, _, end, _ in found if kind == "end"]
        if not found or not ends:
            raise ValueError("the trace has no end")
        start = min(begin for _, _, begin, _, _ in found)
        lanes: dict[int, int] = {found[0][4]: 0}
        spans = []
        for kind, name, begin, end, thread in sorted(found, key=lambda each: each[2]):
            if kind != "end" and begin < ends[0]:
                lane = lanes.setdefault(thread, len(lanes))
                spans.append(Span(kind, name, (begin - start) / 1e6, (min(end, ends[0]) - start) / 1e6, lane))
        return cls(tuple(spans), (ends[0] - start) / 1e6)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """By when each began; those of the main thread make up the whole time."""
        rows: dict[tuple[str, str, int], Row] = {}
        for lane in sorted({span.lane for span in self.spans}):
            for span, begin, end in self._own(lane):
                kind, name = (span.kind, span.name) if span else ("none", "")
                key = (kind, name.partition(".")[0] if kind == "import" else name, lane)
                rows.setdefault(key, Row(*key)).parts.append((begin, end))
        return tuple(sorted(self._joined(rows), key=lambda row: (row.kind == "none", row.parts[0][0])))

    def document(self) -> dict[str, Any]:
        """For a program: milliseconds."""
        rows = [{"what": row.label, "kind": row.kind, "thread": row.lane, "own_ms": round(row.own, 3)} for row in self.rows]
        return {"total_ms": round(self.total, 3), "rows": rows, "spans": [vars(span) for span in self.spans]}

    def _own(self, lane: int) -> Iterable[tuple[Span | None, float, float]]:
        """The time of a thread, in order, each piece with the innermost span that it belongs to; None is the main thread outside of all."""
        inside: list[Span] = []
        at = 0.0
        spans = [span for span in self.spans if span.lane == lane]
        for span in sorted(spans, key=lambda each: (each.begin, -each.end)):
            while inside and inside[-1].end <= span.begin:
                ended = inside.pop()
                yield from _piece(ended, at, ended.end)
                at = max(at, ended.end)
            if inside or lane == 0:
                yield from _piece(inside[-1] if inside else None, at, span.begin)
            at = max(at, span.begin)
            inside.append(span)
        while inside:
            ended = inside.pop()
            yield from _piece(ended, at, ended.end)
            at = max(at, ended.end)
        if lane == 0:
            yield from _piece(None, at, self.total)

    def _joined(self, rows: Mapping[tuple[str, str, int], Row]) -> list[Row]:
        """Small imports become one row a thread for the standard library, and one for all else."""
        kept: dict[tuple[str, str, int], Row] = {}
        for row in rows.values():
            small = row.kind == "import" and row.own < _LEAST * self.total
            name = (_STANDARD if row.name in sys.stdlib_module_names else _OTHERS) if small else row.name
            kept.setdefault((row.kind, name, row.lane), Row(row.kind, name, row.lane)).parts.extend(row.parts)
        for row in kept.values():
            row.parts.sort()
        return list(kept.values())


def _piece(span: Span | None, begin: float, end: float) -> Iterable[tuple[Span | None, float, float]]:
    if end > begin:
        yield span, begin, end
