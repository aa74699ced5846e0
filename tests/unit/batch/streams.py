"""The function of a stream as AWS runs it: its app over a store in memory, a bus that remembers, and records of both kinds of streams."""

import os
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import orjson
import pytest

from modelserve.errors import ServeError
from modelserve.events import Event, EventBus
from modelserve.fetch import LoadedModel
from modelserve.pool import Pool
from modelserve.settings import BatchSettings, StreamSettings
from tests.unit.modelserve.factories import loaded
from tests.unit.modelserve.graphs import session
from tests.unit.predict.apps import Context
from tests.unit.predict.test_observability import fresh

# As in an execution environment, importing the module starts it; here, without a store.
with patch.dict(os.environ, {"MODEL_NAMES": "sample", "MODEL_BUCKET": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
    from functions.batch.streams import App

__all__ = ["Bus", "World", "dynamodb", "kinesis"]


def kinesis(number: int, value: Any, *, key: str = "card-1") -> dict[str, Any]:
    """A record of Kinesis; `value` that is not bytes is sent as JSON."""
    data = b64encode(value if isinstance(value, bytes) else orjson.dumps(value)).decode()
    about = {"kinesisSchemaVersion": "1.0", "partitionKey": key, "sequenceNumber": f"4954{number:04}", "data": data}
    return {"eventID": f"shardId-000000000000:4954{number:04}", "eventName": "aws:kinesis:record", "kinesis": about}


def dynamodb(number: int, image: Mapping[str, Any] | None) -> dict[str, Any]:
    """A record of a table's stream; without an image, of an item that was deleted."""
    about: dict[str, Any] = {"Keys": {"payment": {"S": f"p{number}"}}, "SequenceNumber": f"{number:021}"}
    if image is not None:
        about["NewImage"] = {"payment": {"S": f"p{number}"}, **image}
    return {"eventID": f"{number:032x}", "eventName": "REMOVE" if image is None else "INSERT", "dynamodb": about}


class Bus:
    """Takes every event but those of the ids `refused`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.refused: set[str] = set()

    def put(self, events: list[Event]) -> list[int]:
        lost = [index for index, event in enumerate(events) if event.detail["id"] in self.refused]
        self.events += [event for index, event in enumerate(events) if index not in lost]
        return lost

    def told(self) -> list[tuple[str, Any]]:
        """Of each event its kind and key."""
        return [(event.kind, event.detail["key"]) for event in self.events]


class World:
    """One model, the bus, and the app between them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bus = Bus()
        self.error: ServeError | None = None
        """Of the store, while it has one."""
        monkeypatch.setattr(EventBus, "from_environ", lambda *_args, **_: self.bus)
        monkeypatch.setattr(Pool, "model", lambda *_: self._found())

    def start(self, graph: bytes, *, labels: tuple[str, ...] = (), columns: Mapping[str, Any] | None = None, tell: str = "") -> App:
        self.model = loaded(session(graph), labels=labels)
        stream = StreamSettings(columns=orjson.dumps(columns or {}).decode(), tell=tell)
        self._app = App(BatchSettings(model_names=("sample",), model_bucket="none", service=fresh()), stream, {})
        return self._app

    def send(self, *records: dict[str, Any], seconds: float = 60) -> list[str]:
        """The sequence numbers that Lambda begins again at: none, or one."""
        answer: dict[str, Any] = self._app.handler({"Records": list(records)}, Context(int(seconds * 1000)))
        return [each["itemIdentifier"] for each in answer["batchItemFailures"]]

    def _found(self) -> LoadedModel:
        if self.error:
            raise self.error
        return self.model
