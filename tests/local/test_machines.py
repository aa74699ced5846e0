"""State machines end as Step Functions has it where moto alone would not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.polled import eventually
from tools.local.assembly import Stack
from tools.local.cloud import Cloud

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")
TOO_MANY = "States.ExceedToleratedFailureThreshold"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as running:
        yield running


def a_map(**properties: Any) -> dict[str, Any]:
    """A Distributed Map over the input, whose items fail where they say so."""
    choose = {"Type": "Choice", "Choices": [{"Variable": "$.fails", "BooleanEquals": True, "Next": "Fails"}], "Default": "Fine"}
    states = {"Choose": choose, "Fails": {"Type": "Fail", "Error": "Bad"}, "Fine": {"Type": "Succeed"}}
    processor = {"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}, "StartAt": "Choose", "States": states}
    return {"Type": "Map", "ItemProcessor": processor, "ResultPath": None, "End": True, **properties}


def machine(cloud: Cloud, name: str, states: dict[str, Any]) -> str:
    """Its ARN, made through CloudFormation; the first state is `Map`."""
    definition = json.dumps({"StartAt": "Map", "States": states})
    properties = {"DefinitionString": definition, "RoleArn": "arn:aws:iam::123456789012:role/any"}
    cloud.create(
        Stack(name=name, template={"Resources": {"Machine": {"Type": "AWS::StepFunctions::StateMachine", "Properties": properties}}})
    )
    return cloud.ids[name, "Machine"]


def run(cloud: Cloud, arn: str, *fails: bool) -> dict[str, Any]:
    """What DescribeExecution answers at the end."""
    states = cloud.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=arn, input=json.dumps([{"fails": each} for each in fails]))["executionArn"]
    eventually(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING")
    return dict(states.describe_execution(executionArn=execution))


@pytest.mark.parametrize(
    ("tolerance", "fails", "status"),
    [
        ({}, (False, False), "SUCCEEDED"),
        ({}, (True, False), "FAILED"),
        ({"ToleratedFailureCount": 1}, (True, False), "SUCCEEDED"),
        ({"ToleratedFailureCount": 1}, (True, True), "FAILED"),
        ({"ToleratedFailurePercentage": 50}, (True, False), "SUCCEEDED"),
        ({"ToleratedFailurePercentage": 49}, (True, False), "FAILED"),
    ],
)
def test_a_map_fails_with_more_items_than_it_tolerates(
    cloud: Cloud, tolerance: dict[str, Any], fails: tuple[bool, ...], status: str, request: pytest.FixtureRequest
) -> None:
    arn = machine(cloud, f"Tolerance-{request.node.callspec.indices['tolerance']}", {"Map": a_map(**tolerance)})
    ended = run(cloud, arn, *fails)
    assert ended["status"] == status
    assert (ended.get("error") == TOO_MANY) == (status == "FAILED")


def test_a_failed_map_can_be_caught(cloud: Cloud) -> None:
    catch = [{"ErrorEquals": [TOO_MANY], "Next": "Caught", "ResultPath": None}]
    arn = machine(cloud, "Caught", {"Map": a_map(Catch=catch), "Caught": {"Type": "Pass", "Result": {"caught": True}, "End": True}})
    assert json.loads(run(cloud, arn, True)["output"]) == {"caught": True}


def test_executions_without_a_name_have_one_each(cloud: Cloud) -> None:
    arn = machine(cloud, "Named", {"Map": a_map()})
    assert run(cloud, arn)["name"] != run(cloud, arn)["name"]


def test_what_runs_is_aborted_when_its_cloud_ends_and_other_clouds_go_on(cloud: Cloud) -> None:
    with Cloud() as other:
        arn = machine(other, "Aborted", {"Map": {"Type": "Wait", "Seconds": 600, "End": True}})
        execution = other.client("stepfunctions").start_execution(stateMachineArn=arn)["executionArn"]
    assert cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"] == "ABORTED"
    listing = {"Type": "Task", "Resource": "arn:aws:states:::aws-sdk:s3:listBuckets", "ResultSelector": {"asked": True}, "End": True}
    assert run(cloud, machine(cloud, "Goes-on", {"Map": listing}))["status"] == "SUCCEEDED"
