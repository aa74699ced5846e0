"""How data sets are run: the states, what each role may do, and what starts them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stacks.settings import DEV
from tests.stacks.factories import EVERYTHING, Templates, a_model, properties, statements, text

pytestmark = pytest.mark.xdist_group("stacks")

MACHINE = "arn:<AWS::Partition>:states:<AWS::Region>:<AWS::AccountId>:stateMachine:onnx-dev-data-sets"
STEPS = ("plan", "shard", "finish")


@pytest.fixture(scope="module")
def larger(synthesized):
    return synthesized(
        replace(
            DEV,
            alarm_topic_arn=EVERYTHING.alarm_topic_arn,
            data_set_concurrency=500,
            data_set_timeout=300,
            data_set_shard_megabytes=96,
            data_set_buckets=("ours",),
        ),
        a_model(),
    )


def machine(templates: Templates) -> dict[str, Any]:
    (found,) = properties(templates.batch, "AWS::StepFunctions::StateMachine")
    return found


def definition(templates: Templates) -> dict[str, Any]:
    """With every reference as `<its name>`."""
    found: dict[str, Any] = json.loads(text(machine(templates)["DefinitionString"]))
    return found


def states(templates: Templates) -> dict[str, Any]:
    return {**definition(templates)["States"], **definition(templates)["States"]["Score"]["ItemProcessor"]["States"]}


def calls(templates: Templates) -> dict[str, Any]:
    """The states that call a function."""
    return {name: each for name, each in states(templates).items() if each["Type"] == "Task" and ":aws-sdk:" not in each["Resource"]}


def function(templates: Templates, step: str) -> dict[str, Any]:
    found = properties(templates.batch, "AWS::Lambda::Function", with_={"ImageConfig": {"Command": [f"functions.batch.{step}.handler"]}})
    (only,) = found
    return only


def allowed(templates: Templates, reference: Any) -> list[tuple[list[str], list[str], Any]]:
    """Actions, resources and condition of the role that `reference` names."""
    role = templates.batch.to_json()["Resources"][reference["Fn::GetAtt"][0]]["Properties"]
    return [(each["Action"], [text(resource) for resource in each["Resource"]], each.get("Condition")) for each in statements(role)]


def on_data(templates: Templates, step: str) -> dict[str, list[str]]:
    """Keys that a step's function may read or write in the bucket of data sets, by action."""
    found = allowed(templates, function(templates, step)["Role"])
    return {
        action: [resource.partition(">/")[2] for resource in resources]
        for actions, resources, _ in found
        for action in actions
        if action in {"s3:GetObject", "s3:PutObject"} and any("storedata" in resource for resource in resources)
    }


def test_a_plan_is_walked_by_a_distributed_map_and_ended(dev):
    found = definition(dev)
    assert found["StartAt"] == "Plan"
    (taken,) = found["States"]["Is there something to do?"]["Choices"]
    assert (taken["Next"], found["States"]["Score"]["Next"], found["States"]["Finish"]["End"]) == ("Score", "Finish", True)


