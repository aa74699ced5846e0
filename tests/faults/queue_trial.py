"""What is tried on queues: workers killed mid-batch, and messages that no worker can do."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from modelserve.jobs import Job, message
from tests.faults.queues import QUICK, SLOW, UNPROMOTED, VISIBILITY_SECONDS, Lane, Line, RandomKiller, Works

__all__ = ["QUEUE_TRIALS", "QueueResult", "attempt_kills", "attempt_poison"]

_KILLED_ATTEMPTS = 10
"""Deliveries where processes are killed again and again; a deployment has 5."""
_ATTEMPTS = 3
_NEIGHBOURS = 9
_DRAIN_SECONDS = 2 * VISIBILITY_SECONDS
"""What a killed worker had comes back after one visibility timeout, and is done before another one has passed."""
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
        killer = RandomKiller(kills)
        line.start(killer)
        while killer.kills < kills:
            if line.waiting < jobs // 2:
                sent += line.submit(QUICK, range(len(sent), len(sent) + jobs))
            time.sleep(0.1)
        drained = line.drained(seconds=_PATIENCE)
        seconds = time.monotonic() - killer.last
        return _after_kills(line, dict(enumerate(sent)), killer.kills, seconds if drained else _PATIENCE)


def _after_kills(line: Line, sent: dict[int, Job], kills: int, seconds: float) -> QueueResult:
    lost = [job for job in sent.values() if (found := line.job(job)) is None or found.status != "succeeded"]
    written = line.results()
    results = {number: written.get(job.result, []) for number, job in sent.items()}
    ended = Counter(entry["job"] for entry in line.log() if entry.get("message") == "job" and entry.get("outcome") == "succeeded")
    doubled = [number for number, job in sent.items() if ended[job.id] > 1 or len(results[number]) > 1]
    wrong = [number for number, found in results.items() if found and found[0] != [2.0 * number] * 3]
    again = sum(times > 1 for times in line.deliveries.values())
    problems = [f"{len(items)} jobs {what}" for what, items in (("lost", lost), ("doubled", doubled), ("answered wrong", wrong)) if items]
    problems += [f"{len(dead)} messages in the DLQ" for dead in [line.dead()] if dead]
    problems += [f"drained {seconds:.1f} s after the last kill; expected {_DRAIN_SECONDS} s at most"] if seconds > _DRAIN_SECONDS else []
    return QueueResult(
        name=f"kill -9 of a worker at {kills} random points of its batches",
        promised=f"0 lost, 0 doubled, drained once the visibility timeout ({VISIBILITY_SECONDS} s) has passed",
        found=f"{len(sent)} jobs, {again} delivered again: {len(lost)} lost, {len(doubled)} doubled, drained {seconds:.1f} s after",
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
        time.sleep(0.02)


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
