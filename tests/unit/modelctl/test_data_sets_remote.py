"""Runs of data sets on a deployment, as the command line starts and follows them."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tools.modelctl.data_sets_remote import DataSetFailed, DataSets, Progress, address
from tools.modelctl.deployment import Deployment, on_this_machine
from tools.modelctl.errors import UsageFailed

MACHINE = "arn:aws:states:us-east-1:123456789012:stateMachine:onnx-dev-data-sets"
RUN = "20261121T193000Z-0badcafe"


class States:
    """Step Functions with one machine; `shows` is what each look at an execution finds: status, shards done, shards in all.

    It stands for S3 too: there `claims` are the executions that have a run, by the run.
    """

    def __init__(self, *shows: tuple[str, int, int], **ended: str) -> None:
        self.started: list[dict[str, Any]] = []
        self.running: list[str] = []
        self.claims: dict[str, str] = {}
        self.described: list[str] = []
        self._shows = list(shows)
        self._ended = ended

    def start_execution(self, **asked: Any) -> dict[str, str]:
        self.started.append(asked | {"input": json.loads(asked["input"])})
        return {"executionArn": f"execution:{asked['name']}"}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        run = Key.removeprefix("work/").removesuffix("/claim.json")
        if Bucket != "data" or run not in self.claims:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(json.dumps({"execution": self.claims[run], "request": {}}).encode())}

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        self.described.append(executionArn)
        if not self._shows:
            raise ClientError({"Error": {"Code": "ExecutionDoesNotExist"}}, "DescribeExecution")
        self._shown = self._shows.pop(0)
        return {"status": self._shown[0], **(self._ended if not self._shows else {})}

    def list_map_runs(self, *, executionArn: str) -> dict[str, Any]:  # noqa: N803
        return {"mapRuns": [{"mapRunArn": "map"}] if self._shown[2] else []}

    def describe_map_run(self, *, mapRunArn: str) -> dict[str, Any]:  # noqa: N803
        _, done, total = self._shown
        return {"itemCounts": {"succeeded": done, "total": total}}

    def get_paginator(self, name: str) -> States:
        assert name == "list_executions"
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        assert asked == {"stateMachineArn": MACHINE, "statusFilter": "RUNNING"}
        return [{"executions": [{"name": name, "executionArn": f"execution:{name}"}]} for name in self.running]


def data_sets(states: States, monkeypatch: pytest.MonkeyPatch, **deployed: Any) -> DataSets:
    monkeypatch.setattr(Deployment, "client", lambda *_: states)
    deployment = replace(on_this_machine("http://127.0.0.1:9", "models", "us-east-1"), data_bucket="data", data_set_machine=MACHINE)
    return DataSets(replace(deployment, **deployed), clock=lambda: 1_795_289_400.0, sleep=lambda _: None)


def test_a_run_is_started_under_a_name_of_its_own(monkeypatch):
    states = States()
    started = data_sets(states, monkeypatch).start("price", input_uri="s3://data/in/price/", output_uri="s3://data/out/x/")
    (asked,) = states.started
    assert started.run.startswith("20261121T")
    assert asked["stateMachineArn"] == MACHINE
    assert asked["name"] == started.run
    assert asked["input"] == {"run": started.run, "model": "price", "input": "s3://data/in/price/", "output": "s3://data/out/x/"}


def test_without_an_output_the_predictions_go_below_the_deployments_own(monkeypatch):
    states = States()
    started = data_sets(states, monkeypatch).start(
        "price", input_uri="s3://data/in/", output_uri=None, columns={"rooms": ["r"]}, prefix="p_"
    )
    asked = states.started[0]["input"]
    assert (asked["output"], asked["columns"], asked["prefix"]) == (f"s3://data/out/price/{started.run}/", {"rooms": ["r"]}, "p_")


def test_it_is_followed_from_planning_to_its_end(monkeypatch):
    states = States(("RUNNING", 0, 0), ("RUNNING", 1, 4), ("SUCCEEDED", 4, 4), output='{"rows": 9}')
    runs = data_sets(states, monkeypatch)
    assert list(runs.follow(runs.start("price", input_uri="s3://data/in/", output_uri=None))) == [
        Progress(0, 0, {}),
        Progress(1, 4, {}),
        Progress(4, 4, {"rows": 9}),
    ]


@pytest.mark.parametrize(
    ("status", "ended", "reason"),
    [
        ("FAILED", {"error": "DataSetRefused", "cause": "no column 'rooms'"}, "no column 'rooms'"),
        ("FAILED", {"error": "States.Runtime"}, "States.Runtime"),
        ("ABORTED", {}, "its execution was aborted"),
        ("TIMED_OUT", {}, "its execution was timed out"),
    ],
)
def test_a_run_that_failed_says_why_and_how_to_go_on(monkeypatch, status, ended, reason):
    states = States((status, 1, 4), **ended)
    runs = data_sets(states, monkeypatch)
    started = runs.start("price", input_uri="s3://data/in/", output_uri=None)
    states.claims[started.run] = started.execution
    with pytest.raises(
        DataSetFailed, match=f"the run {started.run} failed: {reason}. What was scored is kept; .*: modelctl batch --resume {started.run}$"
    ):
        list(runs.follow(started))


def test_what_to_run_next_names_the_deployment(monkeypatch):
    states = States(("FAILED", 0, 0), cause="no")
    runs = data_sets(states, monkeypatch, name="dev", endpoint_url=None)
    started = runs.start("price", input_uri="s3://data/in/", output_uri=None)
    states.claims[started.run] = started.execution
    with pytest.raises(DataSetFailed, match=r"--resume \S+ --deployment dev$"):
        list(runs.follow(started))


def test_of_a_run_that_was_refused_there_is_nothing_to_go_on_with(monkeypatch):
    runs = data_sets(States(("FAILED", 0, 0), cause="no bucket of ours"), monkeypatch)
    started = runs.start("price", input_uri="s3://theirs/in/", output_uri=None)
    with pytest.raises(DataSetFailed, match=f"the run {started.run} failed: no bucket of ours$"):
        list(runs.follow(started))
    with pytest.raises(UsageFailed, match=f"there is no run '{started.run}' to go on with"):
        runs.resume(started.run)


@pytest.mark.parametrize("ended", ["FAILED", None])
def test_a_run_is_gone_on_with_by_an_execution_of_another_name(monkeypatch, ended):
    """Also of one that Step Functions has forgotten."""
    states = States(*([(ended, 0, 0)] if ended else []))
    states.claims[RUN] = "execution:first"
    started = data_sets(states, monkeypatch).resume(RUN)
    (asked,) = states.started
    assert asked["name"].startswith(f"{RUN}-resumed-")
    assert asked["input"] == {"resume": RUN}
    assert (started.run, states.described) == (RUN, ["execution:first"])


@pytest.mark.parametrize("name", [RUN, f"{RUN}-resumed-1234abcd"])
def test_a_run_that_is_under_way_is_followed(monkeypatch, name):
    states = States()
    states.running = ["another", name]
    started = data_sets(states, monkeypatch).resume(RUN)
    assert (started.execution, states.started) == (f"execution:{name}", [])


def test_a_run_of_an_upload_that_is_under_way_is_followed(monkeypatch):
    """EventBridge names its execution."""
    states = States(("RUNNING", 0, 0))
    states.running = ["54a6-event"]
    states.claims["0badcafe"] = "execution:54a6-event"
    started = data_sets(states, monkeypatch).resume("0badcafe")
    assert (started.execution, states.started) == ("execution:54a6-event", [])


@pytest.mark.parametrize("given", ["data.csv", "/data/in/", "s3:///in/", "https://data/in/"])
def test_a_path_of_this_machine_is_no_input_of_a_deployment(given):
    with pytest.raises(UsageFailed, match=r"--input .* is no address in S3.*add --local.*aws s3 cp .* s3://BUCKET/in/price/$"):
        address("--input", given, model="price")
    with pytest.raises(UsageFailed, match=r"--output .* is no address in S3.*expected s3://BUCKET/PATH$"):
        address("--output", given, model="price")
    assert address("--input", "s3://data/in/", model="price") == "s3://data/in/"


@pytest.mark.parametrize("missing", ["data_set_machine", "data_bucket"])
def test_a_deployment_without_data_sets_says_how_to_get_them(monkeypatch, missing):
    with pytest.raises(UsageFailed, match="local runs no data sets yet; run: make run"):
        data_sets(States(), monkeypatch, **{missing: None})
    with pytest.raises(UsageFailed, match=r"dev runs no data sets yet; run: cdk deploy 'dev/\*'"):
        data_sets(States(), monkeypatch, name="dev", endpoint_url=None, **{missing: None})
