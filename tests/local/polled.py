"""Queues and streams of small templates, polled on behalf of a function that is a Python callable."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tools.local.assembly import Stack
from tools.local.cloud import Cloud
from tools.local.environments import Answer, TooManyRequests
from tools.local.queues import QueuePoller
from tools.local.sources import sources
from tools.local.streams import StreamPoller

BOOM = {"errorType": "ValueError", "errorMessage": "boom"}
Records = list[dict[str, Any]]


class Function:
    """Keeps what it was called with; `answer` makes what it returns of the records, an `Answer` as it is."""

    def __init__(self, answer: Callable[[Records], Any] = lambda _: None, *, seconds: float = 0) -> None:
        self.calls: list[Records] = []
        self.peak = 0
        self._answer = answer
        self._seconds = seconds
        self._running = 0
        self._lock = threading.Lock()

    def __call__(self, payload: bytes, _: str) -> Answer:
        records = json.loads(payload)["Records"]
        with self._lock:
            self.calls.append(records)
            self._running += 1
            self.peak = max(self.peak, self._running)
        time.sleep(self._seconds)
        with self._lock:
            self._running -= 1
        answer = self._answer(records)
        return answer if isinstance(answer, Answer) else Answer(json.dumps(answer).encode())

    @property
    def records(self) -> Records:
        return [record for call in list(self.calls) for record in call]

    @property
    def bodies(self) -> list[str]:
        """Of all messages, in the order in which they came."""
        return [record["body"] for record in self.records]


def failing(*_: Any) -> Answer:
    return Answer(json.dumps(BOOM).encode(), failed=True)


def throttled(*_: Any) -> Answer:
    raise TooManyRequests


@contextmanager
def polled(cloud: Cloud, name: str, resources: dict[str, Any], function: Function) -> Iterator[dict[str, str]]:
    """The stack's resources by logical id, while its mappings are polled."""
    stack = Stack(name=name, template={"Resources": resources})
    cloud.create(stack)
    kinds = {"sqs": QueuePoller}
    pollers = [kinds.get(source.service, StreamPoller)(source, function) for source in sources(stack, cloud.ids)]
    for poller in pollers:
        poller.start()
    try:
        yield {logical_id: physical_id for (owner, logical_id), physical_id in cloud.ids.items() if owner == name}
    finally:
        for poller in pollers:
            poller.stop()
        for poller in pollers:
            poller.join()


def eventually(condition: Callable[[], Any], *, seconds: float = 8) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it has not come to pass"
        time.sleep(0.02)


def a_queue(**properties: Any) -> dict[str, Any]:
    """A queue with a DLQ; a message comes back after a second."""
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 2}
    return {
        "Dead": {"Type": "AWS::SQS::Queue"},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 1, "RedrivePolicy": redrive, **properties}},
    }


def a_mapping(source: object = None, **properties: Any) -> dict[str, Any]:
    arn = source or {"Fn::GetAtt": ["Queue", "Arn"]}
    return {
        "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"EventSourceArn": arn, "FunctionName": "tiny", **properties}}
    }
