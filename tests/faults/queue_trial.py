"""What is tried on queues: workers killed mid-batch, and messages that no worker can do."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from modelserve.jobs import Job, message
from modelserve.work import JOB_SUCCEEDED
from stacks.settings import DeploymentSettings
from tests.faults.queues import QUICK, SLOW, UNPROMOTED, VISIBILITY_SECONDS, Lane, Line, RandomKiller, Works

__all__ = ["QUEUE_TRIALS", "QueueResult", "attempt_copies", "attempt_kills", "attempt_poison"]

_KILLED_ATTEMPTS = DeploymentSettings(name="dev").job_attempts
_KILLED_AT_MOST = _KILLED_ATTEMPTS - 2
"""Deliveries of one message whose process is killed; with the last two the rest is done."""
_ATTEMPTS = 3
_NEIGHBOURS = 9
_RUN_SECONDS = 5
"""For the runs themselves, once what a killed worker had is visible again."""
_PATIENCE = 900.0


@dataclass(frozen=True, kw_only=True)
class QueueResult:
    """What came of a trial; `problems` is empty when that is as it should be."""

    name: str
    promised: str
    found: str
    problems: tuple[str, ...]


def attempt_kills(works: Works, name: str, *, kills: int, jobs: int, environments: int) -> QueueResult:
    """Kills workers in the middle of batches until it was done `kills` times, while about `jobs` wait; then counts what became of all."""
    with Line(works, name, attempts=_KILLED_ATTEMPTS, environments=environments) as line:
        sent: list[Job] = []
        killer = RandomKiller(kills, most=_KILLED_AT_MOST)
        line.start(killer)
        while killer.kills < kills:
            if line.waiting < jobs // 2:
                sent += line.submit(QUICK, range(len(sent), len(sent) + jobs))
            time.sleep(0.1)
        drained = line.drained(seconds=_PATIENCE)
        seconds = time.monotonic() - killer.last
        return _after_kills(line, dict(enumerate(sent)), killer.kills, seconds if drained else _PATIENCE)


def _after_kills(line: Line, sent: dict[int, Job], kills: int, seconds: float) -> QueueResult:
    """A result that was written again word for word, and a success that was told again, are counted but allowed: a worker died after it."""
    written, told = line.results(), line.told()
    results = {number: written.get(job.id, []) for number, job in sent.items()}
    found = [line.job(job) for job in sent.values()]
    unfinished = sum(job is None or job.status != "succeeded" or not result for job, result in zip(found, results.values(), strict=True))
    doubled = sum(any(each != result[0] for each in result) for result in results.values())
    alike = sum(len(result) > 1 for result in results.values()) - doubled
    wrong = sum(result[:1] != [[2.0 * number] * 3] for number, result in results.items() if result)
    untold = sum(not told[JOB_SUCCEEDED, job.id] for job in sent.values())
    twice = sum(told[JOB_SUCCEEDED, job.id] > 1 for job in sent.values())
    counted = {"lost": unfinished, "doubled": doubled, "answered wrong": wrong, "untold": untold}
    problems = [f"{count} jobs {what}" for what, count in counted.items() if count]
    problems += [f"{len(dead)} messages in the DLQ" for dead in [line.dead()] if dead]
    most = VISIBILITY_SECONDS + _RUN_SECONDS
    problems += [f"drained {seconds:.1f} s after the last kill; expected {most} s at most"] if seconds > most else []
    return QueueResult(
        name=f"kill -9 of a worker at {kills} random points of its batches",
        promised=f"0 lost, 0 doubled, drained within the visibility timeout (here {VISIBILITY_SECONDS} s) and {_RUN_SECONDS} s of runs; "
        f"{_KILLED_ATTEMPTS} deliveries as deployed, {_KILLED_AT_MOST} of which a kill may end",
        found=f"{len(sent)} jobs, {kills} kills, {sum(times > 1 for times in line.deliveries.values())} delivered again: "
        f"{unfinished} lost, {doubled} doubled, {alike} written again alike, "
        f"{twice} told twice, drained {seconds:.1f} s after the last kill",
        problems=tuple(problems),
    )


def attempt_copies(works: Works, name: str, *, copies: int, environments: int) -> QueueResult:
    """One job whose message is in the queue `copies` times, which several workers take at once."""
    with Line(works, name, attempts=_KILLED_ATTEMPTS, environments=environments) as line:
        (job,) = line.submit(QUICK, [3])
        for _ in range(copies - 1):
            line.send(json.dumps(message(job)))
        line.start()
        drained = line.drained(seconds=_PATIENCE)
        found, results, told = line.job(job), line.results()[job.id], line.told()
        begun = 0 if found is None else found.attempts
        counted = begun, len(results), sum(told.values())
        problems = [f"{counted[0]} runs, {counted[1]} results, {counted[2]} events; expected one of each"] if counted != (1, 1, 1) else []
        problems += ["it did not succeed"] if not _succeeded(line, job) or results[:1] != [[6.0] * 3] else []
        problems += ["the queue is not empty"] if not drained else []
        return QueueResult(
            name=f"the same job {copies} times, to {environments} workers at once",
            promised="it runs once, with one result and one event",
            found=f"{line.deliveries[json.dumps(message(job))]} deliveries: {counted[0]} run, {counted[1]} result, {counted[2]} event",
            problems=tuple(problems),
        )


def attempt_poison(works: Works, name: str, kind: str) -> QueueResult:
    """One message that can't be done, of a kind in `QUEUE_TRIALS`, in a batch with nine that can."""
    with Line(works, name, attempts=_ATTEMPTS) as line:
        poison, neighbours, killer = _POISONS[kind](line)
        line.start(killer)
        drained = line.drained(seconds=_PATIENCE)
        return QueueResult(
            name=kind,
            promised=f"in the DLQ after maxReceiveCount deliveries; its {_NEIGHBOURS} neighbours succeed",
            found=f"in the DLQ after {line.deliveries[poison]} of {_ATTEMPTS}; "
            f"{sum(_succeeded(line, job) for job in neighbours)} of {_NEIGHBOURS} succeeded",
            problems=tuple(_wrong(line, poison, neighbours, drained=drained)),
        )


