"""What endpoints and gateway functions may do, and that it is no more."""

from __future__ import annotations

import re
from typing import Any

import pytest

from modelserve.manifest import ARCHIVE_FILE
from tests.stacks.endpoints import OWN, SHARED, of
from tests.stacks.factories import CAPTURING, HEAVY, NETWORK, Templates, gateways, properties, statements, text

pytestmark = pytest.mark.xdist_group("stacks")

MODELS = {SHARED: ["pictures", "warm_pictures"], OWN: ["long_texts"]}
ACCOUNT = re.compile(r"^arn:<AWS::Partition>:\w+:(<[\w:]+>)?:(<[\w:]+>)?:")
STORE = re.compile(r"<SsmParameterValueserverlessonnxprodstore(bucket|jobs|key)\w+>")


def allowed(role: dict[str, Any], service: str) -> set[tuple[str, str]]:
    """Each action of a service with each resource of it, without what stands before the resource in an ARN."""
    return {
        (action.removeprefix(f"{service}:"), STORE.sub(r"\1", ACCOUNT.sub("", text(on))))
        for each in statements(role)
        for action in each["Action"]
        for on in each["Resource"]
        if action.startswith(f"{service}:")
    }


def conditions(role: dict[str, Any], action: str) -> list[Any]:
    return [each.get("Condition") for each in statements(role) if action in each["Action"]]


def role_of(templates: Templates, endpoint: str) -> dict[str, Any]:
    return of(templates, endpoint, "AWS::IAM::Role")


