"""Sends a case and then a valid request to the same model, and says what was wrong with either answer."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field

from modelserve.endpoints import Response
from tests.hostile.case import Case
from tests.hostile.draft import valid
from tests.hostile.targets import TARGETS
from tests.hostile.wire import Wire

__all__ = ["Failure", "Tally", "play"]

VALID = {target.name: valid(target).case("valid", "the next request", 200) for target in TARGETS}


@dataclass(frozen=True)
class Failure:
    """A case whose answer was not the right one."""

    index: int
    case: Case
    problem: str


@dataclass
class Tally:
    """What came back so far."""

    sent: int = 0
    valid: int = 0
    """Of them, however odd."""
    found: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    """With a 4xx, of those that are not valid."""
    served: int = 0
    """With the right answer, of those that are."""
    right: int = 0
    """As the case says: this status, and this answer."""
    next_right: int = 0
    failures: list[Failure] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    @property
    def server_errors(self) -> int:
        """Answers of 500 and above, and connections that were dropped without one."""
        return sum(count for status, count in self.found.items() if status >= 500 or status == 0)


def play(wire: Wire, index: int, case: Case, tally: Tally) -> None:
    """One case and the valid request behind it."""
    begun = time.perf_counter()
    answer = wire.send(case)
    tally.slowest = max(tally.slowest, (time.perf_counter() - begun, case.title))
    tally.sent += 1
    problem = problem_of(case, answer)
    tally.found[answer.status] += 1
    tally.valid += case.status == 200
    tally.served += case.status == 200 and not problem
    tally.refused += case.status != 200 and 400 <= answer.status < 500
    tally.right += not problem
    if problem:
        tally.failures.append(Failure(index, case, problem))
    after = problem_of(VALID[case.model], wire.send(VALID[case.model]))
    tally.next_right += not after
    if after:
        tally.failures.append(Failure(index, case, f"the next valid request: {after}"))


def problem_of(case: Case, answer: Response) -> str:
    """What is wrong with an answer; empty when nothing is."""
    try:
        return _problem(case, answer)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return f"no answer of the protocol ({error!r}): {answer.body[:300]!r}"


def _problem(case: Case, answer: Response) -> str:
    if "X-Injected" in answer.headers:
        return "a header of the caller's is in the answer"
    if answer.status != case.status:
        return f"status {answer.status}, expected {case.status}: {answer.body[:300]!r}"
    if answer.status >= 400:
        return "" if case.method == "HEAD" or _is_error(answer) else f"not an error of the protocol: {answer.headers} {answer.body[:300]!r}"
    return case.outputs.differs(answer.headers, answer.body) if case.outputs else ""


def _is_error(answer: Response) -> bool:
    if answer.headers.get("Content-Type") != "application/json":
        return False
    document = json.loads(answer.body)
    return list(document) == ["error"] and bool(document["error"]) and len(answer.body) < 20_000
