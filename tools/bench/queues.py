"""What waits how long: jobs of a quiet client beside a noisy one, through queues that deliver as SQS says it does."""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Done", "Job", "Mapping", "Queue", "Work", "load", "simulate"]

NOISY_SHARE = 0.1
"""Of the messages in flight, or of the consumers' recent time, above which SQS calls a group noisy."""
NOISY_IN_FLIGHT = 30
"""Messages of its own in flight, below which a group is not noisy by their share.

Both: Amazon SQS Developer Guide, "How Amazon SQS fair queues work", which calls them approximate.
"""
_RECENT_SECONDS = 60.0  # AWS does not say what is recent


@dataclass(frozen=True)
class Job:
    """What a client sends, and when, in seconds."""

    client: str
    sent: float


@dataclass(frozen=True)
class Done:
    """A job and when a function took it."""

    job: Job
    taken: float

    @property
    def waited(self) -> float:
        """Seconds."""
        return self.taken - self.job.sent


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """How Lambda takes from one queue."""

    batch_size: int
    concurrency: int
    """Batches at once."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Seconds that a batch takes, however many jobs are in it, and that each job adds."""

    batch: float
    job: float

    def seconds(self, jobs: int) -> float:
        return self.batch + jobs * self.job


@dataclass
class Queue:
    """One standard queue; a `fair` one knows its messages' groups."""

    fair: bool
    _groups: dict[str, deque[Job]] = field(default_factory=dict)
    _in_flight: Counter[str] = field(default_factory=Counter)
    _spent: deque[tuple[float, str, float]] = field(default_factory=deque)
    """Consumers' time: when a batch ended, whose job it was, its share of the batch's seconds."""

    def send(self, job: Job) -> None:
        self._groups.setdefault(job.client if self.fair else "", deque()).append(job)

    def receive(self, most: int, now: float) -> list[Job]:
        """At most `most` jobs, the oldest first; of a fair queue those of quiet groups before any of a noisy one."""
        found: list[Job] = []
        while len(found) < most and (waiting := {group: jobs for group, jobs in self._groups.items() if jobs}):
            noisy = self._noisy(now)
            group = min(waiting, key=lambda each: self._rank(each, noisy, waiting[each][0].sent))
            found.append(waiting[group].popleft())
            self._in_flight[group] += 1
        return found

    def finish(self, jobs: Sequence[Job], now: float, seconds: float) -> None:
        for job in jobs:
            group = job.client if self.fair else ""
            self._in_flight[group] -= 1
            self._spent.append((now, group, seconds / len(jobs)))

    def _rank(self, group: str, noisy: set[str], sent: float) -> tuple[bool, int, float]:
        return group in noisy, self._in_flight[group] if group in noisy else 0, sent

    def _noisy(self, now: float) -> set[str]:
        while self._spent and self._spent[0][0] < now - _RECENT_SECONDS:
            self._spent.popleft()
        time: dict[str, float] = {}
        for _, group, seconds in self._spent:
            time[group] = time.get(group, 0) + seconds
        by_time = {group for group, seconds in time.items() if seconds > NOISY_SHARE * sum(time.values())}
        in_flight = self._in_flight.total()
        by_count = {group for group, count in self._in_flight.items() if count >= NOISY_IN_FLIGHT and count > NOISY_SHARE * in_flight}
        return by_time | by_count if len(self._groups) > 1 else set()


def simulate(jobs: Iterable[Job], queue: Queue, mapping: Mapping, work: Work) -> list[Done]:
    """Every job, in the order in which functions take them; a free function takes a batch as soon as there is a job."""
    events: list[tuple[float, int, list[Job] | Job, float]] = [(job.sent, number, job, 0.0) for number, job in enumerate(jobs)]
    heapq.heapify(events)
    number, free, done = len(events), mapping.concurrency, []
    while events:
        now, _, what, seconds = heapq.heappop(events)
        if isinstance(what, Job):
            queue.send(what)
        else:
            queue.finish(what, now, seconds)
            free += 1
        if events and events[0][0] == now:
            continue  # what is sent at the same moment can be taken together
        while free and (batch := queue.receive(mapping.batch_size, now)):
            seconds, number, free = work.seconds(len(batch)), number + 1, free - 1
            heapq.heappush(events, (now + seconds, number, batch, seconds))
            done += [Done(job, now) for job in batch]
    return done


def load(*, noisy_jobs: int, quiet_every: float, seconds: float, seed: int = 0) -> tuple[list[Job], list[Job]]:
    """`noisy_jobs` of one client in the first second, and one of a quiet client about every `quiet_every` seconds for `seconds`."""
    chance = random.Random(seed)  # noqa: S311 - a simulation's
    noisy = [Job("noisy", chance.random()) for _ in range(noisy_jobs)]
    return noisy, list(_now_and_then(chance, quiet_every, seconds))


def _now_and_then(chance: random.Random, every: float, seconds: float) -> Iterator[Job]:
    at = chance.expovariate(1 / every)
    while at < seconds:
        yield Job("quiet", at)
        at += chance.expovariate(1 / every)
