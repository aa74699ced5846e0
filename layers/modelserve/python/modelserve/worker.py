"""Does what a batch of messages asks for: each thing once, those that fit each other as one, and none at the cost of another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Literal

from . import batching
from ._typing import TYPE_CHECKING, Any, Protocol
from .batching import OutOfTime
from .errors import InsufficientMemory, ServeError, Unexpected, frames
from .jobs import NOBODY
from .protocol import InferRequest, InferResponse, status_of
from .record import Record
from .work import Places, UnreadableMessage, Work, read_work

if TYPE_CHECKING:
    from .fetch import LoadedModel
    from .invocation import Observer

__all__ = ["Interruption", "Message", "Models", "Once", "Worker"]

_LEAST_SECONDS = 5.0
"""What must be left for anything to be begun; or twice what the longest of the same model took so far, where that is more."""
_MARGIN_SECONDS = 2.0
"""Kept of an invocation to tell of what was run."""


class Message(Record):
    """One delivery of a message of the queue."""

    id: str
    body: str
    receives: int
    """How often it was delivered, this time included."""
    sent: float
    """Seconds since 1970."""


class Interruption(Record):
    """An attempt that never ended."""

    until: float
    """When it had to be over, in seconds since 1970."""
    alone: bool
    """Whether nothing else was being run: nothing else can be the reason."""


class Once(Protocol):
    """Who works on what, and what is done, as all workers know it. May raise anything."""

    def begin(self, key: str, *, seconds: float, alone: bool = False) -> Literal["ours", "busy", "done"]:
        """Whether `key` is ours for `seconds`, to be run `alone` or not, somebody else's now, or done."""

    def interrupted(self, key: str) -> Interruption | None:
        """The last attempt, where it never ended."""

    def done(self, key: str) -> None:
        """It ended well, for good."""

    def reopen(self, key: str) -> None:
        """What was done may be begun anew, by anybody; what somebody has begun anew already stays theirs."""

    def forget(self, key: str) -> None:
        """It may be begun anew, by anybody."""


class Models(Protocol):
    """What a worker needs of `pool.Pool`."""

    def model(self, name: str, version: str | None = None) -> LoadedModel:
        """Raises `ServeError`."""


