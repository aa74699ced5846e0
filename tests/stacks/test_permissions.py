"""What each function may do, and that it is no more."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk.assertions import Match

from stacks.settings import DEV
from tests.stacks.factories import Templates, a_model, properties, statements, text

pytestmark = pytest.mark.xdist_group("stacks")


ALLOWED = {"dynamodb:GetItem", "dynamodb:PutItem", "sqs:SendMessage"}


@pytest.fixture(scope="module")
def two_models(synthesized):
    return synthesized(DEV, a_model("fruit"), a_model("tumour"))


def allowed(templates: Templates, *, description: str) -> list[dict[str, Any]]:
    """What the function whose description begins with `description` may do."""
    found = templates.serving.find_resources(
        "AWS::Lambda::Function", {"Properties": {"Description": Match.string_like_regexp(f"^{description}")}}
    )
    (function,) = found.values()
    role = templates.serving.to_json()["Resources"][function["Properties"]["Role"]["Fn::GetAtt"][0]]
    return statements(role["Properties"])


def on_store(templates: Templates, *, description: str) -> list[tuple[list[str], str, Any]]:
    """Actions, resource below the bucket, and condition, of what a function may do in S3."""
    return [
        (each["Action"], text(resource).rpartition(">")[2], each.get("Condition"))
        for each in allowed(templates, description=description)
        for resource in each["Resource"]
        if each["Action"][0].startswith("s3:")
    ]


def test_a_function_reads_its_own_model_and_uploads_and_keeps_its_own_jobs(two_models):
    assert on_store(two_models, description="fruit") == [
        (["s3:GetObject", "s3:GetObjectVersion"], "/models/fruit/*", None),
        (["s3:ListBucket"], "", {"StringLike": {"s3:prefix": "models/fruit/*"}}),
        (["s3:PutObject"], "/fruit/*", None),
        (["s3:GetObject"], "/_uploads/*", None),
        (["s3:ListBucket"], "", {"StringLike": {"s3:prefix": "_uploads/*"}}),
    ]


def test_a_function_takes_jobs_one_by_one(two_models):
    """It reads no list of jobs and ends none, and it can't take back what it told a queue."""
    found = {tuple(each["Action"]): each["Resource"] for each in allowed(two_models, description="fruit")}
    ((table,), queues) = found["dynamodb:GetItem", "dynamodb:PutItem"], found["sqs:SendMessage",]
    name = text(table).partition(":table/")[2].strip("<>")
    assert two_models.serving.to_json()["Parameters"][name]["Default"] == "/serverless-onnx/dev/store/job-table"
    assert [text(queue).rpartition(":")[2] for queue in queues] == ["onnx-dev-jobs-high", "onnx-dev-jobs-low"]
    assert not [action for actions in found for action in actions if action.startswith(("sqs:", "dynamodb:")) and action not in ALLOWED]


def test_the_catalog_reads_aliases_only(two_models):
    assert on_store(two_models, description="catalog") == [
        (["s3:GetObject"], "/models/*/aliases/*", None),
        (["s3:ListBucket"], "", {"StringLike": {"s3:prefix": "models/*/aliases/*"}}),
    ]


@pytest.mark.parametrize(("function", "actions"), [("fruit", ["kms:Decrypt", "kms:GenerateDataKey"]), ("catalog", ["kms:Decrypt"])])
def test_a_function_may_use_the_stores_key_only(two_models, function, actions):
    """A function that keeps requests encrypts them too."""
    (use,) = [each for each in allowed(two_models, description=function) if each["Action"][0].startswith("kms:")]
    (resource,) = use["Resource"]
    assert use["Action"] == actions
    assert two_models.serving.to_json()["Parameters"][resource["Ref"]]["Default"] == "/serverless-onnx/dev/store/key"


def test_the_authorizer_looks_up_clients_one_by_one(two_models):
    """It has no scan or query, writes nothing and reads no model."""
    found = {tuple(each["Action"]): each["Resource"] for each in allowed(two_models, description="authorizer")}
    assert found.keys() == {
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        ("dynamodb:GetItem",),
    }
    (table,) = found["dynamodb:GetItem",]
    name = text(table).partition(":table/")[2].strip("<>")
    assert two_models.serving.to_json()["Parameters"][name]["Default"] == "/serverless-onnx/dev/store/clients"


def test_what_is_told_of_jobs_is_their_records_and_results(two_models):
    """No request of anybody can be read, no result written, and no table or bucket looked through."""
    assert on_store(two_models, description="jobs") == [
        (["s3:GetObject"], "/*/*/*/result-*", None),
        (["s3:ListBucket"], "", {"StringLike": {"s3:prefix": "*/*/*/result-*"}}),
        (["s3:DeleteObject"], "/*/*/*/request-*", None),
        (["s3:DeleteObject"], "/*/*/*/result-*", None),
        (["s3:PutObject"], "/_uploads/*", None),
    ]
    found = {tuple(each["Action"]) for each in allowed(two_models, description="jobs") if not each["Action"][0].startswith("s3:")}
    assert found == {
        ("logs:CreateLogStream", "logs:PutLogEvents"),
        ("xray:PutTelemetryRecords", "xray:PutTraceSegments"),
        ("kms:Decrypt", "kms:GenerateDataKey"),
        ("dynamodb:DeleteItem", "dynamodb:GetItem"),
    }


def test_a_function_writes_its_own_log_group_only(two_models):
    groups = []
    for function in ("fruit", "tumour", "catalog", "authorizer", "jobs"):
        (write,) = [each for each in allowed(two_models, description=function) if "logs:PutLogEvents" in each["Action"]]
        groups += [text(resource) for resource in write["Resource"]]
    assert len(set(groups)) == 5
    assert all(group.endswith(".Arn>") for group in groups)


def test_no_permission_is_for_everything(two_models):
    """Only X-Ray's, which has no resources to name."""
    everything = [
        each["Action"] for role in properties(two_models.serving, "AWS::IAM::Role") for each in statements(role) if "*" in each["Resource"]
    ]
    assert everything == [["xray:PutTelemetryRecords", "xray:PutTraceSegments"]] * 5


def test_no_action_is_a_wildcard(two_models):
    roles = properties(two_models.serving, "AWS::IAM::Role")
    assert not [action for role in roles for each in statements(role) for action in each["Action"] if "*" in action]


def test_no_function_has_a_managed_policy(two_models):
    functions = properties(two_models.serving, "AWS::IAM::Role", with_={"Policies": Match.any_value()})
    assert len(functions) == 5
    assert not [role for role in functions if "ManagedPolicyArns" in role]
    two_models.serving.resource_count_is("AWS::IAM::Policy", 0)


def test_the_api_may_invoke_each_function_once_and_nobody_else_may(two_models):
    permissions = properties(two_models.serving, "AWS::Lambda::Permission")
    assert len({text(each["FunctionName"]) for each in permissions}) == len(permissions) == 5
    assert {each["Principal"] for each in permissions} == {"apigateway.amazonaws.com"}
    (api,) = two_models.serving.find_resources("AWS::ApiGateway::RestApi")
    assert all(f"<{api}>" in text(each["SourceArn"]) for each in permissions)
