"""Events go in tens, against a bus that refuses some on purpose and against moto's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from modelserve.aws import JsonService, ServiceUnavailable
from modelserve.events import MADE, Event, EventBus


class Bus(JsonService):
    """Takes what it is sent, but for numbers that it refuses as often as `refused` says; remembers each request."""

    def __init__(self, refused: dict[int, int] | None = None, *, failures: int = 0) -> None:
        self.requests: list[list[int]] = []
        self.kinds: set[tuple[str, str]] = set()
        self._refused = dict(refused or {})
        self._failures = failures

    def call(self, target: str, document: Any) -> dict[str, Any]:
        assert target == "AWSEvents.PutEvents"
        numbers = [orjson.loads(entry["Detail"])["number"] for entry in document["Entries"]]
        self.requests.append(numbers)
        self.kinds |= {(entry["Source"], entry["DetailType"]) for entry in document["Entries"]}
        if self._failures:
            self._failures -= 1
            raise ServiceUnavailable("events", "PutEvents", "down")
        return {"Entries": [self._answer(number) for number in numbers]}

    def _answer(self, number: int) -> dict[str, str]:
        if self._refused.get(number):
            self._refused[number] -= 1
            return {"ErrorCode": "InternalFailure", "ErrorMessage": "later"}
        return {"EventId": str(number)}


def some(numbers: Iterable[int], **detail: Any) -> list[Event]:
    return [Event(kind=MADE, detail={"number": number, **detail}) for number in numbers]


def put(bus: Bus, events: list[Event]) -> list[int]:
    return EventBus(bus, "serverless-onnx-test", sleep=lambda _: None).put(events)


def test_events_go_ten_at_a_time_and_say_who_speaks():
    bus = Bus()
    assert put(bus, some(range(23))) == []
    assert [len(request) for request in bus.requests] == [10, 10, 3]
    assert bus.kinds == {("serverless-onnx-test", "Prediction Made")}


def test_a_request_stays_below_what_the_bus_takes():
    bus = Bus()
    assert put(bus, some(range(5), text="x" * 100 * 2**10)) == []
    assert bus.requests == [[0, 1], [2, 3], [4]]


def test_only_refused_events_are_sent_again():
    bus = Bus({3: 1, 12: 2})
    assert put(bus, some(range(14))) == []
    assert bus.requests[2:] == [[3, 12], [12]]


def test_events_that_are_never_taken_are_told_by_their_place():
    assert put(Bus({11: 9, 2: 9}), some(range(14))) == [2, 11]


@pytest.mark.parametrize(("failures", "lost"), [(2, []), (3, [0, 1])])
def test_a_bus_that_is_down_is_asked_three_times(failures, lost):
    assert put(Bus(failures=failures), some(range(2))) == lost


def test_nothing_to_tell_asks_nobody():
    bus = Bus()
    assert put(bus, []) == []
    assert bus.requests == []


def test_the_size_of_an_event_is_that_of_its_detail():
    assert Event(kind=MADE, detail={"text": "ü"}).size == len('{"text":"ü"}'.encode())


def test_a_real_api_takes_them(moto_url):
    environ = {"AWS_ENDPOINT_URL": moto_url, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    assert EventBus.from_environ("serverless-onnx-test", environ).put(some(range(12))) == []
