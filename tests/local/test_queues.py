"""Queues reach functions as Lambda's event source mappings have it, by the template's own settings."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.dynamodb.models.table import Table
from moto.sqs.models import Message

from tests.local.polled import Function, a_mapping, a_queue, eventually, failing, polled, throttled
from tools.local import moto_queues
from tools.local.assembly import Stack
from tools.local.cloud import Cloud
from tools.local.environments import Answer, TooManyRequests
from tools.local.errors import LocalError
from tools.local.sources import sources

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")
PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as running:
        yield running


def send(cloud: Cloud, url: str, *bodies: str, group: str = "") -> None:
    sqs = cloud.client("sqs")
    for start in range(0, len(bodies), 10):
        grouped = {"MessageGroupId": group} if group else {}
        entries = [{"Id": str(number), "MessageBody": body, **grouped} for number, body in enumerate(bodies[start : start + 10])]
        assert not sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")


def arn(url: str) -> str:
    return f"arn:aws:sqs:us-east-1:123456789012:{url.rpartition('/')[2]}"


def left(cloud: Cloud, url: str) -> int:
    """Messages in a queue, visible and not; the two numbers are not of one moment, so that whoever is missed is seen at a second look."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    sqs = cloud.client("sqs")
    looks = (sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"] for _ in range(2))
    return max(sum(map(int, look.values())) for look in looks)


def received(record: dict[str, Any]) -> int:
    return int(record["attributes"]["ApproximateReceiveCount"])


def failed(*identifiers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": each} for each in identifiers]}


def test_a_record_is_what_lambda_makes_of_a_message(cloud: Cloud) -> None:
    function = Function()
    with polled(cloud, "Record", {**a_queue(), **a_mapping()}, function) as ids:
        cloud.client("sqs").send_message(
            QueueUrl=ids["Queue"],
            MessageBody="hello",
            MessageGroupId="quiet",
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "greeting"}},
        )
        eventually(lambda: function.calls)
        eventually(lambda: not left(cloud, ids["Queue"]))
    (record,) = function.records
    attributes = record.pop("attributes")
    assert (attributes["ApproximateReceiveCount"], attributes["MessageGroupId"]) == ("1", "quiet")
    assert abs(int(attributes["SentTimestamp"]) / 1000 - time.time()) < 30
    assert record.pop("messageId")
    assert record.pop("receiptHandle")
    assert record == {
        "body": "hello",
        "md5OfBody": hashlib.md5(b"hello", usedforsecurity=False).hexdigest(),
        "messageAttributes": {
            "kind": {"stringValue": "greeting", "stringListValues": [], "binaryListValues": [], "dataType": "String"},
        },
        "eventSource": "aws:sqs",
        "eventSourceARN": arn(ids["Queue"]),
        "awsRegion": "us-east-1",
    }


def test_a_batch_fills_up_to_its_size_while_the_window_is_open(cloud: Cloud) -> None:
    function = Function()
    with polled(
        cloud, "Window", {**a_queue(VisibilityTimeout=30), **a_mapping(BatchSize=15, MaximumBatchingWindowInSeconds=1)}, function
    ) as ids:
        send(cloud, ids["Queue"], *"abcdefghij")
        time.sleep(0.2)
        send(cloud, ids["Queue"], *"klmnopqrst")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert [len(call) for call in function.calls] == [15, 5]


def test_no_more_than_a_payload_takes_is_in_a_batch(cloud: Cloud) -> None:
    function = Function()
    with polled(cloud, "Large", {**a_queue(VisibilityTimeout=30), **a_mapping(MaximumBatchingWindowInSeconds=1)}, function) as ids:
        for _ in range(8):
            moto_queues.send(arn(ids["Queue"]), "x" * 900_000)
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert Counter(map(received, function.records)) == {1: 8}
    assert max(len(call) for call in function.calls) == 6


def test_only_what_failed_comes_back_after_the_visibility_timeout(cloud: Cloud) -> None:
    def answer(records: Any) -> Any:
        return failed(*[each["messageId"] for each in records if each["body"] == "bad" and received(each) == 1])

    function = Function(answer)
    with polled(cloud, "Partial", {**a_queue(), **a_mapping(**PARTIAL)}, function) as ids:
        began = time.monotonic()
        send(cloud, ids["Queue"], "good", "bad", "better")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert sorted(function.bodies) == ["bad", "bad", "better", "good"]
    assert [received(record) for record in function.records if record["body"] == "bad"] == [1, 2]
    assert time.monotonic() - began >= 1