class _Task:
    """One thing to do, all messages of the batch that ask for it, and what is known of earlier attempts."""

    __slots__ = ("interrupted", "messages", "ours", "request", "told", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.messages: list[Message] = []
        self.interrupted: Interruption | None = None
        self.ours = False
        """Whether no other worker has it."""
        self.told = False
        """Whether it is given up already, unless it ends well."""
        self.request: InferRequest | None = None

    @property
    def receives(self) -> int:
        return max(message.receives for message in self.messages)


class Worker:
    """Works off batches, one after the other; one in each execution environment."""

    def __init__(self, models: Models, places: Places, once: Once, observer: Observer, *, attempts: int) -> None:
        """`attempts` is how often the queue delivers a message before it goes to the dead-letter queue."""
        self._models = models
        self._places = places
        self._once = once
        self._observer = observer
        self._attempts = attempts
        self._request_id = ""
        self._ends = 0.0
        self._longest: dict[str, float] = {}
        self._waiting = 0
        self._failed: list[str] = []

    def work(self, messages: Iterable[Message], *, seconds: float, request_id: str) -> list[str]:
        """The ids of the messages that are to be delivered again, or to wait in the dead-letter queue.

        Nothing is begun that might not end within `seconds`; `request_id` is the invocation's, for those who look for its log.
        Each may take an equal share of what time is left, whatever model it is for.
        """
        self._request_id, self._ends, self._longest, self._failed = request_id, time.monotonic() + seconds, {}, []
        fresh, suspects = self._sorted(messages)
        self._waiting = len(fresh) + len(suspects)
        last = [task for task in suspects if task.receives >= self._attempts]
        told = [task for task in last if self._try(task, self._begin_and_tell)]
        self._waiting -= len(last) - len(told)
        for group in _by_model(fresh):
            self._begin_and_run(group)
        for task in suspects:  # alone, and each kept before the next: one that ends the process takes no other with it
            if task in told:
                self._run([task])
            elif task not in last:
                self._begin_and_run([task])
        return self._failed

    def _sorted(self, messages: Iterable[Message]) -> tuple[list[_Task], list[_Task]]:
        """What may run together; and what was being run when a process ended: what ran alone then last, the longest untouched first."""
        tasks: dict[str, _Task] = {}
        for message in messages:
            try:
                work = read_work(message.body, self._places)
            except UnreadableMessage as error:
                self._observer.log("ERROR", str(error), location="worker", message_id=message.id, error="UnreadableMessage")
                self._observer.count({"UnreadableMessage": 1}, model="none", version="none", by_service=True)
                self._failed.append(message.id)
                continue
            tasks.setdefault(work.key, _Task(work)).messages.append(message)
        again = [task for task in tasks.values() if task.receives > 1]
        known = [task for task in again if self._try(task, self._look)]
        fresh = [task for task in tasks.values() if task.receives == 1 or (task in known and not task.interrupted)]
        return fresh, sorted((task for task in known if task.interrupted), key=_suspicion)

    def _look(self, task: _Task) -> bool:
        """False where it is given up: begun as often as may be, and never ended. Begun once more it might end this process too.

        A service is told once only, so that what it asks for is not begun again by a last delivery.
        """
        task.interrupted = self._once.interrupted(task.work.key)
        if task.interrupted is None or task.receives < self._attempts:
            return True
        if task.work.client != NOBODY and task.work.begun() < self._attempts - 1:
            return True
        self._retry(task, InterruptedRuns(task.work.model))
        return False

    def _begin_and_tell(self, task: _Task) -> bool:
        """Gives it up before anything runs that might end this process, after which nobody would; where it ends well, that is told too."""
        if not self._begin(task):
            return False
        self._give_up(task, InterruptedRuns(task.work.model))
        task.told = True
        return True

    def _begin_and_run(self, tasks: Sequence[_Task]) -> None:
        """`tasks` are for one model."""
        begun = time.monotonic()
        open_: dict[tuple[str, str | None], list[_Task]] = {}
        for task in tasks:
            if self._try(task, self._begin):
                open_.setdefault((task.work.model, task.work.version), []).append(task)
            else:
                self._waiting -= 1
        for group in open_.values():
            self._run(group)
        model = tasks[0].work.model
        self._longest[model] = max(self._longest.get(model, 0.0), time.monotonic() - begun)

    def _begin(self, task: _Task) -> bool:
        """Whether it is to be run, by us."""
        work = task.work
        if self._left() < max(_LEAST_SECONDS, 2 * self._longest.get(work.model, 0.0)):
            self._retry(task, OutOfTime(work.model))
            return False
        begin = partial(self._once.begin, work.key, alone=task.interrupted is not None)
        state = begin(seconds=self._ends - time.monotonic())
        if state == "done" and work.is_open():
            self._once.reopen(work.key)
            state = begin(seconds=self._ends - time.monotonic())
        if state == "busy":  # by a worker that may yet fail: this message is what is left then
            self._failed += [message.id for message in task.messages]
        task.ours = state == "ours"
        if not task.ours:
            self._log(task, state)
            return False
        if work.begin():
            return True
        self._once.done(work.key)
        self._log(task, "ended before")
        return False

    def _run(self, group: Sequence[_Task]) -> None:
        """Runs what is asked of one version of one model; a large request by itself, before the next is read."""
        try:
            model = self._models.model(group[0].work.model, group[0].work.version)
        except Exception as error:  # noqa: BLE001 - whatever it was, each is told, and the batch goes on
            for task in group:
                self._end(task, error)
            self._waiting -= len(group)
            return
        ends = time.monotonic() + self._left() * len(group) / self._waiting
        joined: list[_Task] = []
        for position, task in enumerate(group):
            if self._try(task, self._read):
                if _size(task) > batching.MOST_BYTES:
                    self._run_together(model, [task], (ends - time.monotonic()) / (len(group) - position + len(joined)))
                else:
                    joined.append(task)
        if joined:
            self._run_together(model, joined, ends - time.monotonic())
        self._waiting -= len(group)

    def _read(self, task: _Task) -> bool:
        task.request = task.work.read()
        return True

    def _run_together(self, model: LoadedModel, tasks: Sequence[_Task], seconds: float) -> None:
        begun = time.perf_counter()
        requests = [task.request for task in tasks if task.request is not None]
        try:
            answers = batching.run(model, requests, seconds=seconds, most=self._places.most)
        except Exception as error:  # noqa: BLE001 - as above
            answers = [error if isinstance(error, ServeError) else self._unexpected(error)] * len(tasks)
        metrics = {"Latency": 1000 * (time.perf_counter() - begun), "BatchRequests": float(len(tasks))}
        self._observer.count(metrics, model=model.name, version=model.version)
        for task, answer in zip(tasks, answers, strict=True):
            self._try(task, partial(self._keep, answer=answer))
            task.request = None

    def _keep(self, task: _Task, answer: InferResponse | ServeError) -> bool:
        if isinstance(answer, ServeError):
            raise answer
        assert task.request is not None  # it was run
        task.work.succeed(answer, task.request)
        self._once.done(task.work.key)
        self._log(task, "succeeded", version=answer.version)
        self._observer.count({"JobSucceeded": 1, "Wait": self._wait(task)}, model=answer.model, version=answer.version)
        return True

    def _try(self, task: _Task, step: Callable[[_Task], bool]) -> bool:
        """What `step` answers; what it raises ends the task, and no other."""
        try:
            return step(task)
        except Exception as error:  # noqa: BLE001 - as above
            self._end(task, error)
            return False

    def _end(self, task: _Task, error: Exception) -> None:
        """A caller's mistake is an answer like any other; what may pass by is tried again."""
        found = self._known(task, error)
        if status_of(found) >= 500:
            self._retry(task, found)
            return
        try:
            task.work.fail(str(found), status_of(found))
            self._once.done(task.work.key)
        except Exception as second:  # noqa: BLE001 - as above
            self._retry(task, self._known(task, second))
            return
        self._log(task, "failed", error=found.kind)
        self._observer.count({"JobFailed": 1, found.kind: 1}, model=task.work.model, version="none")

    def _retry(self, task: _Task, error: ServeError) -> None:
        """Leaves it to a later delivery; where there is none, says so to who waits for it."""
        self._failed += [message.id for message in task.messages]
        last = task.receives >= self._attempts
        try:
            if last:
                self._give_up(task, error)
            if task.ours:
                self._once.forget(task.work.key)
        except Exception as second:  # noqa: BLE001 - as above
            self._log(task, "not told", level="ERROR", error=self._known(task, second).kind)
        self._log(task, "gave up" if last else "again", level="ERROR" if last else "WARNING", error=error.kind, reason=str(error))
        counted = {"JobGaveUp" if last else "JobRetried": 1.0, error.kind: 1.0}
        self._observer.count(counted, model=task.work.model, version="none", by_service=last)

    def _give_up(self, task: _Task, error: ServeError) -> None:
        if not task.told:
            reason = f"gave up after {task.receives} attempts; the job waits in the dead-letter queue: {error}"
            task.work.fail(reason, status_of(error))

    def _known(self, task: _Task, error: Exception) -> ServeError:
        if isinstance(error, MemoryError):
            return InsufficientMemory(task.work.model)
        return error if isinstance(error, ServeError) else self._unexpected(error)

    def _unexpected(self, error: Exception) -> ServeError:
        """A bug: the log says where, without a payload."""
        steps = frames(error)
        self._observer.log("ERROR", "unexpected error", location=steps[-1], error=type(error).__name__, frames=steps)
        return Unexpected(self._request_id)

    def _log(self, task: _Task, outcome: str, *, level: str = "INFO", **keys: Any) -> None:
        work = task.work
        about: dict[str, Any] = {"job": work.id, "client": work.client, "model": work.model}
        about |= {"attempt": task.receives, "wait_ms": round(self._wait(task))}
        self._observer.log(level, "job", location="worker", outcome=outcome, **about, **keys)

    def _wait(self, task: _Task) -> float:
        """Milliseconds since it was sent."""
        return max(0.0, 1000 * (self._places.clock() - min(message.sent for message in task.messages)))

    def _left(self) -> float:
        """Seconds for what is run."""
        return self._ends - time.monotonic() - _MARGIN_SECONDS


class InterruptedRuns(ServeError):
    """Nothing tells how its runs ended but that none did."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"each run by model {model!r} was interrupted, as by a request that needs more memory than there is; "
            f"send fewer rows, or raise job_memory"
        )


def _suspicion(task: _Task) -> tuple[bool, float]:
    assert task.interrupted is not None
    return task.interrupted.alone, task.interrupted.until


def _by_model(tasks: Sequence[_Task]) -> list[list[_Task]]:
    """Those that came before run last: what took too long has then all the time that the others didn't need."""
    groups: dict[str, list[_Task]] = {}
    for task in tasks:
        groups.setdefault(task.work.model, []).append(task)
    return sorted(groups.values(), key=lambda group: max(task.receives for task in group))


def _size(task: _Task) -> int:
    """Bytes of what is to be run, or of the body that it came in, where that is larger: much of it may be kept with it."""
    request = task.request
    assert request is not None  # it was read
    tensors = sum(memoryview(tensor.data).nbytes for tensor in request.inputs) + len(memoryview(request.raw or b""))
    return max(task.work.size, tensors)
