"""Data sets from an upload, or a command, to predictions: the template's own state machine, executed, over real function processes."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from modelserve.registry import Registry
from tests.local.releases import assembly, eventually
from tests.unit.batch.prices import release
from tools.local.stack import LocalStack
from tools.modelctl.cli import app
from tools.modelctl.commands import batch
from tools.modelctl.data_sets_remote import DataSetFailed, DataSets
from tools.modelctl.deployment import on_this_machine
from tools.modelctl.s3 import S3Store

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
    pytest.mark.xdist_group("data-sets"),
]
NAME = "sets"
OURS = "ours-of-data-sets"
MODELS = ("price", "broken", "moved")
ROWS = 'id,rooms\na,1\n"b\nb",2.5\nc,many\nd,4\n'
PRICED = [("a", "1", 10.0), ("b\nb", "2.5", 25.0), ("c", "many", None), ("d", "4", 40.0)]


class World:
    """The deployment, what its bus told, and another bucket, which keeps each version of an object."""

    def __init__(self, stack: LocalStack, folder: Path) -> None:
        self.stack = stack
        self.s3: Any = stack.cloud.client("s3")
        self.bucket = stack.outputs["DataBucket"]
        self._folder = folder
        self._store = S3Store(self.s3, stack.bucket)
        self._told: list[dict[str, Any]] = []
        self._queue = self._listen()
        self.s3.create_bucket(Bucket=OURS)
        self.s3.put_bucket_versioning(Bucket=OURS, VersioningConfiguration={"Status": "Enabled"})
        for model in MODELS:
            self.release(10, model)
        deployment = on_this_machine(stack.endpoint_url, stack.bucket, stack.region)
        self.deployment = replace(deployment, data_bucket=self.bucket, data_set_machine=stack.outputs["DataSetMachine"])
        self.runs = DataSets(self.deployment, sleep=lambda _: time.sleep(0.05))

    def release(self, factor: float, model: str = "price") -> str:
        return release(Registry(self._store), self._folder, factor, name=model)

    def put(self, key: str, body: str = ROWS, *, bucket: str = "") -> None:
        self.s3.put_object(Bucket=bucket or self.bucket, Key=key, Body=body.encode())

    def heard(self, key: str) -> list[dict[str, Any]]:
        """What has been told of an upload by now."""
        return [each for each in self._heard() if each.get("input") == f"s3://{self.bucket}/{key}"]

    def about(self, key: str) -> dict[str, Any]:
        """What is told first of an upload."""
        return eventually(lambda: self.heard(key), bool)[0]

    def rows(self, output: str) -> list[tuple[str, str, float | None]]:
        """Of all parts of a run, in order."""
        found = [self.read(uri).decode() for uri in self.uris(f"{output}data/")]
        rows = [row for part in found for row in csv.DictReader(io.StringIO(part))]
        return [(row["id"], row["rooms"], float(row["price"]) if row["price"] else None) for row in rows]

    def uris(self, prefix: str) -> list[str]:
        bucket, _, key = prefix.removeprefix("s3://").partition("/")
        listed = self.s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", ())
        return [f"s3://{bucket}/{each['Key']}" for each in listed]

    def read(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body: bytes = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def written(self, prefix: str) -> dict[str, int]:
        """How often each object of OURS below `prefix` has been written."""
        versions = self.s3.list_object_versions(Bucket=OURS, Prefix=prefix).get("Versions", ())
        keys = [each["Key"].removeprefix(prefix) for each in versions]
        return {key: keys.count(key) for key in keys}

    def run(self, started: Any) -> dict[str, Any]:
        """What a run came to."""
        *_, last = self.runs.follow(started)
        return dict(last.result)

    def _listen(self) -> str:
        """A queue that hears all that the deployment tells of data sets."""
        sqs, events = self.stack.cloud.client("sqs"), self.stack.cloud.client("events")
        url = str(sqs.create_queue(QueueName="told-of-data-sets")["QueueUrl"])
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="told-of-data-sets", EventPattern=json.dumps({"source": [f"serverless-onnx-{NAME}"]}))
        events.put_targets(Rule="told-of-data-sets", Targets=[{"Id": "queue", "Arn": arn}])
        return url

    def _heard(self) -> list[dict[str, Any]]:
        sqs = self.stack.cloud.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                event = json.loads(message["Body"])
                self._told.append({"kind": event["detail-type"], **event["detail"]})
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return self._told


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One shard at a time, so that a test can come in between."""
    folder = tmp_path_factory.mktemp("data-sets")
    settings: dict[str, Any] = {"name": NAME, "gpu": False, "data_set_concurrency": 1, "data_set_buckets": (OURS,)}
    with LocalStack(assembly(folder / "cdk.out", MODELS, **settings), NAME) as stack:
        yield World(stack, folder)


def test_an_upload_becomes_predictions_in_order(world):
    """Also the row that can't be scored keeps its place."""
    world.put("in/price/houses.csv")
    told = world.about("in/price/houses.csv")
    assert (told["kind"], told["rows"], told["bad"]) == ("Data Set Scored", 4, 1)
    assert told["output"] == f"s3://{world.bucket}/out/price/houses-{told['run']}/"
    assert world.rows(told["output"]) == PRICED
    (error,) = [json.loads(line) for line in world.read(told["errors"]).splitlines()]
    assert (error["row"], "many" in error["reason"] or "rooms" in error["reason"]) == (3, True)
    manifest = json.loads(world.read(told["manifest"]))
    assert (manifest["rows"], manifest["bad"], manifest["model"]) == (4, 1, "price")