def test_a_poison_message_is_dead_after_exactly_the_maximum_and_its_neighbours_are_done_once(cloud: Cloud) -> None:
    function = Function(lambda records: failed(*[each["messageId"] for each in records if each["body"] == "poison"]))
    with polled(cloud, "Poison", {**a_queue(), **a_mapping(**PARTIAL)}, function) as ids:
        send(cloud, ids["Queue"], "poison", *"123456789")
        eventually(lambda: left(cloud, ids["Dead"]))
        assert left(cloud, ids["Queue"]) == 0
    assert Counter(function.bodies) == {"poison": 2, **dict.fromkeys("123456789", 1)}
    (dead,) = cloud.client("sqs").receive_message(QueueUrl=ids["Dead"])["Messages"]
    assert dead["Body"] == "poison"


@pytest.mark.parametrize(
    "answer",
    [
        failing,
        lambda _: Answer(b"no JSON"),
        lambda _: failed(""),
        lambda _: failed(None),
        lambda _: failed("of no message"),
        lambda _: {"batchItemFailures": [{"id": "a"}]},
        lambda _: "text",
    ],
    ids=["error", "no JSON", "empty", "null", "unknown", "bad key", "text"],
)
def test_an_error_or_an_answer_that_cannot_be_read_deletes_nothing(cloud: Cloud, answer: Any, request: pytest.FixtureRequest) -> None:
    function = Function(answer)
    name = f"Malformed-{request.node.callspec.id.replace(' ', '-')}"
    with polled(cloud, name, {**a_queue(VisibilityTimeout=60), **a_mapping(**PARTIAL)}, function) as ids:
        send(cloud, ids["Queue"], "a", "b")
        eventually(lambda: len(function.records) == 2)
    assert left(cloud, ids["Queue"]) == 2


