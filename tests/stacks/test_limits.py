"""Forty models with every feature on, against the limits of CloudFormation, API Gateway, Lambda and IAM."""

from __future__ import annotations

import json
from dataclasses import replace

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
    return ModelConfig.model_validate({"name": name, "task": "classification", "description": "d" * 300, "function": function})


@pytest.fixture(scope="module")
def full(synthesized):
    settings = replace(PROD, cors_origin="https://a-long-name-of-a-frontend.example.org", alarm_topic_arn="arn:aws:sns:eu-west-1:1:alarms")
    return synthesized(settings, *(a_demanding_model(number) for number in range(MODELS)))


def test_forty_models_fit_one_stack(full):
    assert len(full.serving.to_json()["Resources"]) <= 500


def test_the_template_stays_under_a_megabyte(full):
    """Bytes as the CLI uploads them, indented."""
    assert len(json.dumps(full.serving.to_json(), indent=1).encode()) <= 2**20


def test_the_api_stays_under_its_resources(full):
    assert len(properties(full.serving, "AWS::ApiGateway::Resource")) <= 300


def test_every_environment_fits_four_kilobytes(full):
    for function in properties(full.serving, "AWS::Lambda::Function"):
        variables = {name: BUCKET if isinstance(value, dict) else value for name, value in function["Environment"]["Variables"].items()}
        assert sum(len(name) + len(value) for name, value in variables.items()) <= 4096


def test_every_role_fits_its_policies(full):
    """10,240 characters over all inline policies of a role."""
    for role in properties(full.serving, "AWS::IAM::Role"):
        policies = [policy["PolicyDocument"] for policy in role.get("Policies", [])]
        assert sum(len(text(json.dumps(policy))) for policy in policies) <= 10_240


def test_every_description_fits(full):
    assert max(len(each["Description"]) for each in properties(full.serving, "AWS::Lambda::Function")) <= 256


def test_a_model_without_extras_costs_few_resources(synthesized):
    """Role, function, log group, permission, two API resources and two methods."""
    one, two = (synthesized(DeploymentSettings(name="dev"), *map(a_plain_model, range(count))) for count in (1, 2))
    assert len(two.serving.to_json()["Resources"]) - len(one.serving.to_json()["Resources"]) == 8


def a_plain_model(number: int) -> ModelConfig:
    return ModelConfig.model_validate({"name": f"plain_{number}", "task": "regression"})
