"""Streams reach functions as Lambda's event source mappings have it: in order, cut in two, given up and told."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.polled import Function, a_mapping, eventually, failing, polled
from tools.local.cloud import Cloud

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")
PARTIAL: dict[str, Any] = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as running:
        yield running


def a_stream(shards: int = 1, **mapping: Any) -> dict[str, Any]:
    """A Kinesis stream, polled from its start, and a queue that is told of what was given up."""
    on_failure = {"OnFailure": {"Destination": {"Fn::GetAtt": ["Given", "Arn"]}}}
    return {
        "Given": {"Type": "AWS::SQS::Queue"},
        "Stream": {"Type": "AWS::Kinesis::Stream", "Properties": {"ShardCount": shards}},
        **a_mapping({"Fn::GetAtt": ["Stream", "Arn"]}, StartingPosition="TRIM_HORIZON", DestinationConfig=on_failure, **mapping),
    }


def put(cloud: Cloud, stream: str, *values: object, key: str = "key") -> None:
    records = [{"Data": json.dumps(value).encode(), "PartitionKey": key} for value in values]
    cloud.client("kinesis").put_records(StreamName=stream, Records=records)


def told(cloud: Cloud, queue: str) -> list[dict[str, Any]]:
    messages = cloud.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def value(record: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(record["kinesis"]["data"]))


def values(function: Function) -> list[list[Any]]:
    return [[value(record) for record in call] for call in list(function.calls)]


def failed(*identifiers: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


def test_a_record_is_what_lambda_makes_of_one_of_kinesis(cloud: Cloud) -> None:
    function = Function()
    with polled(cloud, "Kinesis", a_stream(), function) as ids:
        put(cloud, ids["Stream"], {"amount": 1}, key="card")
        eventually(lambda: function.calls)
    (record,) = function.records
    assert record["kinesis"].pop("approximateArrivalTimestamp") > 1.7e9
    data = base64.b64encode(b'{"amount": 1}').decode()
    assert record["kinesis"] == {"kinesisSchemaVersion": "1.0", "partitionKey": "card", "sequenceNumber": "1", "data": data}
    assert (record["eventID"], record["eventSource"]) == ("shardId-000000000000:1", "aws:kinesis")
    assert record["eventSourceARN"].endswith(f":stream/{ids['Stream']}")


def test_batches_come_in_order_and_a_failed_one_holds_up_its_shard(cloud: Cloud) -> None:
    answers = [None, failing()]
    function = Function(lambda _: answers.pop(0) if answers else None)
    with polled(cloud, "Order", a_stream(BatchSize=2, MaximumBatchingWindowInSeconds=1), function) as ids:
        put(cloud, ids["Stream"], 1, 2, 3, 4, 5)
        eventually(lambda: len(function.calls) == 4)
    assert values(function) == [[1, 2], [3, 4], [3, 4], [5]]


def test_each_shard_is_polled_by_itself(cloud: Cloud) -> None:
    function = Function(lambda records: failing() if records[0]["kinesis"]["partitionKey"] == "stuck" else None)
    with polled(cloud, "Shards", a_stream(shards=4), function) as ids:
        put(cloud, ids["Stream"], "bad", key="stuck")
        eventually(lambda: function.calls)
        put(cloud, ids["Stream"], "good", key="b")
        eventually(lambda: "good" in [value(record) for record in function.records])


def test_a_bad_record_is_found_by_bisection_and_given_up_after_its_retries(cloud: Cloud) -> None:
    function = Function(lambda records: failing() if "bad" in map(value, records) else None)
    resources = a_stream(BatchSize=4, MaximumBatchingWindowInSeconds=1, BisectBatchOnFunctionError=True, MaximumRetryAttempts=1)
    with polled(cloud, "Bisect", resources, function) as ids:
        put(cloud, ids["Stream"], "a", "b", "bad", "c")
        eventually(lambda: values(function)[-1:] == [["c"]])
        (given,) = told(cloud, ids["Given"])
    assert values(function) == [["a", "b", "bad", "c"], ["a", "b"], ["bad", "c"], ["bad"], ["bad"], ["c"]]
    assert given["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert given["requestContext"]["approximateInvokeCount"] == 2
    about = given["KinesisBatchInfo"]
    assert (about["startSequenceNumber"], about["endSequenceNumber"], about["batchSize"]) == ("3", "3", 1)


def test_from_the_first_record_that_failed_it_is_tried_again(cloud: Cloud) -> None:
    def answer(records: list[dict[str, Any]]) -> Any:
        sequences = [each["kinesis"]["sequenceNumber"] for each in records]
        return failed("4", "3") if "1" in sequences else None

    function = Function(answer)
    with polled(cloud, "Partly", a_stream(BatchSize=4, MaximumBatchingWindowInSeconds=1, **PARTIAL), function) as ids:
        put(cloud, ids["Stream"], 1, 2, 3, 4)
        eventually(lambda: len(function.calls) == 2)
    assert values(function) == [[1, 2, 3, 4], [3, 4]]


def test_what_is_too_old_is_given_up_without_a_try(cloud: Cloud) -> None:
    function = Function(failing)
    with polled(cloud, "Old", a_stream(MaximumRecordAgeInSeconds=0), function) as ids:
        put(cloud, ids["Stream"], 1)
        eventually(lambda: (given := told(cloud, ids["Given"])) and given[0]["requestContext"]["condition"] == "RecordAgeExceeded")
    assert function.calls == []


def test_filters_see_the_data(cloud: Cloud) -> None:
    function = Function()
    criteria = {"Filters": [{"Pattern": json.dumps({"data": {"amount": [{"numeric": [">", 100]}]}})}]}
    with polled(cloud, "Criteria", a_stream(FilterCriteria=criteria), function) as ids:
        put(cloud, ids["Stream"], {"amount": 5}, {"amount": 500}, "text")
        eventually(lambda: function.calls)
    assert values(function) == [[{"amount": 500}]]


def test_changes_of_a_table_come_as_lambda_makes_them_and_the_latest_only(cloud: Cloud) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"},
        },
    }
    function = Function()
    mapping = a_mapping({"Fn::GetAtt": ["Table", "StreamArn"]}, StartingPosition="LATEST", **PARTIAL)
    with polled(cloud, "Changes", {"Table": table, **mapping}, function) as ids:
        dynamodb = cloud.client("dynamodb")
        dynamodb.put_item(TableName=ids["Table"], Item={"id": {"S": "a"}, "n": {"N": "1"}})
        eventually(lambda: function.calls)
        dynamodb.delete_item(TableName=ids["Table"], Key={"id": {"S": "a"}})
        eventually(lambda: len(function.records) == 2)
    created, removed = function.records
    assert (created["eventName"], removed["eventName"]) == ("INSERT", "REMOVE")
    assert created["dynamodb"]["NewImage"] == removed["dynamodb"]["OldImage"] == {"id": {"S": "a"}, "n": {"N": "1"}}
    assert isinstance(created["dynamodb"]["ApproximateCreationDateTime"], int)
    assert created["eventSourceARN"].startswith("arn:aws:dynamodb:us-east-1:123456789012:table/")
