"""One scenario, tried: what the caller saw, what was asked of S3, and whether all is well a second later."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.faults.proxy import Fault
from tests.faults.scenarios import Expected, Scenario, Start
from tests.faults.world import Answer, Subject, World, padded
from tests.unit.modelserve.servers import failure

__all__ = ["AT_ONCE", "Result", "attempt"]

AT_ONCE = 4
"""Trials; they wait for each other's faults, and not for the processor."""

_BEFORE, _NEXT = 2.0, 3.0  # factors
_RETRY_AFTER = 1
_PAUSE = 1.1  # seconds: no caller is quicker than Retry-After
_NO_LIMIT = -1
_CUT_OFF = Fault(instead=failure(503, "SlowDown"))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a scenario; `problems` is empty when that is as it should be."""

    scenario: Scenario
    start: Start
    answer: Answer
    asked: int
    """GETs that S3 got until the callers were answered."""
    problems: tuple[str, ...]

    @property
    def expected(self) -> Expected:
        return self.scenario.expected(self.start)


def attempt(world: World, number: int, scenario: Scenario, start: Start) -> Result:
    """Tries one scenario on a model of its own; `number` tells the models of one world apart. Several may be tried at once."""
    with Subject(world, f"fault{number}_{start}", container=scenario.container, environments=scenario.callers) as subject:
        versions = {factor: subject.publish(padded(factor)) for factor in (_BEFORE, _NEXT)}
        subject.promote(versions[_BEFORE if start == "warm" or scenario.moves else _NEXT])
        _prepare(world, subject, scenario, start)
        if start == "warm":
            subject.promote(versions[_NEXT])
        plan = world.proxy.script(subject.name, *scenario.faults)
        with ThreadPoolExecutor(scenario.callers) as callers:
            asking = [callers.submit(subject.ask) for _ in range(scenario.callers)]
            if scenario.moves and plan.met.wait(timeout=10):
                subject.promote(versions[_NEXT])
            answers = [each.result() for each in asking]
        asked = len(plan.asked)
        problems = [problem for answer in answers for problem in _wrong(answer, scenario.expected(start), versions)]
        problems += [f"not met as often as it was to be: {fault}" for fault in plan.unmet]
        problems += [*_miscounted(subject, scenario.expected(start)), *_afterwards(world, subject, scenario, versions[_NEXT])]
        return Result(scenario=scenario, start=start, answer=answers[0], asked=asked, problems=tuple(problems))


def _prepare(world: World, subject: Subject, scenario: Scenario, start: Start) -> None:
    """A function that is warm has answered; one whose disk is full has a process, with no model in it where it starts cold."""
    if start == "cold" and scenario.disk is not None:
        world.proxy.script(subject.name, _CUT_OFF)
    if start == "warm" or scenario.disk is not None:
        subject.ask()
    if scenario.disk is not None:
        time.sleep(_PAUSE)
        subject.limit_files(scenario.disk)


def _wrong(answer: Answer, expected: Expected, versions: Mapping[float, str]) -> Iterator[str]:
    """What is wrong with an answer during the fault."""
    if expected.outcome == "refuses":
        if (answer.status, answer.retry_after) != (503, str(_RETRY_AFTER)) or expected.says not in answer.error:
            yield f"expected 503, Retry-After {_RETRY_AFTER} and {expected.says!r}, found {answer}"
        return
    factor = _NEXT if expected.outcome == "answers" else _BEFORE
    if (answer.factor, answer.version) != (factor, versions[factor]):
        yield f"expected {factor} of {versions[factor]}, found {answer}"


def _miscounted(subject: Subject, expected: Expected) -> Iterator[str]:
    """A load that failed must be in the log under its kind, whether a caller heard of it or not, and no other."""
    kinds = {expected.counts} if expected.counts else set()
    if subject.failures != kinds:
        yield f"expected errors {kinds or 'none'} in the log, found {subject.failures or 'none'}"


def _afterwards(world: World, subject: Subject, scenario: Scenario, version: str) -> Iterator[str]:
    """A second after the fault all is as if it had never been: the next version answers, from the same processes and an empty /tmp."""
    world.proxy.script(subject.name)
    if scenario.disk is not None:
        subject.limit_files(_NO_LIMIT)
    time.sleep(_PAUSE)
    answer = subject.ask()
    if (answer.factor, answer.version) != (_NEXT, version):
        yield f"a second later: expected {_NEXT} of {version}, found {answer}"
    if subject.processes != scenario.callers:
        yield f"expected {scenario.callers} processes, found {subject.processes}"
    if subject.files:
        yield f"files left in /tmp: {', '.join(file.name for file in subject.files)}"