def test_an_upload_that_is_told_twice_is_run_once(world):
    """As EventBridge may do; the second execution finds nothing to do."""
    world.put("in/price/once.csv")
    told = world.about("in/price/once.csv")
    machine, states = world.stack.outputs["DataSetMachine"], world.stack.cloud.client("stepfunctions")
    first = states.describe_execution(executionArn=told["execution"])
    again = states.start_execution(stateMachineArn=machine, name="told-again", input=first["input"])["executionArn"]
    ended = eventually(lambda: states.describe_execution(executionArn=again), lambda found: found["status"] != "RUNNING")
    assert (ended["status"], json.loads(ended["output"])["plan"]["nothing"]) == ("SUCCEEDED", "another execution has the run")
    assert len(world.heard("in/price/once.csv")) == 1


def test_the_marker_of_a_folder_is_no_data_set(world):
    world.put("in/price/", "")
    world.put("in/price/behind-it.csv")
    world.about("in/price/behind-it.csv")
    assert world.heard("in/price/") == []


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("in/garden/houses.csv", "no model 'garden' is served here"),
        ("in/houses.csv", "names no model; put it below in/NAME/"),
        ("in/price/houses.xlsx", "houses.xlsx"),
        ("in/price/columns.csv", "rooms"),
    ],
)
def test_an_upload_that_cant_be_run_is_told_at_once(world, key, reason):
    world.put(key, "id,floors\na,1\n" if "columns" in key else ROWS)
    told = world.about(key)
    assert told["kind"] == "Data Set Failed"
    assert reason in told["error"]
    states = world.stack.cloud.client("stepfunctions")
    ended = eventually(lambda: states.describe_execution(executionArn=told["execution"]), lambda found: found["status"] != "RUNNING")
    assert (ended["status"], ended["error"], ended["cause"]) == ("FAILED", "DataSetRefused", told["error"])


def test_a_folder_of_files_is_run_by_command(world, monkeypatch):
    """No upload starts what lies below sets/."""
    world.put("sets/folder/a.csv")
    world.put("sets/folder/b.csv")
    monkeypatch.setattr(batch, "find", lambda *_, **__: world.deployment)
    source, output = f"s3://{world.bucket}/sets/folder/", f"s3://{OURS}/priced/"
    ran = CliRunner().invoke(app, ["batch", "price", "--input", source, "--output", output, "--json"])
    assert ran.exit_code == 0, ran.output
    result = json.loads(ran.stdout)
    assert (result["rows"], result["bad"], result["manifest"]) == (8, 2, f"{output}manifest.json")
    assert world.rows(output) == PRICED * 2
    assert len([each for each in world.heard("sets/folder/") if each["kind"] == "Data Set Scored"]) == 1


def test_a_failing_shard_fails_the_run_and_says_why(world):
    """Its model's bytes are gone, which the plan has no need of."""
    versions = world.s3.list_object_versions(Bucket=world.stack.bucket, Prefix="models/broken/versions/")["Versions"]
    for each in versions:
        if each["Key"].endswith("model.onnx"):
            world.s3.delete_object(Bucket=world.stack.bucket, Key=each["Key"], VersionId=each["VersionId"])
    world.put("in/broken/houses.csv")
    told = world.about("in/broken/houses.csv")
    assert told["kind"] == "Data Set Failed"
    assert "models/broken/versions/" in told["error"]
    assert told["resume"] == f"modelctl batch --resume {told['run']}"


def test_a_resumed_run_scores_only_what_is_missing_and_by_the_same_version(world):
    """A file goes while the one before it is being scored, and comes back."""
    more = "".join(f"{number},{number % 7}\n" for number in range(400_000))
    files = {"a.csv": ROWS, "b.csv": f"id,rooms\n{more}", "c.csv": ROWS}
    for name, body in files.items():
        world.put(f"resumed/{name}", body, bucket=OURS)
    started = world.runs.start("moved", input_uri=f"s3://{OURS}/resumed/", output_uri=f"s3://{OURS}/out-resumed/")
    eventually(lambda: world.written("out-resumed/reports/"), bool)
    world.s3.delete_object(Bucket=OURS, Key="resumed/c.csv")
    with pytest.raises(DataSetFailed, match=r"c\.csv.* modelctl batch --resume"):
        world.run(started)
    world.put("resumed/c.csv", bucket=OURS)
    world.release(20, "moved")
    before = world.written("out-resumed/data/")

    result = world.run(world.runs.resume(started.run))

    assert before == {"part-00000.csv": 1, "part-00001.csv": 1}
    assert world.written("out-resumed/data/") == {**before, "part-00002.csv": 1}
    assert (result["run"], result["rows"], result["bad"]) == (started.run, 400_008, 2)
    found = world.rows(f"s3://{OURS}/out-resumed/")
    assert found[:4] == found[-4:] == PRICED
    assert [int(row[0]) for row in found[4:-4]] == list(range(400_000))