def _wrong(line: Line, poison: str, neighbours: Sequence[Job], *, drained: bool) -> Iterator[str]:
    if not drained:
        yield "the queue is not empty"
    if line.deliveries[poison] != _ATTEMPTS:
        yield f"delivered {line.deliveries[poison]} times; expected {_ATTEMPTS}"
    if (dead := line.dead()) != [poison]:
        yield f"in the DLQ: {dead}"
    yield from (f"neighbour {job.id} is not succeeded" for job in neighbours if not _succeeded(line, job))
    job = json.loads(poison).get("job") if poison.startswith("{") else None
    if job and ((found := line.table.read(job, now=time.time())) is None or (found.status, found.error_status) not in _GIVEN_UP):
        yield f"its client sees {found}"


_GIVEN_UP = {("failed", 500), ("failed", 503)}
Killer = Callable[[Lane], None]


def _succeeded(line: Line, job: Job) -> bool:
    found = line.job(job)
    return found is not None and found.status == "succeeded"


def _unreadable(line: Line) -> tuple[str, list[Job], Killer]:
    jobs = line.submit(QUICK, range(_NEIGHBOURS))
    line.send("no JSON")
    return "no JSON", jobs, lambda _: None


def _not_ready(line: Line) -> tuple[str, list[Job], Killer]:
    jobs = line.submit(QUICK, range(4))
    (poison,) = line.submit(UNPROMOTED, [1])
    return json.dumps(message(poison)), jobs + line.submit(QUICK, range(5)), lambda _: None


def _killing(line: Line) -> tuple[str, list[Job], Killer]:
    """The process dies of it as soon as it runs it: somebody watches."""
    jobs = line.submit(SLOW, [0] * 4)
    (poison,) = line.submit(SLOW, [1])
    jobs += line.submit(SLOW, [0] * 5)
    watching = threading.Lock()

    def watch(lane: Lane) -> None:
        with watching:
            begun = _attempts(line, poison)
        threading.Thread(target=partial(_kill_when_begun, line, poison, begun, lane), daemon=True).start()

    return json.dumps(message(poison)), jobs, watch


def _kill_when_begun(line: Line, poison: Job, begun: int, lane: Lane) -> None:
    ends = time.monotonic() + VISIBILITY_SECONDS - 1
    while time.monotonic() < ends:
        if _attempts(line, poison) > begun:
            time.sleep(0.3)  # by now the others of its batch have begun too
            lane.kill()
            return
        time.sleep(0.05)


def _attempts(line: Line, job: Job) -> int:
    found = line.job(job)
    return 0 if found is None else found.attempts


_POISONS: dict[str, Callable[[Line], tuple[str, list[Job], Killer]]] = {
    "a message that is no JSON among nine jobs": _unreadable,
    "a job of a model that can't be loaded among nine": _not_ready,
    "a job that kills its process among nine": _killing,
}
QUEUE_TRIALS = tuple(_POISONS)
"""Kinds of poison."""