@pytest.mark.parametrize("answer", [None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
def test_an_answer_without_failures_deletes_all(cloud: Cloud, answer: Any, request: pytest.FixtureRequest) -> None:
    function = Function(lambda _: answer)
    name = f"Fine-{request.node.callspec.indices['answer']}"
    with polled(cloud, name, {**a_queue(), **a_mapping(**PARTIAL)}, function) as ids:
        send(cloud, ids["Queue"], "a", "b")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert sorted(function.bodies) == ["a", "b"]


def test_without_the_response_type_failures_are_not_asked_for(cloud: Cloud) -> None:
    function = Function(lambda records: failed(records[0]["messageId"]))
    with polled(cloud, "Whole", {**a_queue(), **a_mapping()}, function) as ids:
        send(cloud, ids["Queue"], "a")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert function.bodies == ["a"]


def test_as_many_batches_run_at_a_time_as_the_template_says(cloud: Cloud) -> None:
    function = Function(seconds=0.2)
    mapping = a_mapping(BatchSize=1, ScalingConfig={"MaximumConcurrency": 3})
    with polled(cloud, "Concurrency", {**a_queue(VisibilityTimeout=30), **mapping}, function) as ids:
        send(cloud, ids["Queue"], *"abcdefghi")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert (function.peak, len(function.calls)) == (3, 9)


def test_a_throttled_batch_is_tried_again_and_counts_as_received_once(cloud: Cloud) -> None:
    answers = [throttled, throttled]
    function = Function(lambda records: answers.pop()(records) if answers else None)
    with polled(cloud, "Throttled", {**a_queue(VisibilityTimeout=30), **a_mapping()}, function) as ids:
        send(cloud, ids["Queue"], "a")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert [received(record) for record in function.records] == [1, 1, 1]


def test_a_batch_that_is_throttled_for_too_long_comes_back(cloud: Cloud) -> None:
    def answer(records: Any) -> None:
        if received(records[0]) == 1:
            raise TooManyRequests

    function = Function(answer)
    with polled(cloud, "Busy", {**a_queue(), **a_mapping()}, function) as ids:
        send(cloud, ids["Queue"], "a")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert received(function.records[-1]) == 2


def test_a_quiet_group_is_served_before_the_rest_of_a_noisy_one(cloud: Cloud) -> None:
    function = Function(seconds=0.05)
    mapping = a_mapping(BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})
    with polled(cloud, "Fair", {**a_queue(VisibilityTimeout=30), **mapping}, function) as ids:
        send(cloud, ids["Queue"], *["noisy"] * 20, group="noisy")
        eventually(lambda: function.calls)
        send(cloud, ids["Queue"], "quiet", group="quiet")
        eventually(lambda: "quiet" in function.bodies)
        behind = function.bodies.index("quiet")
    assert behind <= 8


def test_what_the_filter_leaves_out_is_dropped(cloud: Cloud) -> None:
    function = Function()
    criteria = {"Filters": [{"Pattern": json.dumps({"body": {"kind": ["mine"]}})}]}
    with polled(cloud, "Filtered", {**a_queue(), **a_mapping(FilterCriteria=criteria)}, function) as ids:
        send(cloud, ids["Queue"], '{"kind": "yours"}', '{"kind": "mine"}', "text")
        eventually(lambda: not left(cloud, ids["Queue"]))
    assert function.bodies == ['{"kind": "mine"}']


def test_a_mapping_that_is_off_is_not_polled(cloud: Cloud) -> None:
    stack = Stack(name="Off", template={"Resources": {**a_queue(), **a_mapping(Enabled=False)}})
    cloud.create(stack)
    assert list(sources(stack, cloud.ids)) == []


def test_a_batch_size_that_cloudformation_refuses_is_refused(cloud: Cloud) -> None:
    stack = Stack(name="Refused", template={"Resources": {**a_queue(), **a_mapping(BatchSize=11)}})
    cloud.create(stack)
    with pytest.raises(LocalError, match="BatchSize 11"):
        list(sources(stack, cloud.ids))


def test_a_message_that_two_receive_at_once_is_one_of_them_only(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Message.mark_received

    def slowly(message: Message, *args: Any, **kwargs: Any) -> None:
        time.sleep(0.1)
        mark(message, *args, **kwargs)

    monkeypatch.setattr(Message, "mark_received", slowly)
    url = cloud.client("sqs").create_queue(QueueName="at-once")["QueueUrl"]
    send(cloud, url, "once")
    found: list[Message] = []
    at_once([lambda: found.extend(moto_queues.receive(arn(url), 1))] * 4)
    assert [message.body for message in found] == ["once"]


def test_of_many_conditional_writes_at_once_one_holds(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    look = Table.get_item

    def slowly(table: Table, *args: Any, **kwargs: Any) -> Any:
        found = look(table, *args, **kwargs)
        time.sleep(0.1)
        return found

    monkeypatch.setattr(Table, "get_item", slowly)
    dynamodb, key = cloud.client("dynamodb"), [{"AttributeName": "id", "KeyType": "HASH"}]
    attributes = [{"AttributeName": "id", "AttributeType": "S"}]
    dynamodb.create_table(TableName="once", KeySchema=key, AttributeDefinitions=attributes, BillingMode="PAY_PER_REQUEST")
    held: list[bool] = []

    def write() -> None:
        with suppress(ClientError):
            dynamodb.put_item(TableName="once", Item={"id": {"S": "a"}}, ConditionExpression="attribute_not_exists(id)")
            held.append(True)

    at_once([write] * 4)
    assert held == [True]


def at_once(calls: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_it_ends_at_once_while_a_function_is_busy(cloud: Cloud) -> None:
    function = Function(throttled)
    with polled(cloud, "Ending", {**a_queue(VisibilityTimeout=60), **a_mapping()}, function) as ids:
        send(cloud, ids["Queue"], "a")
        eventually(lambda: function.calls)
        began = time.monotonic()
    assert time.monotonic() - began < 1


def test_it_ends_quietly_when_its_queue_is_deleted(cloud: Cloud) -> None:
    """A thread's exception would fail the test."""
    with polled(cloud, "Deleted", {**a_queue(), **a_mapping()}, Function(throttled)) as ids:
        cloud.client("sqs").delete_queue(QueueUrl=ids["Queue"])
        eventually(lambda: not any(thread.name == ids["Queue"].rpartition("/")[2] for thread in threading.enumerate()))
