"""Ends runs that pass their deadline, between two operators, at the price of one comparison a run."""

from __future__ import annotations

import os
import threading
import time
from itertools import count

from ._typing import Any

__all__ = ["Watchdog"]


class Watchdog:
    """Sets `terminate` on the run options of a run that is still going at its deadline.

    One thread sleeps until the earliest deadline it knows. A run that ends in time leaves it asleep, and a later run with
    a later deadline finds it still asleep, so that in steady state nothing is woken, locked or started for a request.
    """

    def __init__(self) -> None:
        self._tickets = count()
        self._begin()
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        """A forked process has neither this thread nor the runs of others."""
        self._runs: dict[int, tuple[float, Any]] = {}
        self._changed = threading.Condition()
        self._wakes_at = 0.0
        """When the thread looks next; 0 while there is no thread, infinity while it waits to be told."""

    def watch(self, options: Any, deadline: float) -> int:
        """Has `options.terminate` set at `deadline` (of `time.monotonic`) unless `release` is called before, with what this answers."""
        ticket = next(self._tickets)
        self._runs[ticket] = (deadline, options)
        if deadline < self._wakes_at or self._wakes_at == 0.0:
            self._wake()
        return ticket

    def release(self, ticket: int) -> bool:
        """The run has ended; whether it did so in time. The options of one that didn't are terminated by now or soon."""
        return self._runs.pop(ticket, None) is not None

    def _wake(self) -> None:
        with self._changed:
            if self._wakes_at == 0.0:
                self._wakes_at = float("inf")
                threading.Thread(target=self._watch, name="deadline", daemon=True).start()
            self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                # Before looking, so that a run that begins behind the look wakes this thread once more.
                self._wakes_at = waiting = float("inf")
                now = time.monotonic()
                for ticket, (deadline, options) in list(self._runs.items()):
                    if deadline > now:
                        waiting = min(waiting, deadline)
                    elif self._runs.pop(ticket, None):  # else it has just ended, and its options may be another run's
                        options.terminate = True
                options = None  # the last one would keep its session in memory while this thread sleeps
                self._wakes_at = waiting
                self._changed.wait(None if waiting == float("inf") else waiting - now)
