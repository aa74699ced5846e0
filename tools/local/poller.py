"""What the pollers of queues and streams share: threads that end when told to, and invocations that wait while the function is busy."""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from moto.events.models import EventPattern

from tools.local.environments import Answer, TooManyRequests
from tools.local.sources import Source

__all__ = ["PAUSE", "Poller", "matching"]

PAUSE = 0.05
"""Seconds between two looks at a source that had nothing."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_JOIN_SECONDS = 10


class Poller(ABC):
    """Polls one source in a thread of its own until it is stopped, or its source is deleted."""

    gone: tuple[type[Exception], ...]
    """What moto says of a source that it doesn't have."""

    def __init__(self, source: Source, invoke: Callable[[bytes, str], Answer]) -> None:
        self.source = source
        self.stopping = threading.Event()
        self._function = invoke
        self._threads: set[threading.Thread] = set()

    def start(self) -> None:
        self.begin(self.poll)

    def stop(self) -> None:
        """Nothing is taken from the source any more; what is being worked on goes on."""
        self.stopping.set()

    def join(self) -> None:
        """Waits for what was worked on when it was stopped."""
        for thread in list(self._threads):
            thread.join(_JOIN_SECONDS)

    @abstractmethod
    def poll(self) -> None:
        """Until `stopping` is set."""

    def begin(self, work: Callable[..., None], *args: Any) -> None:
        """Does it in a thread."""

        def run() -> None:
            try:
                work(*args)
            except self.gone:
                pass  # with its source a mapping has nothing to do
            except Exception:
                # What it works with ends under it.
                if not self.stopping.is_set():
                    raise
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, name=self.source.arn.rpartition(":")[2], daemon=True)
        self._threads.add(thread)
        thread.start()

    def invoke(self, records: Sequence[dict[str, Any]], *, seconds: float) -> Answer | None:
        """What the function answered; while it is throttled again and again, for `seconds`, then None."""
        payload = json.dumps({"Records": records}).encode()
        ends, wait = time.monotonic() + seconds, _FIRST_WAIT
        while True:
            try:
                return self._function(payload, "")
            except TooManyRequests:
                if time.monotonic() + wait > ends or self.stopping.wait(wait):
                    return None
                wait = min(2 * wait, _LONGEST_WAIT)


def matching(patterns: Sequence[str], document: dict[str, Any]) -> bool:
    """By the rules of EventBridge, whose patterns a mapping's filters are."""
    return not patterns or any(EventPattern.load(pattern).matches_event(document) for pattern in patterns)  # type: ignore[arg-type]
