"""A queue of jobs and its worker as the stacks deploy them, on moto and real function processes, which can be killed at any point."""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import orjson
import psutil

from modelserve.aws import JsonService
from modelserve.jobs import Job, JobTable, job_key, message, to_item
from modelserve.manifest import MODEL_FILE, Manifest, TensorSpec
from modelserve.registry import Registry
from modelserve.settings import BatchSettings
from tests.faults.world import digest
from tests.unit.modelserve.graphs import endless, scaled
from tools.local import image
from tools.local.assembly import REGION, ImageAsset
from tools.local.cloud import CREDENTIALS, Cloud
from tools.local.environments import Answer, Environments
from tools.local.functions import Function
from tools.local.packages import PROJECT
from tools.local.queues import QueuePoller
from tools.local.sources import Source
from tools.local.stack import BUILD
from tools.modelctl.s3 import S3Store

__all__ = ["QUICK", "SLOW", "UNPROMOTED", "VISIBILITY_SECONDS", "Lane", "Line", "RandomKiller", "Works"]

QUICK, SLOW, UNPROMOTED = "quick", "slow", "unpromoted"
"""Models: one that doubles, one that counts as long as it may for 1 and not at all for 0, and one that nobody has promoted."""
VISIBILITY_SECONDS = 13
"""A little more than the function may take; on AWS it is six times as much."""
_TIMEOUT_SECONDS = 12
_MEMORY = 1769
_BATCH = 10
_NOTHING = json.dumps({"Records": []}).encode()