def test_each_shard_has_an_execution_that_may_take_fifteen_minutes(dev):
    """An Express one ends after five."""
    config = states(dev)["Score"]["ItemProcessor"]["ProcessorConfig"]
    assert config == {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"}
    assert machine(dev)["StateMachineType"] == "STANDARD"


@pytest.mark.parametrize(("deployment", "most"), [("dev", 4), ("larger", 500)])
def test_the_setting_bounds_how_many_shards_run_at_once(request, deployment, most):
    assert states(request.getfixturevalue(deployment))["Score"]["MaxConcurrency"] == most


def test_the_map_reads_the_list_of_shards_that_the_plan_wrote(dev):
    reader = states(dev)["Score"]["ItemReader"]
    assert reader["ReaderConfig"] == {"InputType": "JSON"}
    assert (text(reader["Parameters"]["Bucket"]).count("storedata"), reader["Parameters"]["Key.$"]) == (1, "$.plan.shards")


def test_no_shard_may_fail(dev):
    """What is not said is none."""
    assert not [key for key in states(dev)["Score"] if key.startswith("ToleratedFailure")]


def test_ten_thousand_shards_put_out_no_more_than_a_state_may(dev):
    """256 KB: reports lie in the bucket."""
    assert states(dev)["Score shard"]["ResultSelector"] == {}
    assert states(dev)["Score"]["ResultPath"] is None


def test_what_passes_is_tried_again_and_what_a_person_must_put_right_is_not(dev):
    assert calls(dev).keys() == {"Plan", "Score shard", "Finish", "Report the failure"}
    for name, each in calls(dev).items():
        refused, throttled, other = each["Retry"]
        # A shard that ran out of time would again.
        final = ["DataSetRefused", *(["Sandbox.Timedout"] if name == "Score shard" else [])]
        assert refused == {"ErrorEquals": final, "MaxAttempts": 0}
        assert throttled["ErrorEquals"] == ["Lambda.TooManyRequestsException"]
        assert other["ErrorEquals"] == ["States.ALL"]
        assert all(
            retry["BackoffRate"] > 1 and retry["JitterStrategy"] == "FULL" and retry["MaxAttempts"] > 1 for retry in (throttled, other)
        )


def test_what_others_concurrency_holds_up_waits_for_hours(dev):
    """With full jitter, half of each delay in the mean."""
    for each in calls(dev).values():
        throttled = each["Retry"][1]
        assert throttled["MaxDelaySeconds"] == 120
        assert throttled["MaxAttempts"] * throttled["MaxDelaySeconds"] / 2 >= 3 * 3600


@pytest.mark.parametrize(("deployment", "megabytes", "storage"), [("dev", 64, 512 + 4096), ("larger", 96, 512 + 6144)])
def test_the_setting_bounds_a_shard_and_its_part_has_room(request, deployment, megabytes, storage):
    templates = request.getfixturevalue(deployment)
    environments = [function(templates, step)["Environment"]["Variables"] for step in STEPS]
    assert [each["DATA_SET_SHARD_MEGABYTES"] for each in environments] == [str(megabytes)] * 3
    assert function(templates, "shard")["EphemeralStorage"] == {"Size": storage}
    assert function(templates, "plan")["EphemeralStorage"] == {"Size": 512}


def test_no_function_is_given_more_storage_than_there_is(synthesized):
    templates = synthesized(replace(DEV, data_set_shard_megabytes=1024), a_model())
    assert function(templates, "shard")["EphemeralStorage"] == {"Size": 10_240}


@pytest.mark.parametrize("megabytes", [0, 1025])
def test_a_shard_of_no_size_or_too_large_a_one_is_refused(megabytes):
    with pytest.raises(ValueError, match=f"^data_set_shard_megabytes of dev is {megabytes:,}; a shard takes 1 to 1,024$"):
        replace(DEV, data_set_shard_megabytes=megabytes)


@pytest.mark.parametrize(("deployment", "seconds"), [("dev", 900), ("larger", 300)])
def test_no_call_is_waited_for_longer_than_its_function_runs(request, deployment, seconds):
    templates = request.getfixturevalue(deployment)
    assert {function(templates, step)["Timeout"] for step in STEPS} == {seconds}
    assert all(seconds < each["TimeoutSeconds"] <= seconds + 60 for each in calls(templates).values())


@pytest.mark.parametrize("state", ["Plan", "Score", "Finish"])
def test_whatever_fails_is_reported_before_the_execution_ends(dev, state):
    (catch,) = states(dev)[state]["Catch"]
    assert catch == {"ErrorEquals": ["States.ALL"], "ResultPath": "$.failure", "Next": "Report the failure"}
    assert states(dev)[states(dev)["Report the failure"]["Next"]] == {"Type": "Fail", "ErrorPath": "$.error", "CausePath": "$.cause"}


def test_why_a_shard_failed_is_kept_in_the_bucket(dev):
    (catch,) = states(dev)["Score shard"]["Catch"]
    note = states(dev)[catch["Next"]]
    assert note["Resource"].endswith(":aws-sdk:s3:putObject")
    assert note["Parameters"]["Key.$"] == "States.Format('{}/{}.json', $.failures, $.number)"
    assert states(dev)["Score"]["ItemSelector"]["failures.$"] == "$.plan.failures"
    assert states(dev)[note["Next"]]["Type"] == "Fail"


def test_the_machine_is_logged_traced_and_encrypted(dev):
    found = machine(dev)
    assert (found["LoggingConfiguration"]["Level"], found["LoggingConfiguration"]["IncludeExecutionData"]) == ("ALL", False)
    assert found["TracingConfiguration"] == {"Enabled": True}
    assert found["EncryptionConfiguration"] == {"Type": "AWS_OWNED_KEY"}


def test_the_machine_may_call_its_functions_start_itself_and_use_its_folder(dev):
    names = {
        name
        for name, each in dev.batch.find_resources("AWS::Lambda::Function").items()
        if each["Properties"] in [function(dev, step) for step in STEPS]
    }
    found = {
        action: (resources, condition) for actions, resources, condition in allowed(dev, machine(dev)["RoleArn"]) for action in actions
    }
    assert sorted(found["lambda:InvokeFunction"][0]) == sorted(f"<{name}.Arn>" for name in names)
    assert found["states:StartExecution"][0] == [MACHINE]
    assert found["states:StopExecution"][0] == [MACHINE.replace(":stateMachine:", ":execution:") + ":*"]
    for action in ("s3:GetObject", "s3:PutObject"):
        (resource,) = found[action][0]
        assert resource.endswith("/work/*")
        assert "storedata" in resource
    logs_and_traces = {action for action, (resources, _) in found.items() if resources == ["*"]}
    assert {action.partition(":")[0] for action in logs_and_traces} == {"logs", "xray"}
    assert {action.partition(":")[0] for action in found} == {"lambda", "states", "s3", "kms", "logs", "xray"}


@pytest.mark.parametrize("step", STEPS)
def test_the_functions_read_data_sets_and_write_below_work_and_out(dev, step):
    assert on_data(dev, step) == {"s3:GetObject": ["in/*", "out/*", "sets/*", "work/*"], "s3:PutObject": ["out/*", "work/*"]}


@pytest.mark.parametrize("step", STEPS)
def test_what_is_not_there_is_not_forbidden(dev, step):
    """Without a condition: a HEAD names no prefix, and S3 would answer 403."""
    (listed,) = [each for each in allowed(dev, function(dev, step)["Role"]) if each[0] == ["s3:ListBucket"] and "storedata" in each[1][0]]
    assert listed[2] is None


@pytest.mark.parametrize("step", STEPS)
def test_the_functions_use_the_other_buckets_that_the_settings_name(larger, dev, step):
    own = "arn:<AWS::Partition>:s3:::ours"
    of = {
        name: [resource for _, resources, _ in allowed(each, function(each, step)["Role"]) for resource in resources]
        for name, each in (("larger", larger), ("dev", dev))
    }
    assert sorted(resource for resource in of["larger"] if resource.startswith(own)) == [own, f"{own}/*"]
    assert not [resource for resource in of["dev"] if resource.startswith(own)]
    assert function(larger, step)["Environment"]["Variables"]["DATA_SET_BUCKETS"] == "ours"


def test_only_the_last_step_tells_of_a_run_and_in_no_other_name(dev):
    for step in STEPS:
        told = [condition for actions, _, condition in allowed(dev, function(dev, step)["Role"]) if "events:PutEvents" in actions]
        assert told == ([{"StringEquals": {"events:source": "serverless-onnx-dev"}}] if step == "finish" else [])


def test_an_upload_below_in_starts_an_execution(dev):
    (rule,) = [each for each in properties(dev.batch, "AWS::Events::Rule") if each["EventPattern"].get("source") == ["aws.s3"]]
    pattern = rule["EventPattern"]
    assert pattern["detail-type"] == ["Object Created"]
    assert pattern["detail"]["object"] == {"key": [{"prefix": "in/"}]}
    (bucket,) = pattern["detail"]["bucket"]["name"]
    assert dev.batch.to_json()["Parameters"][bucket["Ref"]]["Default"] == "/serverless-onnx/dev/store/data"
    (target,) = rule["Targets"]
    assert dev.batch.to_json()["Resources"][target["Arn"]["Ref"]]["Type"] == "AWS::StepFunctions::StateMachine"
    assert allowed(dev, target["RoleArn"]) == [(["states:StartExecution"], [MACHINE], None)]


def test_an_upload_that_cant_be_told_of_waits_in_a_queue_and_rings(larger):
    (rule,) = [each for each in properties(larger.batch, "AWS::Events::Rule") if each["EventPattern"].get("source") == ["aws.s3"]]
    (target,) = rule["Targets"]
    assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    name = target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"][0]
    queue = larger.batch.to_json()["Resources"][name]["Properties"]
    assert (queue["SqsManagedSseEnabled"], queue["MessageRetentionPeriod"]) == (True, 14 * 24 * 3600)
    alarms = properties(larger.batch, "AWS::CloudWatch::Alarm")
    (alarm,) = [each for each in alarms if each["Dimensions"] == [{"Name": "QueueName", "Value": {"Fn::GetAtt": [name, "QueueName"]}}]]
    assert alarm["AlarmActions"] == [EVERYTHING.alarm_topic_arn]


def test_modelctl_finds_the_machine_by_an_output(dev):
    assert dev.batch.to_json()["Outputs"]["DataSetMachine"]["Value"]["Ref"] in dev.batch.find_resources("AWS::StepFunctions::StateMachine")
