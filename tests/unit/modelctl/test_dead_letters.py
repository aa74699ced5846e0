"""Dead letters are shown without being taken, and go back to their queue whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from tests.unit.modelctl.factories import deploy
from tools.modelctl import console, dead_letters
from tools.modelctl.cli import app
from tools.modelctl.dead_letters import DeadLetters

JOB = "0123456789abcdef" * 2


class World:
    """Two queues of jobs, their dead-letter queues, and the table of jobs."""

    def __init__(self) -> None:
        self.sqs: Any = boto3.client("sqs")
        self.dynamodb: Any = boto3.client("dynamodb")
        self.dynamodb.create_table(
            TableName="jobs",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.urls = {
            name: self.sqs.create_queue(QueueName=f"onnx-dev-jobs-{name}")["QueueUrl"] for name in ("high", "low", "high-dead", "low-dead")
        }

    def letters(self, priority: str) -> DeadLetters:
        return DeadLetters(self.sqs, priority=priority, url=self.urls[f"{priority}-dead"], queue_url=self.urls[priority])

    def bury(self, priority: str, *, job: str = JOB, model: str = "fruit", client: str = "shop", body: str | None = None) -> None:
        body = json.dumps({"job": job, "client": client, "model": model}) if body is None else body
        self.sqs.send_message(QueueUrl=self.urls[f"{priority}-dead"], MessageBody=body, MessageGroupId=client)

    def waiting(self, name: str) -> list[dict[str, Any]]:
        answer = self.sqs.receive_message(
            QueueUrl=self.urls[name], MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(console.out, "width", 240)
    monkeypatch.setenv("MODELCTL_DEPLOYMENT", "dev")
    monkeypatch.setattr(dead_letters, "_WAIT_SECONDS", 0)
    with mock_aws():
        found = World()
        deploy("Store", {"ModelBucket": "store-bucket", "JobTable": "jobs"})
        named = {f"{part}QueueUrl": found.urls[name] for part, name in (("High", "high"), ("Low", "low"))}
        deploy("Batch", named | {f"{name.title()}DeadQueueUrl": found.urls[f"{name}-dead"] for name in ("high", "low")})
        yield found


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["dlq", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_list_tells_what_failed_and_takes_nothing_away(world: World) -> None:
    world.bury("low")
    world.dynamodb.put_item(TableName="jobs", Item={"id": {"S": JOB}, "error": {"S": "gave up after 5 attempts"}})
    shown = run("list").stdout

    assert all(word in shown for word in (JOB, "low", "fruit", "shop", "gave up after 5 attempts"))
    assert shown.rstrip().endswith("modelctl dlq redrive --deployment dev")
    assert len(world.waiting("low-dead")) == 1


def test_list_for_a_program(world: World) -> None:
    world.bury("high", client="lab")
    (document,) = json.loads(run("list", "--json").stdout)

    assert {name: document[name] for name in ("priority", "id", "model", "client", "error")} == {
        "priority": "high",
        "id": JOB,
        "model": "fruit",
        "client": "lab",
        "error": None,
    }


def test_without_dead_letters_it_says_so(world: World) -> None:
    assert "no job of dev waits" in run("list").stdout
    assert "nothing to send back" in run("redrive").stdout


@pytest.mark.parametrize("body", ["no JSON", "[]", '{"job": 1}', ""])
def test_what_nobody_can_read_is_shown_and_sent_back_as_it_is(world: World, body: str) -> None:
    world.bury("low", body=body or " ")
    assert "low" in run("list").stdout
    run("redrive")

    assert [message["Body"] for message in world.waiting("low")] == [body or " "]


def test_redrive_sends_everything_back_with_its_group(world: World) -> None:
    for number in range(23):
        world.bury("low", job=f"{number:032x}", client=f"client-{number % 2}")
    world.bury("high")
    assert "Sent back: 24" in run("redrive").stdout

    assert world.letters("low").count() == world.letters("high").count() == 0
    (message,) = world.waiting("high")
    assert message["Attributes"]["MessageGroupId"] == "shop"
    assert json.loads(message["Body"])["job"] == JOB


def test_redrive_of_one_model_leaves_the_others(world: World) -> None:
    world.bury("low", model="fruit")
    world.bury("low", model="tumour")
    run("redrive", "--model", "tumour")

    assert [json.loads(message["Body"])["model"] for message in world.waiting("low")] == ["tumour"]
    assert [json.loads(message["Body"])["model"] for message in world.waiting("low-dead")] == ["fruit"]


def test_redrive_of_a_job_that_is_not_there_says_so(world: World) -> None:
    world.bury("low")

    assert f"no dead letter of dev is of job {'f' * 32}" in run("redrive", "--job", "f" * 32, code=1).stderr
    assert len(world.waiting("low-dead")) == 1


def test_what_the_queue_refuses_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        world.bury("low", job=f"{number:032x}")
    send = world.sqs.send_message_batch

    def refusing(*, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - SQS's names
        return {**send(QueueUrl=QueueUrl, Entries=Entries[1:]), "Failed": [{"Id": Entries[0]["Id"]}]}

    monkeypatch.setattr(world.sqs, "send_message_batch", refusing)
    letters = world.letters("low")
    assert letters.redrive(lambda _: True) == 2

    assert len(world.waiting("low-dead")) == 1
    assert len(world.waiting("low")) == 2


def test_interrupted_after_sending_a_letter_is_in_both_queues_and_in_none_it_is_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.bury("low")

    def interrupted(**_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(world.sqs, "delete_message_batch", interrupted)
    letters = world.letters("low")
    with pytest.raises(KeyboardInterrupt):
        letters.redrive(lambda _: True)

    assert len(world.waiting("low")) == len(world.waiting("low-dead")) == 1


def test_letters_that_come_back_while_others_are_looked_at_are_told_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when looking takes longer than they are held."""
    monkeypatch.setattr(dead_letters, "_HELD_SECONDS", 0)
    for number in range(4):
        world.bury("low", job=f"{number:032x}")

    assert len({each.id for each in world.letters("low").look(100)}) == len(world.letters("low").look(100)) == 4
    assert world.letters("low").redrive(lambda each: each.id != f"{0:032x}") == 3
    assert world.letters("low").count() == 1


def test_list_shows_no_more_than_asked_and_how_many_there_are(world: World) -> None:
    for number in range(5):
        world.bury("low", job=f"{number:032x}")
    shown = run("list", "--most", "2")

    assert shown.stdout.count("fruit") == 2
    assert "5 wait there in all" in shown.stderr


def test_a_deployment_without_queues_is_told_what_to_deploy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCTL_DEPLOYMENT", "dev")
    with mock_aws():
        deploy("Store", {"ModelBucket": "store-bucket"})
        assert "cdk deploy 'dev/*'" in run("list", code=1).stderr
