"""Events reach queues, functions and state machines by the rules of a template, down to the real function processes."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.local.factories import a_stack, a_zip_function, write_assembly
from tests.local.polled import a_mapping, a_queue, eventually
from tools.local.stack import LocalStack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")
SOURCE = "test.rules"
CODE = dedent("""
    import os

    def handler(event, context):
        if event.get("do") == "raise":
            raise ValueError("boom")
        if "Records" in event:
            import boto3
            for record in event["Records"]:
                if record["body"].startswith("{"):
                    boto3.client("sqs").send_message(QueueUrl=os.environ["ANSWERS"], MessageBody=record["body"])
            return {"batchItemFailures": []}
        if event.get("do") == "presign":
            import boto3
            return boto3.client("s3").generate_presigned_url("put_object", Params={"Bucket": event["bucket"], "Key": "presigned"})
        return {"name": os.environ["AWS_LAMBDA_FUNCTION_NAME"], "event": event}
""")


def arn(logical_id: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [logical_id, "Arn"]}


def a_rule(target: object, *, pattern: dict[str, Any] | None = None, detail_type: str = "", **more: Any) -> dict[str, Any]:
    pattern = pattern or {"source": [SOURCE], "detail-type": [detail_type]}
    return {"Type": "AWS::Events::Rule", "Properties": {"EventPattern": pattern, "Targets": [{"Id": "one", "Arn": target, **more}]}}


def a_machine() -> dict[str, Any]:
    """A Distributed Map over the list in an object, an item a task."""
    task = {
        "Type": "Task",
        "Resource": "arn:aws:states:::lambda:invoke",
        "Parameters": {"FunctionName": "${function}", "Payload.$": "$"},
        "OutputPath": "$.Payload.event",
        "End": True,
    }
    reader = {
        "Resource": "arn:aws:states:::s3:getObject",
        "ReaderConfig": {"InputType": "JSON"},
        "Parameters": {"Bucket.$": "$.bucket", "Key.$": "$.key"},
    }
    map_state = {
        "Type": "Map",
        "ItemReader": reader,
        "MaxConcurrency": 2,
        "ToleratedFailurePercentage": 50,
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            "StartAt": "One",
            "States": {"One": task},
        },
        "End": True,
    }
    definition = json.dumps({"StartAt": "All", "States": {"All": map_state}})
    before, after = definition.split("${function}")
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {"DefinitionString": {"Fn::Join": ["", [before, arn("Tiny"), after]]}, "RoleArn": arn("Role")},
    }


RESOURCES = {
    **a_queue(VisibilityTimeout=60),
    **a_mapping(FunctionName={"Ref": "Tiny"}, FunctionResponseTypes=["ReportBatchItemFailures"]),
    "Answers": {"Type": "AWS::SQS::Queue"},
    "Undelivered": {"Type": "AWS::SQS::Queue"},
    "Failures": {"Type": "AWS::SQS::Queue"},
    "Tiny": {"Type": "AWS::Lambda::Function", "Properties": a_zip_function(Environment={"Variables": {"ANSWERS": {"Ref": "Answers"}}})},
    "Retries": {
        "Type": "AWS::Lambda::EventInvokeConfig",
        "Properties": {
            "FunctionName": {"Ref": "Tiny"},
            "Qualifier": "$LATEST",
            "MaximumRetryAttempts": 1,
            "DestinationConfig": {"OnFailure": {"Destination": arn("Failures")}},
        },
    },
    "Bucket": {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "VersioningConfiguration": {"Status": "Enabled"},
            "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}},
        },
    },
    "Machine": a_machine(),
    "ToMachine": a_rule(
        {"Ref": "Machine"},
        pattern={"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": {"object": {"key": [{"prefix": "in/"}]}}},
        RoleArn=arn("Role"),
        InputTransformer={
            "InputPathsMap": {"bucket": "$.detail.bucket.name", "key": "$.detail.object.key"},
            "InputTemplate": '{"bucket": <bucket>, "key": <key>}',
        },
    ),
    "Watch": a_rule(arn("Answers"), pattern={"source": ["aws.s3"], "detail": {"object": {"key": [{"prefix": "watched"}]}}}),
    "ToQueue": a_rule(
        arn("Queue"),
        detail_type="queue",
        SqsParameters={"MessageGroupId": "events"},
        InputTransformer={"InputPathsMap": {"n": "$.detail.n"}, "InputTemplate": '{"n": <n>, "rule": "<aws.events.rule-name>"}'},
    ),
    "ToFunction": a_rule(arn("Tiny"), detail_type="function", InputPath="$.detail"),
    "ToNobody": a_rule(
        "arn:aws:lambda:us-east-1:123456789012:function:nobody", detail_type="nobody", DeadLetterConfig={"Arn": arn("Undelivered")}
    ),
    "Off": {**a_rule(arn("Answers"), detail_type="queue")},
    "Nightly": {
        "Type": "AWS::Events::Rule",
        "Properties": {"ScheduleExpression": "rate(1 day)", "Targets": [{"Id": "one", "Arn": arn("Answers")}]},
    },
}
RESOURCES["Off"]["Properties"]["State"] = "DISABLED"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    cdk_out = write_assembly(tmp_path_factory.mktemp("events") / "cdk.out", a_stack("Events-dev", **RESOURCES), code=CODE)
    with LocalStack(cdk_out, build=tmp_path_factory.mktemp("build"), retry_seconds=(0.1,)) as stack:
        yield stack


def put(stack: LocalStack, detail_type: str, detail: dict[str, Any]) -> None:
    entry = {"Source": SOURCE, "DetailType": detail_type, "Detail": json.dumps(detail)}
    assert stack.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def received(stack: LocalStack, logical_id: str, *, seconds: float = 8) -> dict[str, Any]:
    """The only message of a queue, which is deleted."""
    sqs, url = stack.cloud.client("sqs"), stack.cloud.ids["Events-dev", logical_id]
    found: list[Any] = []
    ends = time.monotonic() + seconds
    while not found and time.monotonic() < ends:
        found = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1, MessageAttributeNames=["All"]).get("Messages", [])
    (message,) = found
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return dict(message)


def test_an_event_goes_through_a_template_and_a_queue_to_a_process_that_sends_on(events: LocalStack) -> None:
    put(events, "queue", {"n": 7})
    body = json.loads(received(events, "Answers")["Body"])
    assert body == {"n": 7, "rule": events.cloud.ids["Events-dev", "ToQueue"]}


def test_an_object_starts_a_machine_whose_map_asks_real_processes(events: LocalStack) -> None:
    s3, states = events.cloud.client("s3"), events.cloud.client("stepfunctions")
    s3.put_object(Bucket=events.bucket, Key="in/some list.json", Body=json.dumps([{"shard": number} for number in range(3)]))
    machine = events.cloud.ids["Events-dev", "Machine"]
    eventually(lambda: states.list_executions(stateMachineArn=machine)["executions"])
    (execution,) = states.list_executions(stateMachineArn=machine)["executions"]
    eventually(lambda: states.describe_execution(executionArn=execution["executionArn"])["status"] != "RUNNING", seconds=15)
    described = states.describe_execution(executionArn=execution["executionArn"])
    assert (described["status"], json.loads(described["output"])) == ("SUCCEEDED", [{"shard": 0}, {"shard": 1}, {"shard": 2}])


def test_an_object_is_told_as_s3_tells_it(events: LocalStack) -> None:
    s3 = events.cloud.client("s3")
    version = s3.put_object(Bucket=events.bucket, Key="watched/a b+c.csv", Body=b"1,2\n")["VersionId"]
    event = json.loads(received(events, "Answers")["Body"])
    assert (event["source"], event["detail-type"], event["resources"]) == ("aws.s3", "Object Created", [f"arn:aws:s3:::{events.bucket}"])
    assert time.strptime(event["time"], "%Y-%m-%dT%H:%M:%SZ")
    assert uuid.UUID(event["id"])
    assert "ingestion-time" not in event
    about = event["detail"]["object"]
    sequencer = about.pop("sequencer")
    etag = hashlib.md5(b"1,2\n", usedforsecurity=False).hexdigest()
    assert about == {"key": "watched/a b+c.csv", "size": 4, "etag": etag, "version-id": version}
    assert event["detail"]["reason"] == "PutObject"

    upload = s3.create_multipart_upload(Bucket=events.bucket, Key="watched")["UploadId"]
    where = {"Bucket": events.bucket, "Key": "watched", "UploadId": upload}
    part = s3.upload_part(**where, PartNumber=1, Body=b"x")["ETag"]
    s3.complete_multipart_upload(**where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
    event = json.loads(received(events, "Answers")["Body"])
    assert event["detail"]["reason"] == "CompleteMultipartUpload"
    assert event["detail"]["object"]["sequencer"] > sequencer

    s3.delete_object(Bucket=events.bucket, Key="watched/a b+c.csv", VersionId=version)
    event = json.loads(received(events, "Answers")["Body"])
    assert (event["detail-type"], event["detail"]["deletion-type"]) == ("Object Deleted", "Permanently Deleted")


def test_a_function_that_fails_is_tried_again_and_told_of(events: LocalStack) -> None:
    put(events, "function", {"do": "raise"})
    record = json.loads(received(events, "Failures")["Body"])
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert (record["requestPayload"], record["responsePayload"]["errorType"]) == ({"do": "raise"}, "ValueError")


def test_the_invoke_api_accepts_at_once_and_tries_again(events: LocalStack) -> None:
    (name,) = events.environments
    answer = events.cloud.client("lambda").invoke(FunctionName=name, Payload=b'{"do": "raise"}', InvocationType="Event")
    assert answer["StatusCode"] == 202
    assert json.loads(received(events, "Failures")["Body"])["requestContext"]["approximateInvokeCount"] == 2


def test_what_cannot_be_delivered_is_in_the_targets_own_queue(events: LocalStack) -> None:
    put(events, "nobody", {"n": 1})
    message = received(events, "Undelivered")
    assert json.loads(message["Body"])["detail"] == {"n": 1}
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["TARGET_ARN"].endswith(":function:nobody")
    assert "has no process" in attributes["ERROR_MESSAGE"]


def test_an_address_that_a_function_signed_works_from_outside(events: LocalStack) -> None:
    (name,) = events.environments
    payload = json.dumps({"do": "presign", "bucket": events.bucket})
    url = json.load(events.cloud.client("lambda").invoke(FunctionName=name, Payload=payload)["Payload"])
    assert url.startswith(f"{events.endpoint_url}/")
    with urllib.request.urlopen(urllib.request.Request(url, b"body", method="PUT"), timeout=20):
        pass
    assert events.cloud.client("s3").get_object(Bucket=events.bucket, Key="presigned")["Body"].read() == b"body"


def test_all_of_it_ends_quietly_and_at_once(tmp_path: Path) -> None:
    threads = set(threading.enumerate())
    cdk_out = write_assembly(tmp_path / "cdk.out", a_stack("Brief-dev", **RESOURCES), code=CODE)
    with LocalStack(cdk_out, build=tmp_path / "build", retry_seconds=(60,)) as stack:
        stack.cloud.client("s3").put_object(Bucket=stack.bucket, Key="in/list.json", Body=b"[{}]")
        put(stack, "function", {"do": "raise"})
        put(stack, "queue", {"n": 1})
        began = time.monotonic()
    assert time.monotonic() - began < 5
    eventually(lambda: not {each for each in threading.enumerate() if each not in threads and "_watch_memory" not in each.name})