class Works:
    """Everything that the queues of a trial share: services, models, and the worker's image; a context manager."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exit_on_failure:
            exit_on_failure.callback(self._exit.close)
            self.cloud = self._exit.enter_context(Cloud())
            self.folder = Path(self._exit.enter_context(TemporaryDirectory(prefix="queues-")))
            self.root = image.build(_image(), BUILD)
            self._publish()
            exit_on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _publish(self) -> None:
        s3 = self.cloud.client("s3")
        s3.create_bucket(Bucket="models")
        s3.put_bucket_versioning(Bucket="models", VersioningConfiguration={"Status": "Enabled"})
        registry = Registry(S3Store(s3, "models"))
        specs = {QUICK: ("FP32", (-1, 3)), SLOW: ("INT64", (1,))}
        for name, content in ((QUICK, scaled(2)), (SLOW, endless())):
            file = self.folder / f"{name}.onnx"
            file.write_bytes(content)
            x, y = (TensorSpec(name=tensor, datatype=specs[name][0], shape=specs[name][1]) for tensor in "xy")
            told: dict[str, Any] = {"version": "", "created": "", "task": "regression", "files": (), "opset": {"": 21}, "ir": 10}
            draft = Manifest(name=name, inputs=(x,), outputs=(y,), row_wise=name == QUICK, **told)
            registry.promote(name, registry.publish(draft, {MODEL_FILE: file}).version, alias="production", by="ann", reason="because")


class Line:
    """One queue with its DLQ, table and bucket, and some execution environments that work it off; a context manager."""

    def __init__(self, works: Works, name: str, *, attempts: int, environments: int = 1) -> None:
        self.name = name
        self.service = f"faults-{name}"
        self.attempts = attempts
        self.deliveries: Counter[str] = Counter()
        """By the body of the message."""
        self._cloud = works.cloud
        self.s3, self.dynamodb, self.sqs = (works.cloud.client(service) for service in ("s3", "dynamodb", "sqs"))
        self._environ = {**CREDENTIALS, "AWS_ENDPOINT_URL": works.cloud.endpoint_url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        self._make()
        self.table = JobTable(JsonService.from_environ("dynamodb", self._environ), name)
        self._lanes = [Lane(self, works, number) for number in range(environments)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for lane in self._lanes:
            lane.stop()
        for lane in self._lanes:
            lane.close()

    def submit(self, model: str, numbers: Sequence[float]) -> list[Job]:
        """A job of one row for each, and its message."""
        jobs = [self._job(model, number) for number in numbers]
        for start in range(0, len(jobs), _BATCH):
            entries = [{"Id": job.id, "MessageBody": json.dumps(message(job))} for job in jobs[start : start + _BATCH]]
            self.sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
        return jobs

    def send(self, body: str) -> None:
        """A message as it is."""
        self.sqs.send_message(QueueUrl=self._url, MessageBody=body)

    def start(self, killer: Callable[[Lane], None] = lambda _: None) -> None:
        """Begins to deliver; `killer` is called as each batch goes to a process."""
        for lane in self._lanes:
            lane.start(killer)

    @property
    def waiting(self) -> int:
        """Messages that may be delivered now."""
        told = self.sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
        return int(told["ApproximateNumberOfMessages"])

    def drained(self, *, seconds: float) -> bool:
        """Whether nothing waits, nor is worked on, before `seconds` have passed."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        ends = time.monotonic() + seconds
        empty = 0
        while time.monotonic() < ends and empty < 2:  # the two numbers are not of one moment: a message may come between them
            found = self.sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
            empty = empty + 1 if all(found[name] == "0" for name in names) else 0
            time.sleep(0.25)  # each look is a request that moto answers in this process
        return empty == 2

    def dead(self) -> list[str]:
        """Bodies of the messages in the DLQ."""
        found: list[str] = []
        while messages := self.sqs.receive_message(QueueUrl=self._dead_url, MaxNumberOfMessages=10, VisibilityTimeout=600).get("Messages"):
            found += [each["Body"] for each in messages]
        return found

    def job(self, job: Job) -> Job | None:
        return self.table.read(job.id, now=time.time())

    def results(self) -> dict[str, list[Any]]:
        """By the id of a job, every object and every version of one that was ever written as its result: the numbers of each."""
        found: dict[str, list[Any]] = defaultdict(list)
        for page in self.s3.get_paginator("list_object_versions").paginate(Bucket=self.name):
            for each in page.get("Versions", []):
                *_, job, name = each["Key"].split("/")
                if name.startswith("result"):
                    body = self.s3.get_object(Bucket=self.name, Key=each["Key"], VersionId=each["VersionId"])["Body"].read()
                    found[job].append(orjson.loads(body)["outputs"][0]["data"])
        return found

    def told(self) -> Counter[tuple[str, str]]:
        """How often each event came, by its kind and the id of its job, as a rule hears them; each is told once."""
        found: Counter[tuple[str, str]] = Counter()
        while messages := self.sqs.receive_message(QueueUrl=self._told_url, MaxNumberOfMessages=10).get("Messages"):
            events = [json.loads(each["Body"]) for each in messages]
            found.update((event["detail-type"], event["detail"]["id"]) for event in events)
            entries = [{"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]} for number, each in enumerate(messages)]
            self.sqs.delete_message_batch(QueueUrl=self._told_url, Entries=entries)
        return found

    def _make(self) -> None:
        self.s3.create_bucket(Bucket=self.name)
        self.s3.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})
        key: Any = {"AttributeName": "id"}
        self.dynamodb.create_table(
            TableName=self.name,
            KeySchema=[{**key, "KeyType": "HASH"}],
            AttributeDefinitions=[{**key, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self._dead_url = self.sqs.create_queue(QueueName=f"{self.name}-dead")["QueueUrl"]
        redrive = json.dumps({"deadLetterTargetArn": self._arn(self._dead_url), "maxReceiveCount": self.attempts})
        told = {"VisibilityTimeout": str(VISIBILITY_SECONDS), "RedrivePolicy": redrive}
        self._url = self.sqs.create_queue(QueueName=self.name, Attributes=told)["QueueUrl"]
        self._told_url = self.sqs.create_queue(QueueName=f"{self.name}-told")["QueueUrl"]
        events = self._cloud.client("events")
        events.put_rule(Name=self.name, EventPattern=json.dumps({"source": [self.service]}))
        events.put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": self._arn(self._told_url)}])

    def _arn(self, url: str) -> str:
        arn: str = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return arn

    def _job(self, model: str, number: float) -> Job:
        name, now = os.urandom(16).hex(), int(time.time())
        job = Job(
            id=name,
            client="shop",
            model=model,
            priority="low",
            created=now,
            updated=now,
            expiration=now + 3600,
            request=job_key(model, "shop", name, "request"),
            digest=hashlib.sha256(name.encode()).hexdigest(),
        )
        kind: dict[str, Any] = {"datatype": "FP32", "shape": [1, 3], "data": [number] * 3}
        if model == SLOW:
            kind = {"datatype": "INT64", "shape": [1], "data": [int(number)]}
        self.s3.put_object(Bucket=self.name, Key=job.request, Body=orjson.dumps({"inputs": [{"name": "x", **kind}]}))
        self.dynamodb.put_item(TableName=self.name, Item=to_item(job))
        return job

    def source(self) -> Source:
        """The event source mapping, of one batch at a time."""
        return Source(
            function=self.name,
            arn=self._arn(self._url),
            batch_size=_BATCH,
            window=0.0,
            concurrency=1,
            partial=True,
            patterns=(),
            starting_position="",
            bisect=False,
            retries=-1,
            max_age=-1,
            on_failure="",
        )

    def function(self) -> Function:
        """The worker."""
        settings = BatchSettings(
            model_names=(QUICK, SLOW, UNPROMOTED),
            model_bucket="models",
            job_bucket=self.name,
            job_table=self.name,
            job_attempts=self.attempts,
            service=self.service,
        )
        empty = {"handler": "", "runtime": "", "image": "", "code": ""}
        return Function(
            name=self.name,
            logical_id=self.name,
            **empty,
            layers=(),
            environment=settings.to_env(),
            timeout=_TIMEOUT_SECONDS,
            memory=_MEMORY,
        )

    @property
    def environ(self) -> dict[str, str]:
        """What leads a process to the services."""
        return self._environ


class Lane:
    """One execution environment and who polls for it."""

    def __init__(self, line: Line, works: Works, number: int) -> None:
        self._line = line
        self._folder = works.folder / f"{line.name}-{number}"
        self._folder.mkdir()
        self._environments = Environments(line.function(), works.root, line.environ, folder=self._folder, limit=1)
        self._poller = QueuePoller(line.source(), self._invoke)
        self._killer: Callable[[Lane], None] = lambda _: None
        self._lock = threading.Lock()
        self._working = False
        self.seconds = 0.0
        """That a batch took which ended."""
        self.deliveries = 0
        """Of that message of the batch which came most often."""

    def start(self, killer: Callable[[Lane], None]) -> None:
        self._killer = killer
        self._environments.invoke(_NOTHING)
        self._poller.start()

    def stop(self) -> None:
        self._poller.stop()

    def close(self) -> None:
        self._poller.join()
        self._environments.close()

    def kill(self) -> bool:
        """Kills the function's process as no handler can notice, if it works on a batch; whether it did."""
        with self._lock:
            return self._working and self._killed()

    def _killed(self) -> bool:
        scratch, found = str(self._folder), False
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                parent = process.parent()
                if parent and parent.name().startswith("aws-lambda-rie") and process.environ().get("TMPDIR", "").startswith(scratch):
                    process.kill()
                    found = True
        return found

    def _invoke(self, payload: bytes, trace_id: str) -> Answer:
        for record in json.loads(payload)["Records"]:
            self._line.deliveries[record["body"]] += 1
        self.deliveries = max((self._line.deliveries[record["body"]] for record in json.loads(payload)["Records"]), default=0)
        with self._lock:
            self._working = True
        self._killer(self)
        begun = time.monotonic()
        answer = self._environments.invoke(payload, trace_id)
        with self._lock:
            self._working = False
        if answer.failed:
            self._environments.invoke(_NOTHING)  # starts another process, while nothing is out of sight for it
        else:
            self.seconds = time.monotonic() - begun
        return answer


class RandomKiller:
    """Kills as many batches as it is told, each at a random point of its run, about every third one."""

    def __init__(self, kills: int, *, most: int, seed: int = 1) -> None:
        """A message is killed `most` times at most: what ends the process at every delivery is rightly given up."""
        self._left = kills
        self._most = most
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self.kills = 0
        self.last = 0.0
        """When, by the monotonic clock."""

    def __call__(self, lane: Lane) -> None:
        with self._lock:
            if self._chance.random() > 1 / 3 or self._left <= self.kills or lane.deliveries > self._most:
                return
            delay = self._chance.uniform(0, lane.seconds or 0.5)
        threading.Timer(delay, self._kill, [lane]).start()

    def _kill(self, lane: Lane) -> None:
        with self._lock:
            if self.kills < self._left and lane.kill():
                self.kills += 1
                self.last = time.monotonic()


def _image() -> ImageAsset:
    """Straight from the working tree."""
    libraries = (f"layers/{name}/python" for name in ("modelserve", "scoring"))
    return ImageAsset(hash=digest("functions/batch", *libraries), context=PROJECT, dockerfile="functions/batch/Dockerfile", build_args={})
