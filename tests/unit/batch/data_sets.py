"""The three functions of data sets over moto's S3, with a store of models in memory and a bus that remembers."""

import csv
import io
import os
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import orjson
import pytest

from modelserve.events import Event, EventBus
from modelserve.registry import Registry
from modelserve.s3 import S3Reader
from modelserve.settings import BatchSettings, DataSetSettings
from tests.unit.modelserve.stores import MemoryStore
from tests.unit.predict.test_observability import fresh

from .prices import release

_STARTED = {"MODEL_NAMES": "price", "MODEL_BUCKET": "none", "DATA_BUCKET": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
# As in an execution environment, importing a module starts it; here, without a store.
with patch.dict(os.environ, _STARTED):
    from functions.batch.finish import Finisher
    from functions.batch.plan import Planner
    from functions.batch.runs import DataSetRefused
    from functions.batch.shard import Scorer

__all__ = ["EXECUTION", "ROWS", "DataSetRefused", "Planner", "World"]

EXECUTION = "arn:aws:states:us-east-1:123456789012:execution:onnx-dev-data-sets:first"
ROWS = "id,rooms\na,1\nb,2.5\nc,4\n"
_numbers = count()


class Bus:
    """Takes events, or none of them while it is `down`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.down = False

    def put(self, events: list[Event]) -> list[int]:
        if self.down:
            return list(range(len(events)))
        self.events += events
        return []


class World:
    """A bucket of data sets of its own, a model `price` that is `rooms` times a factor, and the functions."""

    def __init__(self, url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *buckets: str) -> None:
        self.environ = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
        }
        for name, text in self.environ.items():
            monkeypatch.setenv(name, text)  # pyarrow reads the credentials itself
        self.s3: Any = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        self.bucket = f"data-{next(_numbers)}"
        for name in (self.bucket, *buckets):
            self.s3.create_bucket(Bucket=name)
        self.bus = Bus()
        self.store = MemoryStore()
        self._folder = folder
        self._times = count(1_795_000_000)
        self._registry = Registry(self.store, clock=lambda: float(next(self._times)))
        monkeypatch.setattr(EventBus, "from_environ", lambda *_args, **_: self.bus)
        monkeypatch.setattr("modelserve.pool.S3Reader", _Instead(self.store))
        self._settings = (
            BatchSettings(model_names=("price", "unpromoted"), model_bucket="none", service=fresh()),
            DataSetSettings(data_bucket=self.bucket, data_set_buckets=buckets),
        )
        self.release(10)
        self.shard = Scorer(*self._settings, self.environ).handle

    def release(self, factor: float, **known: Any) -> str:
        """The version, promoted."""
        return release(self._registry, self._folder, factor, **known)

    def set(self, **told: Any) -> None:
        """Deploys other settings of data sets; functions that are under way go on with theirs."""
        settings, data = self._settings
        self._settings = settings, DataSetSettings(**{**vars(data), **told})

    def put(self, key: str, body: str = ROWS) -> dict[str, Any]:
        """What EventBridge tells of the upload."""
        etag = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode())["ETag"].strip('"')
        upload = {"key": key, "size": len(body), "etag": etag, "sequencer": f"00{next(_numbers):014X}"}
        return {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": self.bucket}, "object": upload}}

    def command(self, run: str = "run-1", **asked: Any) -> dict[str, Any]:
        """What `modelctl batch` starts an execution with."""
        addresses = {"input": f"s3://{self.bucket}/in/price/", "output": f"s3://{self.bucket}/out/price/{run}/"}
        return {"run": run, "model": "price", **addresses, **asked}

    def plan(self, asked: dict[str, Any], execution: str = EXECUTION) -> dict[str, Any]:
        return Planner(*self._settings, self.environ).handle({"input": asked, "execution": execution})

    def finish(self, told: dict[str, Any], execution: str = EXECUTION) -> dict[str, Any]:
        return Finisher(*self._settings, self.environ).handle({"input": told, "execution": execution})

    def shards(self, plan: dict[str, Any]) -> list[dict[str, Any]]:
        """What the map hands to the function of shards, one after the other."""
        return [{"run": plan["run"], "shard": shard} for shard in orjson.loads(self.read(plan["shards"]))]

    def score(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Plan, every shard, and the end; what the run came to."""
        plan = self.plan(asked)
        for shard in self.shards(plan):
            self.shard(shard)
        return self.finish({**asked, "plan": plan})

    def read(self, key: str) -> bytes:
        body: bytes = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str) -> list[str]:
        return [each["Key"] for each in self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", ())]

    def rows(self, prefix: str) -> list[dict[str, str]]:
        """Of all parts below `prefix`, in order."""
        parts = [self.read(key).decode() for key in self.keys(prefix) if "/data/" in key]
        return [row for part in parts for row in csv.DictReader(io.StringIO(part))]


class _Instead(S3Reader):
    """Stands for the class: whatever bucket it is asked for is the one in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def from_environ(self, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        return self._store
