"""Where jobs wait: what a queue promises, when somebody hears of it, and who takes from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aws_cdk.assertions import Match

from stacks.settings import DEV, DeploymentSettings
from tests.stacks.factories import EVERYTHING, Templates, properties, text

pytestmark = pytest.mark.xdist_group("stacks")

PRIORITIES = ["high", "low"]
DAY = 86_400


def queues(templates: Templates) -> dict[str, dict[str, Any]]:
    """By name."""
    return {each["QueueName"]: each for each in properties(templates.batch, "AWS::SQS::Queue") if "QueueName" in each}


def queue(templates: Templates, priority: str, *, dead: bool = False) -> dict[str, Any]:
    return queues(templates)[f"onnx-dev-jobs-{priority}{'-dead' if dead else ''}"]


def logical_id(templates: Templates, name: str) -> str:
    (found,) = templates.batch.find_resources("AWS::SQS::Queue", {"Properties": {"QueueName": name}})
    return str(found)


def mapping(templates: Templates, priority: str) -> dict[str, Any]:
    """What takes messages from a queue."""
    source = {"Fn::GetAtt": [logical_id(templates, f"onnx-dev-jobs-{priority}"), "Arn"]}
    (found,) = properties(templates.batch, "AWS::Lambda::EventSourceMapping", with_={"EventSourceArn": source})
    return found


def worker(templates: Templates) -> dict[str, Any]:
    (found,) = properties(templates.batch, "AWS::Lambda::Function", with_={"Description": Match.string_like_regexp("^jobs: ")})
    return found


def alarms(templates: Templates, name: str) -> dict[str, dict[str, Any]]:
    """Of one queue, by metric."""
    of = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [logical_id(templates, name), "QueueName"]}}]
    return {each["MetricName"]: each for each in properties(templates.batch, "AWS::CloudWatch::Alarm", with_={"Dimensions": of})}


def test_the_settings_name_the_queues(dev):
    """Who sends jobs finds them by it; no stack imports anything of this one."""
    assert {DEV.queue_name(each) for each in PRIORITIES} <= queues(dev).keys()
    assert not [name for name, output in dev.batch.to_json()["Outputs"].items() if "Export" in output]


@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_queue_is_a_standard_one(dev, priority):
    """It is fair between groups of messages; a FIFO one would let the jobs of a group through one after another."""
    assert not queue(dev, priority).keys() & {"FifoQueue", "FifoThroughputLimit", "DelaySeconds"}


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("dead", [False, True])
def test_messages_are_encrypted_and_nobody_needs_a_key_for_them(dev, priority, dead):
    assert queue(dev, priority, dead=dead)["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize("priority", PRIORITIES)
@pytest.mark.parametrize("dead", ["", "-dead"])
def test_messages_travel_over_tls_only(dev, priority, dead):
    ref = {"Ref": logical_id(dev, f"onnx-dev-jobs-{priority}{dead}")}
    (policy,) = properties(dev.batch, "AWS::SQS::QueuePolicy", with_={"Queues": [ref]})
    (refusal,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Deny"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert (refusal["Principal"], refusal["Action"]) == ({"AWS": "*"}, "sqs:*")


@pytest.mark.parametrize("timeout", [15, 120, 900])
@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_message_is_out_of_sight_for_six_times_as_long_as_its_function_may_run(synthesized, priority, timeout):
    """And for as long as a batch may wait to be filled besides, as AWS advises."""
    templates = synthesized(replace(DEV, job_timeout=timeout))
    visible = queue(templates, priority)["VisibilityTimeout"]
    assert worker(templates)["Timeout"] == timeout
    assert visible == 6 * timeout + mapping(templates, priority).get("MaximumBatchingWindowInSeconds", 0)


@pytest.mark.parametrize("priority", PRIORITIES)
def test_what_was_tried_too_often_is_kept_beside_the_queue(changed, priority):
    dead = logical_id(changed, f"onnx-dev-jobs-{priority}-dead")
    redrive = queue(changed, priority)["RedrivePolicy"]
    assert redrive == {"deadLetterTargetArn": {"Fn::GetAtt": [dead, "Arn"]}, "maxReceiveCount": 3}


@pytest.mark.parametrize("priority", PRIORITIES)
def test_only_its_own_queue_may_use_a_dead_letter_queue(dev, priority):
    allowed = queue(dev, priority, dead=True)["RedriveAllowPolicy"]
    assert allowed["redrivePermission"] == "byQueue"
    (source,) = allowed["sourceQueueArns"]
    assert text(source).endswith(f":sqs:<AWS::Region>:<AWS::AccountId>:onnx-dev-jobs-{priority}")


@pytest.mark.parametrize("priority", PRIORITIES)
def test_dead_letters_are_kept_for_longer_than_jobs(dev, priority):
    """A message keeps the age that it had."""
    kept = [queue(dev, priority, dead=dead)["MessageRetentionPeriod"] for dead in (False, True)]
    assert kept == [4 * DAY, 14 * DAY]


@pytest.mark.parametrize(("priority", "most"), [("high", 7), ("low", 3)])
def test_jobs_leave_the_api_its_concurrency(changed, priority, most):
    assert mapping(changed, priority)["ScalingConfig"] == {"MaximumConcurrency": most}


@pytest.mark.parametrize("priority", PRIORITIES)
def test_of_a_batch_only_what_failed_is_delivered_again(changed, priority):
    found = mapping(changed, priority)
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert found["BatchSize"] == 4


def test_only_low_priority_waits_for_a_batch_to_be_filled(dev):
    assert [mapping(dev, each).get("MaximumBatchingWindowInSeconds", 0) for each in PRIORITIES] == [0, 1]


@pytest.mark.parametrize("priority", PRIORITIES)
def test_rules_of_the_deployment_may_send_and_nobody_else_is_let_in(dev, priority):
    """A function that sends jobs may by its own role."""
    name = logical_id(dev, f"onnx-dev-jobs-{priority}")
    (policy,) = properties(dev.batch, "AWS::SQS::QueuePolicy", with_={"Queues": [{"Ref": name}]})
    (allowed,) = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert allowed["Principal"] == {"Service": "events.amazonaws.com"}
    assert (allowed["Action"], allowed["Resource"]) == ("sqs:SendMessage", {"Fn::GetAtt": [name, "Arn"]})
    assert allowed["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    rules = [text(each).partition(":rule/")[2] for each in allowed["Condition"]["ArnLike"]["aws:SourceArn"]]
    assert rules == ["onnx-dev-*", "*/onnx-dev-*"]
    assert DEV.rule_name("payments") == "onnx-dev-payments"


@pytest.mark.parametrize(("priority", "minutes"), [("high", 24), ("low", 240)])
def test_somebody_hears_of_a_job_that_waits_for_too_long(dev, priority, minutes):
    found = alarms(dev, f"onnx-dev-jobs-{priority}")["ApproximateAgeOfOldestMessage"]
    assert (found["Namespace"], found["Statistic"], found["ComparisonOperator"]) == ("AWS/SQS", "Maximum", "GreaterThanOrEqualToThreshold")
    assert round(found["Threshold"] / 60) == minutes
    assert found["TreatMissingData"] == "notBreaching"
    assert f"{priority} priority has waited for {minutes} minutes" in found["AlarmDescription"]


@pytest.mark.parametrize("timeout", [15, 900])
@pytest.mark.parametrize("priority", PRIORITIES)
def test_a_job_that_is_tried_once_more_is_not_late(synthesized, priority, timeout):
    templates = synthesized(replace(DEV, job_timeout=timeout))
    late = alarms(templates, f"onnx-dev-jobs-{priority}")["ApproximateAgeOfOldestMessage"]["Threshold"]
    assert queue(templates, priority)["VisibilityTimeout"] < late < 4 * DAY


@pytest.mark.parametrize("priority", PRIORITIES)
def test_one_dead_letter_rings(dev, priority):
    found = alarms(dev, f"onnx-dev-jobs-{priority}-dead")["ApproximateNumberOfMessagesVisible"]
    assert (found["Statistic"], found["Threshold"], found["ComparisonOperator"]) == ("Maximum", 1, "GreaterThanOrEqualToThreshold")
    assert found["EvaluationPeriods"] == 1
    assert "modelctl dlq list --deployment dev" in found["AlarmDescription"]


def test_alarms_of_queues_reach_the_topic_of_the_settings(changed):
    found = properties(changed.batch, "AWS::CloudWatch::Alarm")
    assert len(found) >= 4
    assert all(each["AlarmActions"] == [EVERYTHING.alarm_topic_arn] for each in found)


@pytest.mark.parametrize("name", ["HighQueueUrl", "LowQueueUrl", "HighDeadQueueUrl", "LowDeadQueueUrl"])
def test_modelctl_finds_the_queues(dev, name):
    kind = f"onnx-dev-jobs-{'high' if 'High' in name else 'low'}{'-dead' if 'Dead' in name else ''}"
    dev.batch.has_output(name, {"Value": {"Ref": logical_id(dev, kind)}})


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("high_concurrency", 1, "high_concurrency of dev is 1; Lambda takes 2 to 1,000"),
        ("low_concurrency", 1001, "low_concurrency of dev is 1,001; Lambda takes 2 to 1,000"),
        ("job_memory", 64, "job_memory of dev is 64; Lambda takes 128 to 10,240"),
        (
            "job_timeout",
            14,
            "job_timeout of dev is 14; Lambda, of which a batch keeps some seconds to begin and to tell of its jobs, takes 15 to 900",
        ),
        ("data_set_timeout", 0, "data_set_timeout of dev is 0; Lambda takes 1 to 900"),
        ("job_batch_size", 11, "job_batch_size of dev is 11; SQS, where no batching window fills more, takes 1 to 10"),
        ("job_attempts", 2, "job_attempts of dev is 2; who tells a job that can't be done from its neighbours takes 3 to 1,000"),
        (
            "upload_megabytes",
            377,
            "upload_megabytes of dev is 377; with job_memory = 3008 it is from 1 to 376, so .* fit the function",
        ),
        ("data_set_concurrency", 10_001, "data_set_concurrency of dev is 10,001; a Distributed Map takes 1 to 10,000"),
    ],
)
def test_what_no_service_takes_is_refused_with_what_it_takes(setting, value, told):
    with pytest.raises(ValueError, match=f"^{told}$"):
        DeploymentSettings(name="dev", **{setting: value})
