"""Tells EventBridge what became of predictions; who waits for them follows by a rule."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf

import orjson

from ._typing import Any
from .aws import JsonService, ServiceUnavailable
from .record import Record

__all__ = ["FAILED", "MADE", "MAX_EVENT_BYTES", "Event", "EventBus"]

MADE, FAILED = "Prediction Made", "Prediction Failed"
"""Detail types of what a prediction for another service came to."""
MAX_EVENT_BYTES = 200 * 2**10
"""Of a detail that is told as it is; EventBridge takes 256 KiB a request, with all that is around it."""
_MOST_BYTES = 250 * 2**10
_MOST_ENTRIES = 10
_ATTEMPTS = 3
_PAUSE = 0.1  # seconds, doubled and jittered at each attempt


class Event(Record):
    """One event; `detail` is what JSON can carry."""

    kind: str
    """The detail type, such as `MADE`."""
    detail: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of its detail."""
        return len(orjson.dumps(self.detail))


class EventBus:
    """The default bus of this account, and who speaks on it."""

    def __init__(self, events: JsonService, source: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """`source` is the deployment's service, such as `serverless-onnx-dev`."""
        self._events = events
        self._source = source
        self._sleep = sleep

    @classmethod
    def from_environ(cls, source: str, environ: Mapping[str, str], *, remaining: Callable[[], float] = lambda: inf) -> EventBus:
        """With region, credentials and endpoint as Lambda and the AWS SDKs name them."""
        return cls(JsonService.from_environ("events", environ, remaining=remaining), source)

    def put(self, events: Sequence[Event]) -> list[int]:
        """Sends in tens, and what EventBridge refused of them again; the indices of those that it never took, in order.

        An event may arrive twice, as EventBridge itself says of every one.
        """
        entries = [self._entry(event) for event in events]
        left, pause = list(range(len(entries))), _PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            left = [index for batch in _batches(left, entries) for index in self._refused(batch, entries)]
            if not left or attempt == _ATTEMPTS:
                break
            self._sleep(pause * (0.5 + os.urandom(1)[0] / 256))
            pause *= 2
        return left

    def _refused(self, batch: list[int], entries: Sequence[dict[str, str]]) -> list[int]:
        try:
            answer = self._events.call("AWSEvents.PutEvents", {"Entries": [entries[index] for index in batch]})
        except ServiceUnavailable:
            return batch
        return [index for index, entry in zip(batch, answer.get("Entries", []), strict=True) if "ErrorCode" in entry]

    def _entry(self, event: Event) -> dict[str, str]:
        return {"Source": self._source, "DetailType": event.kind, "Detail": orjson.dumps(event.detail).decode()}


def _batches(indices: Sequence[int], entries: Sequence[Mapping[str, str]]) -> Iterator[list[int]]:
    batch: list[int] = []
    size = 0
    for index in indices:
        # As EventBridge counts it: bytes of UTF-8 in source, detail type and detail.
        own = sum(len(value.encode()) for value in entries[index].values())
        if batch and (len(batch) == _MOST_ENTRIES or size + own > _MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += own
    if batch:
        yield batch
