"""When there is an endpoint, what it is called, and how others find it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from modelserve.manifest import VERSION_NAME
from stacks.gpu import NO_VERSION
from stacks.settings import DEV, PROD, EndpointNameError
from tests.stacks.endpoints import OWN, SHARED, of
from tests.stacks.factories import HEAVY, a_heavy_model, a_model, properties, text

pytestmark = pytest.mark.xdist_group("stacks")


@pytest.mark.parametrize(
    ("settings", "models"),
    [(DEV, HEAVY), (PROD, (a_model(),)), (replace(PROD, gpu=False), HEAVY)],
    ids=["off in dev", "no heavy model", "turned off"],
)
def test_with_nothing_to_run_the_template_is_empty(synthesized, settings, models):
    """Then the CDK CLI makes no stack, and deletes the one that was there."""
    assert synthesized(settings, *models).gpu.to_json() == {}


def test_endpoints_are_off_in_dev_and_on_in_prod():
    assert (DEV.gpu, PROD.gpu) == (False, True)


@pytest.mark.parametrize(("endpoint", "name"), [(SHARED, "serverless-onnx-prod"), (OWN, "serverless-onnx-prod-long-texts")])
def test_an_endpoint_has_the_name_that_the_gateway_functions_know(heavy, endpoint, name):
    assert of(heavy, endpoint, "AWS::SageMaker::Endpoint")["EndpointName"] == name


def test_realtime_models_share_one_endpoint_and_each_async_model_has_its_own(synthesized):
    own = [a_heavy_model(name, mode="async") for name in ("one", "two")]
    templates = synthesized(PROD, *HEAVY, *own)
    names = {each["EndpointName"] for each in properties(templates.gpu, "AWS::SageMaker::Endpoint")}
    assert names == {SHARED, OWN, "serverless-onnx-prod-one", "serverless-onnx-prod-two"}


def test_configurations_and_models_are_named_by_cloudformation(heavy):
    """One that changes is another: a name given by us would be taken."""
    for kind, name in (("AWS::SageMaker::EndpointConfig", "EndpointConfigName"), ("AWS::SageMaker::Model", "ModelName")):
        assert not [each for each in properties(heavy.gpu, kind) if name in each]


def test_names_are_lower_case_as_arns_of_endpoints_are(synthesized):
    templates = synthesized(replace(PROD, name="Prod"), a_heavy_model())
    assert of(templates, SHARED, "AWS::SageMaker::Endpoint")["EndpointName"] == SHARED


def test_a_name_of_sixty_three_characters_is_the_longest():
    room = 63 - len("serverless-onnx-prod-")
    assert len(PROD.endpoint_name(a_heavy_model("m" * room, mode="async"))) == 63
    with pytest.raises(EndpointNameError, match=r"at most 63 characters.*give the folder models/m+ another name"):
        PROD.endpoint_name(a_heavy_model("m" * (room + 1), mode="async"))


def test_a_name_that_would_end_in_a_dash_is_refused():
    with pytest.raises(EndpointNameError, match="ends in a letter or a digit"):
        PROD.endpoint_name(a_heavy_model("texts_", mode="async"))


def test_a_realtime_models_name_may_be_as_long_as_any():
    assert PROD.endpoint_name(a_heavy_model("m" * 48)) == SHARED


def test_before_its_first_promotion_an_async_model_has_no_endpoint(heavy):
    """SageMaker refuses one whose archive isn't there. Role and log group cost nothing, and a stack must have something."""
    template = heavy.gpu.to_json()
    always = {each["Type"] for name, each in template["Resources"].items() if name.startswith("LongTexts") and "Condition" not in each}
    assert always == {"AWS::IAM::Role", "AWS::Logs::LogGroup"}
    assert {each["Condition"] for each in template["Resources"].values() if "Condition" in each} == {"LongTextsPromoted"}
    assert template["Conditions"]["LongTextsPromoted"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "LongTextsVersion"}, NO_VERSION]}]}
    assert template["Parameters"]["LongTextsVersion"]["Default"] == NO_VERSION


def test_what_is_there_always_names_nothing_that_may_not_be(heavy):
    template = heavy.gpu.to_json()
    conditional = {name for name, each in template["Resources"].items() if "Condition" in each}
    always = [each for name, each in template["Resources"].items() if name not in conditional] + list(template["Outputs"].values())
    assert conditional
    assert not [name for name in conditional if f"'{name}'" in str(always)]


def test_the_parameter_takes_versions_and_nothing_else(heavy):
    pattern = re.compile(heavy.gpu.to_json()["Parameters"]["LongTextsVersion"]["AllowedPattern"])
    version = "20261120T174100Z-1a2b3c4d"
    assert VERSION_NAME.fullmatch(version)
    assert [bool(pattern.fullmatch(each)) for each in (version, NO_VERSION, "../x", "latest", "")] == [True, True, False, False, False]


def test_modelctl_finds_endpoints_and_parameters(heavy):
    outputs = {name: each["Value"] for name, each in heavy.gpu.to_json()["Outputs"].items()}
    assert outputs["GpuEndpoint"] == SHARED
    assert json.loads(text(outputs["AsyncEndpoints"])) == {"long_texts": {"endpoint": OWN, "parameter": "LongTextsVersion"}}
    assert outputs["NextCommand"] == "modelctl doctor --deployment prod"


@pytest.mark.parametrize("gpu", [True, False])
def test_modelctl_doctor_finds_how_many_instances_the_quota_must_hold(synthesized, gpu):
    """Before there is an endpoint, and whatever the deployment's settings say of them."""
    settings = replace(PROD, gpu=gpu, gpu_instance_type="ml.g6.2xlarge", gpu_max_instances=5)
    found = synthesized(settings, *HEAVY).serving.to_json()["Outputs"]["GpuInstances"]["Value"]
    assert json.loads(text(found)) == {"type": "ml.g6.2xlarge", "most": 5}


def test_without_a_heavy_model_no_output_speaks_of_instances(synthesized):
    assert "GpuInstances" not in synthesized(PROD, a_model()).serving.to_json()["Outputs"]


@pytest.mark.parametrize(("model", "missing"), [(a_heavy_model(), "AsyncEndpoints"), (a_heavy_model("t", mode="async"), "GpuEndpoint")])
def test_outputs_name_no_endpoint_that_is_not_there(synthesized, model, missing):
    assert missing not in synthesized(PROD, model).gpu.to_json()["Outputs"]
