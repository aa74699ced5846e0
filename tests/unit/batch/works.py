"""The jobs worker as AWS runs it: its app over moto's table, buckets, bus and queue, and models whose runs are counted."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
import orjson

from modelserve.aws import JsonService
from modelserve.fetch import LoadedModel
from modelserve.jobs import Job, JobTable, job_key, message, to_item
from modelserve.manifest import MODEL_FILE, Manifest, TensorSpec
from modelserve.pool import Pool
from modelserve.registry import Registry
from modelserve.settings import BatchSettings
from modelserve.tensors import Tensor
from tests.unit.modelserve.graphs import scaled
from tests.unit.predict.apps import Context
from tests.unit.predict.test_observability import fresh
from tools.local.moto_threads import one_at_a_time
from tools.modelctl.s3 import S3Store

# As in an execution environment, importing the module starts it; here, without anything to reach.
_NOWHERE = {"MODEL_NAMES": "sample", "MODEL_BUCKET": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_DEFAULT_REGION": "us-east-1"}
with patch.dict(os.environ, _NOWHERE):
    from functions.batch.jobs import App

__all__ = ["ATTEMPTS", "NAMES", "World", "body_of", "delivered", "runs", "spoil", "work"]

ATTEMPTS = 3
NAMES = {"MODEL_BUCKET": "works-models", "JOB_BUCKET": "works-jobs", "JOB_TABLE": "works-table"}
_SOURCE, _TOLD = "works", "works-told"
_KEYS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}


class Counted:
    """A pool that remembers what its models were asked, each run as the first numbers of its rows; `spoiled` may raise, or never return."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.runs: list[list[float]] = []
        self.spoiled: Callable[[list[float]], None] = lambda _: None

    def model(self, name: str, version: str | None = None) -> LoadedModel:
        model = self._pool.model(name, version)
        run = model.run

        def counted(inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
            rows = list(memoryview(inputs[0].data).cast("B").cast("f"))[::3]
            self.runs.append(rows)
            self.spoiled(rows)
            answer: list[Tensor] = run(inputs, outputs, seconds=seconds)
            return answer

        copy = object.__new__(LoadedModel)
        copy.__dict__.update(model.__dict__, run=counted)
        return copy


class World:
    """What a deployment has of jobs, with the model `sample` that doubles three numbers; `close` takes it away again."""

    def __init__(self, url: str, folder: Path) -> None:
        one_at_a_time()
        self.url = url
        self.environ = {**NAMES, **_KEYS, "MODEL_NAMES": "sample", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": url}
        self.s3, self.dynamodb, self.sqs, self._rules = (self.client(name) for name in ("s3", "dynamodb", "sqs", "events"))
        for bucket in (NAMES["MODEL_BUCKET"], NAMES["JOB_BUCKET"]):
            self.s3.create_bucket(Bucket=bucket)
        self.dynamodb.create_table(
            TableName=NAMES["JOB_TABLE"],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._queue = self.sqs.create_queue(QueueName=_TOLD)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self._rules.put_rule(Name=_TOLD, EventPattern=json.dumps({"source": [_SOURCE]}))
        self._rules.put_targets(Rule=_TOLD, Targets=[{"Id": "queue", "Arn": arn}])
        self.table = JobTable(JsonService.from_environ("dynamodb", self.environ), NAMES["JOB_TABLE"])
        self.release(folder, scaled(2))

    def close(self) -> None:
        self.dynamodb.delete_table(TableName=NAMES["JOB_TABLE"])
        self._rules.remove_targets(Rule=_TOLD, Ids=["queue"])
        self._rules.delete_rule(Name=_TOLD)
        self.sqs.delete_queue(QueueUrl=self._queue)

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return boto3.client(service, region_name="us-east-1", endpoint_url=self.url, **keys)  # type: ignore[call-overload]

    def release(self, folder: Path, content: bytes) -> str:
        """Another version of `sample`, in production."""
        file = folder / "released.onnx"
        file.write_bytes(content)
        spec = (TensorSpec(name="x", datatype="FP32", shape=(-1, 3)),)
        draft: dict[str, Any] = {"version": "", "created": "", "task": "regression", "files": (), "opset": {"": 21}, "ir": 10}
        manifest = Manifest(name="sample", inputs=spec, outputs=(replaced(spec[0], "y"),), row_wise=True, **draft)
        registry = Registry(S3Store(self.s3, NAMES["MODEL_BUCKET"]))
        version = registry.publish(manifest, {MODEL_FILE: file}).version
        registry.promote("sample", version, alias="production", by="ann", reason="because")
        return version

    def app(self, **settings: Any) -> App:
        """A worker of its own."""
        told = {"model_names": ("sample",), "service": _SOURCE, "job_attempts": ATTEMPTS, **settings}
        names = {name.lower(): value for name, value in NAMES.items()}
        with patch.dict(os.environ, {**self.environ, "AWS_DEFAULT_REGION": "us-east-1", "POWERTOOLS_SERVICE_NAME": fresh()}):
            app = App(BatchSettings(**{**names, **told}), self.environ)
        app._worker._models = Counted(app._worker._models)  # type: ignore[arg-type]
        return app

    def submit(self, content: bytes | Sequence[float], **changes: Any) -> Job:
        """A job in the table and its request in the bucket, of a row of the same number three times for each of `content`."""
        name, now = os.urandom(16).hex(), int(time.time())
        job = Job(
            id=name,
            client="shop",
            model="sample",
            priority="low",
            created=now,
            updated=now,
            expiration=now + 1000,
            request=job_key("sample", "shop", name, "request-0123456789abcdef"),
            digest=hashlib.sha256(name.encode()).hexdigest(),
        )
        job = Job(**{**vars(job), **changes})
        body = content if isinstance(content, bytes) else body_of(content)
        self.s3.put_object(Bucket=NAMES["JOB_BUCKET"], Key=job.request, Body=body)
        self.dynamodb.put_item(TableName=NAMES["JOB_TABLE"], Item=to_item(job))
        return job

    def job(self, job: Job) -> Job | None:
        """As the table has it now."""
        return self.table.read(job.id, now=time.time())

    def status(self, job: Job) -> str:
        found = self.job(job)
        return "gone" if found is None else found.status

    def result(self, job: Job) -> Any:
        """The numbers of its answer."""
        body = self.s3.get_object(Bucket=NAMES["JOB_BUCKET"], Key=job.result)["Body"].read()
        return orjson.loads(body)["outputs"][0]["data"]

    def time_passes(self) -> None:
        """What was in progress had to be over a moment ago, in the order in which it had to be."""
        found = self.dynamodb.scan(  # moto takes its time for each attribute that it tells
            TableName=NAMES["JOB_TABLE"],
            ConsistentRead=True,
            FilterExpression="#status = :status",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={":status": {"S": "INPROGRESS"}},
        )["Items"]
        ends = {item["id"]["S"]: int(item["in_progress_expiration"]["N"]) for item in found}
        now = int(1000 * time.time())
        late = {name: end for name, end in ends.items() if end > now}
        for name, end in late.items():
            self.dynamodb.update_item(
                TableName=NAMES["JOB_TABLE"],
                Key={"id": {"S": name}},
                UpdateExpression="SET in_progress_expiration = :end",
                ExpressionAttributeValues={":end": {"N": str(end - max(late.values()) + now - 1)}},
            )
        time.sleep(0.01)

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """Of each event since the last look its kind and detail, as rules see it."""
        found = []
        while messages := self.sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages", []):
            for each in messages:
                event = json.loads(each["Body"])
                found.append((event["detail-type"], event["detail"]))
                self.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=each["ReceiptHandle"])
        return found


def replaced(spec: TensorSpec, name: str) -> TensorSpec:
    return TensorSpec(name=name, datatype=spec.datatype, shape=spec.shape)


def body_of(rows: Sequence[float], **keys: Any) -> bytes:
    """A request of a row for each number."""
    data = [number for number in rows for _ in range(3)]
    return orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), 3], "data": data}], **keys})


def delivered(*asked: Job | dict[str, Any] | str, receives: int = 1, copies: int = 1) -> dict[str, Any]:
    """Lambda's event with a message for each."""
    bodies = [each if isinstance(each, str) else json.dumps(message(each) if isinstance(each, Job) else each) for each in asked] * copies
    attributes = {"ApproximateReceiveCount": str(receives), "SentTimestamp": str(int(1000 * time.time()) - 250)}
    return {"Records": [{"messageId": f"message-{number}", "body": body, "attributes": attributes} for number, body in enumerate(bodies)]}


def work(app: App, event: dict[str, Any], *, milliseconds: int = 20_000) -> list[int]:
    """The numbers of the messages that are to be delivered again."""
    answer = app.handler(event, Context(milliseconds))
    return [int(each["itemIdentifier"].rpartition("-")[2]) for each in answer["batchItemFailures"]]


def runs(app: App) -> list[list[float]]:
    """What the worker's models were asked."""
    counted: Any = app._worker._models
    found: list[list[float]] = counted.runs
    return found


def spoil(app: App, how: Callable[[list[float]], None]) -> None:
    """`how` hears of each run before it."""
    counted: Any = app._worker._models
    counted.spoiled = how
