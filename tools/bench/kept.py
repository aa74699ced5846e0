"""Results that were kept, and what moved since."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tools.bench.measures import GROUPS, Result
from tools.loopback.errors import MeasureError

__all__ = ["FILE", "Kept", "Moved", "compare", "differences"]

FILE = Path(__file__).parents[2] / "docs" / "bench.json"
_LEAST = 0.03
"""Of the kept number: what moved by less has not moved, however narrow both spreads are."""


@dataclass(frozen=True)
class Kept:
    """Results of one machine, and the day on which the last of them was measured."""

    date: str
    machine: dict[str, str | int]
    results: tuple[Result, ...]

    @classmethod
    def load(cls, file: Path = FILE) -> Kept | None:
        """None where nothing was kept. Raises `MeasureError` for a file that was written by hand or by another version."""
        if not file.exists():
            return None
        try:
            document = json.loads(file.read_text("utf-8"))
            return cls(document["date"], document["machine"], tuple(map(Result.from_dict, document["results"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise MeasureError(f"{file.name} is not what --keep writes ({error!r}); delete it and keep anew") from error

    def to_dict(self) -> dict[str, Any]:
        return {"date": self.date, "machine": self.machine, "results": [_rounded(each).to_dict() for each in self.results]}

    def write(self, file: Path = FILE) -> None:
        file.write_text(json.dumps(self.to_dict(), indent=1) + "\n", "utf-8")

    def taking(self, newer: Kept) -> Kept:
        """With newer groups in place of older, in their order. Raises `MeasureError` where some would be of another machine than others."""
        measured = {each.group for each in newer.results}
        left = [each for each in self.results if each.group not in measured]
        if left and (differing := differences(self, newer)):
            groups = ", ".join(sorted({each.group for each in left}))
            raise MeasureError(f"what is kept is of one machine, and this is another ({'; '.join(differing)}); measure {groups} here too")
        return replace(newer, results=tuple(sorted([*left, *newer.results], key=lambda each: GROUPS.index(each.group))))


@dataclass(frozen=True)
class Moved:
    """A comparison whose quartiles before and now have nothing in common."""

    name: str
    before: float
    now: float

    @property
    def worse(self) -> bool:
        return self.now > self.before


def compare(before: Iterable[Result], now: Iterable[Result]) -> list[Moved]:
    """What moved beyond both spreads, of what was compared with the same thing both times."""
    known = {each.name: each for each in before}
    pairs = [(known[each.name], each) for each in now if each.name in known]
    same = [(old, new) for old, new in pairs if (old.comparison, old.notes) == (new.comparison, new.notes)]
    return [Moved(new.name, old.compared, new.compared) for old, new in same if _apart(old, new)]


def differences(before: Kept, now: Kept) -> Sequence[str]:
    """In what the machines differ, as `cores: 2, now 4`."""
    return [f"{name}: {before.machine.get(name)}, now {value}" for name, value in now.machine.items() if before.machine.get(name) != value]


def _apart(old: Result, new: Result) -> bool:
    overlap = old.spread[0] <= new.spread[1] and new.spread[0] <= old.spread[1]
    return not overlap and abs(new.compared - old.compared) > _LEAST * abs(old.compared)


def _rounded(result: Result) -> Result:
    """To four digits: the rest is noise, and a page of digits is hard to review."""
    first, third = map(_digits, result.spread)
    bar = None if result.bar is None else _digits(result.bar)
    return replace(
        result, ours=_digits(result.ours), floor=_digits(result.floor), compared=_digits(result.compared), bar=bar, spread=(first, third)
    )


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
