"""A function's execution environments: one request at a time each, more on demand up to a bound, with Lambda's limits and errors."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.local.emulator import Emulator, Lost
from tools.local.functions import Function
from tools.local.roots import TaskRoot

__all__ = ["MAX_ENVIRONMENTS", "MAX_REQUEST", "Answer", "Environments", "RequestTooLarge", "TooManyRequests"]

MAX_ENVIRONMENTS = 10
"""Of one function; all of an account's functions together have as many at first."""
MAX_REQUEST = 6 * 2**20
"""Bytes of a payload; 100 more are allowed in a response, which the emulator enforces."""
_WATCH_SECONDS = 0.02
_ERROR_KEYS = {"errorMessage", "errorType", "requestId", "stackTrace"}
_TIMED_OUT = re.compile(rb"Task timed out after [0-9.]+ seconds")


class RequestTooLarge(Exception):
    """RequestEntityTooLargeException of the Invoke API."""

    def __init__(self, size: int) -> None:
        super().__init__(f"Request must be smaller than {MAX_REQUEST} bytes for the InvokeFunction operation")
        self.size = size


class TooManyRequests(Exception):
    """TooManyRequestsException of the Invoke API."""

    def __init__(self) -> None:
        super().__init__("Rate Exceeded.")


@dataclass(frozen=True)
class Answer:
    """What a function answered, or the error that Lambda answers in its place."""

    payload: bytes
    failed: bool = False
    """X-Amz-Function-Error is set."""


class Environments:
    """All execution environments of one function."""

    def __init__(
        self, function: Function, root: TaskRoot, services: Mapping[str, str], *, folder: Path, limit: int = MAX_ENVIRONMENTS
    ) -> None:
        """`folder` gets the log and the environments' /tmp folders; `services` are the variables that lead to AWS."""
        self._function = function
        self._root = root
        self._services = services
        self._limit = limit
        self._scratch = folder / "tmp"
        self._scratch.mkdir(parents=True, exist_ok=True)
        self._log = (folder / f"{function.logical_id}.log").open("wb", buffering=0)
        self._lock = threading.Lock()
        self._idle: list[Emulator] = []
        self._busy: set[Emulator] = set()
        self._starting = 0
        # Environments end with the thread that started them, so one thread starts them all.
        self._starter = ThreadPoolExecutor(1)
        self._closed = threading.Event()
        threading.Thread(target=self._watch_memory, daemon=True).start()

    @property
    def log(self) -> Path:
        """Everything the function wrote, as its log group would hold it."""
        return Path(self._log.name)

    @property
    def busy(self) -> int:
        """Environments that are answering a request."""
        with self._lock:
            return len(self._busy)

    def invoke(self, payload: bytes, trace_id: str = "") -> Answer:
        """Raises `RequestTooLarge`, `TooManyRequests`."""
        if len(payload) > MAX_REQUEST:
            raise RequestTooLarge(len(payload))
        environment = self._take()
        try:
            status, body = environment.invoke(payload, trace_id)
        except Lost as error:
            self._give(environment, usable=False)
            return _failure("Runtime.ExitError", f"Error: the execution environment was lost: {error}")
        except BaseException:
            self._give(environment, usable=False)
            raise
        self._give(environment, usable=True)
        return _answer(status, body)

    def close(self) -> None:
        """Ends every environment; a request that is being answered fails."""
        self._closed.set()
        self._starter.shutdown(cancel_futures=True)
        with self._lock:
            doomed = [*self._idle, *self._busy]
        for environment in doomed:
            environment.close()
        self._log.close()

    def _take(self) -> Emulator:
        with self._lock:
            if self._idle:
                self._busy.add(idle := self._idle.pop())
                return idle
            if len(self._busy) + self._starting >= self._limit:
                raise TooManyRequests
            self._starting += 1
        environment: Emulator | None = None
        try:
            environment = self._starter.submit(self._start).result()
        finally:
            with self._lock:
                self._starting -= 1
                self._busy |= {environment} if environment else set()
        return environment

    def _start(self) -> Emulator:
        return Emulator(self._function, self._root, self._services, scratch=self._scratch, log=self._log)

    def _give(self, environment: Emulator, *, usable: bool) -> None:
        with self._lock:
            self._busy.discard(environment)
            if usable:
                self._idle.append(environment)
        if not usable:
            environment.close()

    def _watch_memory(self) -> None:
        while not self._closed.wait(_WATCH_SECONDS):
            with self._lock:
                busy = list(self._busy)
            for environment in busy:
                if environment.used_memory() > environment.memory * 2**20:
                    environment.kill_function()


def _answer(status: int, body: bytes) -> Answer:
    if _TIMED_OUT.fullmatch(body):
        return _failure("Sandbox.Timedout", f"Error: {body.decode()}")
    return Answer(body, failed=status != 200 or _is_error(body))


def _is_error(body: bytes) -> bool:
    """The emulator does not say; this is what the Python runtime makes of an exception."""
    if not body.startswith(b'{"error'):
        return False
    document = json.loads(body)
    return isinstance(document, dict) and set(document) == _ERROR_KEYS


def _failure(kind: str, message: str) -> Answer:
    return Answer(json.dumps({"errorType": kind, "errorMessage": message}).encode(), failed=True)