def gateway_role(templates: Templates, model: str) -> dict[str, Any]:
    name = gateways(templates)[model]["Role"]["Fn::GetAtt"][0]
    return dict(templates.serving.to_json()["Resources"][name]["Properties"])


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_only_sagemaker_takes_on_the_role_and_only_for_this_account(heavy, endpoint):
    (trust,) = role_of(heavy, endpoint)["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_the_shared_endpoint_fetches_archives_of_its_models_and_nothing_else(heavy):
    archives = {("GetObject", f"bucket/models/{name}/versions/*/{ARCHIVE_FILE}") for name in MODELS[SHARED]}
    assert allowed(role_of(heavy, SHARED), "s3") == {*archives, ("ListBucket", "bucket")}


def test_an_async_endpoint_fetches_archives_and_requests_of_its_model_and_writes_its_answers(heavy):
    assert allowed(role_of(heavy, OWN), "s3") == {
        ("GetObject", f"bucket/models/long_texts/versions/*/{ARCHIVE_FILE}"),
        ("ListBucket", "bucket"),
        ("GetObject", "jobs/long_texts/*"),
        *(
            (action, f"jobs/long_texts/{folder}/*")
            for action in ("PutObject", "AbortMultipartUpload")
            for folder in ("answers", "failures")
        ),
    }


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_an_endpoint_lists_versions_of_its_models(heavy, endpoint):
    """And, for several, whether there is a model at all, which SageMaker looks at."""
    several = ["models/"] if endpoint == SHARED else []
    (condition,) = conditions(role_of(heavy, endpoint), "s3:ListBucket")
    listed = condition["StringLike"]["s3:prefix"]
    assert ([listed] if isinstance(listed, str) else listed) == [*several, *(f"models/{name}/versions/*" for name in MODELS[endpoint])]


def test_what_is_captured_can_be_written_and_not_read(synthesized):
    captured = {each for each in allowed(role_of(synthesized(CAPTURING, *HEAVY), SHARED), "s3") if "jobs" in each[1]}
    assert captured == {("PutObject", "jobs/_captured/*")}


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_a_role_pulls_one_repository(heavy, endpoint):
    pulls = {
        (action, "repository/sagemaker-tritonserver")
        for action in ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer")
    }
    assert allowed(role_of(heavy, endpoint), "ecr") == {*pulls, ("GetAuthorizationToken", "*")}


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_a_role_writes_logs_and_metrics_of_its_endpoint(heavy, endpoint):
    role = role_of(heavy, endpoint)
    (group,) = {on for _, on in allowed(role, "logs")}
    name = group.strip("<>").removesuffix(".Arn")
    assert heavy.gpu.to_json()["Resources"][name]["Properties"]["LogGroupName"] == f"/aws/sagemaker/Endpoints/{endpoint}"
    assert {action for action, _ in allowed(role, "logs")} == {"CreateLogStream", "DescribeLogStreams", "PutLogEvents"}
    assert allowed(role, "cloudwatch") == {("PutMetricData", "*"), ("DescribeAlarms", "alarm:ServerlessOnnx-prod-Gpu-*")}
    namespace = {"StringEquals": {"cloudwatch:namespace": "/aws/sagemaker/Endpoints"}}
    assert conditions(role, "cloudwatch:PutMetricData") == [namespace]


def test_a_disks_key_is_used_by_a_grant_for_aws_alone(heavy):
    assert conditions(role_of(heavy, OWN), "kms:CreateGrant") == [{"Bool": {"kms:GrantIsForAWSResource": "true"}}]
    assert conditions(role_of(heavy, SHARED), "kms:CreateGrant") == []


def test_the_shared_endpoint_decrypts_and_no_more(heavy):
    assert allowed(role_of(heavy, SHARED), "kms") == {("Decrypt", "key")}


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_an_endpoints_role_has_no_other_service(heavy, endpoint):
    services = {action.partition(":")[0] for each in statements(role_of(heavy, endpoint)) for action in each["Action"]}
    assert services == {"cloudwatch", "ecr", "kms", "logs", "s3"}


def test_with_subnets_a_role_makes_interfaces_there_and_nowhere_else(synthesized):
    role = role_of(synthesized(NETWORK, *HEAVY), SHARED)
    groups = {f"security-group/{each}" for each in NETWORK.gpu_security_groups}
    subnets = [f"subnet/{each}" for each in NETWORK.gpu_subnets]
    made_of = {on for action, on in allowed(role, "ec2") if action == "CreateNetworkInterface"}
    assert made_of == {*groups, *subnets, "network-interface/*"}
    for action in ("CreateNetworkInterfacePermission", "DeleteNetworkInterface"):
        (condition,) = conditions(role, f"ec2:{action}")
        assert [text(each).rpartition(":")[2] for each in condition["ArnEquals"]["ec2:Subnet"]] == subnets


@pytest.mark.parametrize("name", MODELS[SHARED])
def test_a_gateway_invokes_the_shared_endpoint_for_its_own_model(heavy, name):
    role = gateway_role(heavy, name)
    assert allowed(role, "sagemaker") == {("InvokeEndpoint", f"endpoint/{SHARED}")}
    assert conditions(role, "sagemaker:InvokeEndpoint") == [{"StringLike": {"sagemaker:TargetModel": f"{name}/versions/*"}}]


def test_a_gateway_of_an_async_model_queues_on_its_own_endpoint(heavy):
    assert allowed(gateway_role(heavy, "long_texts"), "sagemaker") == {("InvokeEndpointAsync", f"endpoint/{OWN}")}


def test_nobody_else_asks_anything_of_sagemaker(heavy):
    """No role may make, change or delete an endpoint; CloudFormation does."""
    having = [role for template in heavy.all for role in properties(template, "AWS::IAM::Role") if allowed(role, "sagemaker")]
    assert len(having) == len(gateways(heavy)) == 3


def test_a_gateway_reads_its_own_model(heavy):
    for name in gateways(heavy):
        on_models = {each for each in allowed(gateway_role(heavy, name), "s3") if each[1].startswith("bucket")}
        own = {(action, f"bucket/models/{name}/*") for action in ("GetObject", "GetObjectVersion")}
        assert on_models == {*own, ("ListBucket", "bucket")}


def test_a_gateway_of_an_async_model_reads_and_writes_its_own_jobs(heavy):
    role = gateway_role(heavy, "long_texts")
    on_jobs = {each for each in allowed(role, "s3") if each[1].startswith("jobs")}
    assert on_jobs == {("GetObject", "jobs/long_texts/*"), ("PutObject", "jobs/long_texts/*"), ("ListBucket", "jobs")}
    listed = {"StringLike": {"s3:prefix": "long_texts/*"}}
    assert listed in conditions(role, "s3:ListBucket")


def test_a_gateway_of_a_realtime_model_has_nothing_to_do_with_jobs(heavy):
    assert not [each for each in allowed(gateway_role(heavy, "pictures"), "s3") if each[1].startswith("jobs")]
