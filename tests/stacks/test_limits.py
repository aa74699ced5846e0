"""Forty models with every feature on, against the limits of CloudFormation, API Gateway, Lambda and IAM."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from models.config import ModelConfig
from stacks.settings import PROD, DeploymentSettings
from tests.stacks.factories import properties, text

pytestmark = pytest.mark.xdist_group("stacks")

MODELS = 40
BUCKET = "b" * 63
"""As long as a bucket's name may be."""


def a_demanding_model(number: int) -> ModelConfig:
    """Half of them take provisioned concurrency and half SnapStart, which exclude each other."""
    warm = {"snap_start": True} if number % 2 else {"provisioned_concurrency": 2, "ephemeral_storage": 10_240}
    function = {"memory": 10_240, "architecture": "arm64" if number % 3 else "x86_64", "reserved_concurrency": 10, **warm}
    name = f"m{number:02}_".ljust(48, "x")
    serving = {"nan": "refuse" if number % 2 else "accept"}
    section = {"serving": serving, "function": function}
    return ModelConfig.model_validate({"name": name, "task": "classification", "description": "d" * 300, **section})


def a_demanding_heavy_model(number: int) -> ModelConfig:
    """Every third is asynchronous, with as long a name as its endpoint can have."""
    warm = {"snap_start": True} if number % 2 else {"provisioned_concurrency": 2}
    gpu = {"mode": "async", "max_instances": 2} if number % 3 == 0 else {}
    section = {"target": "gpu", "gpu": gpu, "function": {"memory": 10_240, "reserved_concurrency": 10, **warm}}
    name = f"h{number:02}_".ljust(42 if gpu else 48, "x")
    return ModelConfig.model_validate({"name": name, "task": "classification", "description": "d" * 300, **section})


@pytest.fixture(scope="module", params=[0, 30], ids=["on Lambda", "thirty heavy ones"])
def full(synthesized, request):
    settings = replace(
        PROD,
        cors_origin="https://a-long-name-of-a-frontend.example.org",
        alarm_topic_arn="arn:aws:sns:eu-west-1:1:alarms",
        gpu_subnets=tuple(f"subnet-{number:017x}" for number in range(6)),
        gpu_security_groups=tuple(f"sg-{number:017x}" for number in range(5)),
        gpu_capture_percent=100,
    )
    heavy = [a_demanding_heavy_model(number) for number in range(request.param)]
    return synthesized(settings, *heavy, *(a_demanding_model(number) for number in range(MODELS - len(heavy))))


def test_forty_models_fit_their_stacks(full):
    assert max(len(template.to_json().get("Resources", {})) for template in full.all) <= 500


def test_parameters_and_outputs_fit(full):
    """Two hundred of each: one parameter an async model."""
    assert max(len(template.to_json().get(part, {})) for template in full.all for part in ("Parameters", "Outputs")) <= 200


def test_the_template_stays_under_a_megabyte(full):
    """Bytes as the CLI uploads them, indented."""
    assert max(len(json.dumps(template.to_json(), indent=1).encode()) for template in full.all) <= 2**20


def test_the_api_stays_under_its_resources(full):
    assert len(properties(full.serving, "AWS::ApiGateway::Resource")) <= 300


def test_every_environment_fits_four_kilobytes(full):
    for function in (each for template in full.all for each in properties(template, "AWS::Lambda::Function")):
        variables = {name: BUCKET if isinstance(value, dict) else value for name, value in function["Environment"]["Variables"].items()}
        assert sum(len(name) + len(value) for name, value in variables.items()) <= 4096


def test_every_role_fits_its_policies(full):
    """10,240 characters over all inline policies of a role, without blanks, once CloudFormation has joined what belongs together."""
    for role in (role for template in full.all for role in properties(template, "AWS::IAM::Role")):
        policies = [joined(policy["PolicyDocument"]) for policy in role.get("Policies", [])]
        assert sum(len(json.dumps(policy, separators=(",", ":"))) for policy in policies) <= 10_240


def joined(value: Any) -> Any:
    """As IAM gets it, with the longest name in place of each reference to the store."""
    match value:
        case {"Fn::Join": _} | {"Ref": _} | {"Fn::GetAtt": _} | {"Fn::FindInMap": _}:
            return re.sub(r"<SsmParameter\w+>", BUCKET, text(value))
        case dict():
            return {name: joined(inner) for name, inner in value.items()}
        case list():
            return [joined(inner) for inner in value]
    return value


def test_every_description_fits(full):
    functions = [each for template in full.all for each in properties(template, "AWS::Lambda::Function")]
    assert max(len(each["Description"]) for each in functions) <= 256


def test_a_model_without_extras_costs_few_resources(synthesized):
    """Role, function, log group, permission, two API resources and two methods."""
    one, two = (synthesized(DeploymentSettings(name="dev"), *map(a_plain_model, range(count))) for count in (1, 2))
    assert len(two.serving.to_json()["Resources"]) - len(one.serving.to_json()["Resources"]) == 8


def a_plain_model(number: int) -> ModelConfig:
    return ModelConfig.model_validate({"name": f"plain_{number}", "task": "regression"})
