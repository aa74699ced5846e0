"""One fault of an endpoint, tried: what the caller saw, how often the runtime was asked, and whether the next request is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from tests.faults.endpoint_scenarios import EndpointScenario
from tests.faults.heavy import FACTOR, Heavy
from tests.faults.proxy import Plan
from tests.faults.world import Answer, World

__all__ = ["EndpointResult", "attempt_endpoint"]

_NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class EndpointResult:
    """What came of a scenario; `problems` is empty when that is as it should be."""

    scenario: EndpointScenario
    problems: tuple[str, ...]


def attempt_endpoint(world: World, number: int, scenario: EndpointScenario) -> EndpointResult:
    """Tries one scenario on a model and an endpoint of its own; `number` tells those of one world apart."""
    name = f"heavy{number}"
    proxy = world.new_proxy() if scenario.refused else world.proxy
    with Heavy(world, name, proxy, queued=scenario.queued, seconds=scenario.seconds) as subject, ExitStack() as listening:
        subject.deploy()
        problems = [] if scenario.fresh else [f"before the fault: {problem}" for problem in _not_right(subject.ask())]
        plan = world.proxy.script(name, *scenario.faults)
        problems += [*_wrong(subject.ask(), scenario), *_miscalled(plan, scenario.calls)]
        problems += [f"not met as often as it was to be: {fault}" for fault in plan.unmet]
        if scenario.refused:
            listening.enter_context(proxy)
        plan = proxy.script(name)
        problems += [f"the next request: {problem}" for problem in (*_not_right(subject.ask()), *_miscalled(plan, 1))]
        problems += _left(subject, scenario)
        return EndpointResult(scenario=scenario, problems=tuple(problems))


def _wrong(answer: Answer, scenario: EndpointScenario) -> Iterator[str]:
    if not scenario.kind:
        yield from _not_right(answer)
    elif (answer.status, answer.retry_after) != (scenario.status, scenario.retry_after) or scenario.says not in answer.error:
        yield f"expected {scenario.status}, Retry-After {scenario.retry_after} and {scenario.says!r}, found {answer}"


def _not_right(answer: Answer) -> Iterator[str]:
    if answer.factor != FACTOR:
        yield f"expected {FACTOR} times the row, found {answer}"


def _miscalled(plan: Plan, calls: int) -> Iterator[str]:
    found = sum("/endpoints/" in head for head in plan.asked)
    if found != calls:
        yield f"expected {calls} calls of the runtime, found {found}"


def _left(subject: Heavy, scenario: EndpointScenario) -> Iterator[str]:
    """One process has met it all, its errors are counted, and of a job that was refused nobody can learn anything."""
    kinds = Counter([scenario.kind] if scenario.kind else [])
    if subject.kinds != kinds:
        yield f"expected {dict(kinds) or 'no errors'} in the metrics, found {dict(subject.kinds) or 'none'}"
    if subject.processes != 1:
        yield f"expected one process, found {subject.processes}"
    if subject.files:
        yield f"files left in /tmp: {', '.join(file.name for file in subject.files)}"
    answered = Counter(subject.statuses().values())
    if scenario.queued and (answered[200] != 1 + (not scenario.fresh) + (not scenario.kind) or set(answered) - {200, _NOT_FOUND}):
        yield f"expected answers for the jobs that were promised and 404 for others, found {dict(answered)}"
