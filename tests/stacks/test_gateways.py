"""How gateway functions are made from model.toml."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelserve.settings import GatewaySettings
from stacks.settings import PROD
from tests.stacks.endpoints import OWN, SHARED
from tests.stacks.factories import HEAVY, a_heavy_model, gateways, properties, text

pytestmark = pytest.mark.xdist_group("stacks")


@pytest.mark.parametrize(("name", "endpoint"), [("pictures", SHARED), ("long_texts", OWN)])
def test_a_gateways_environment_is_what_its_settings_write(heavy, name, endpoint):
    variables = {key: text(value) for key, value in gateways(heavy)[name]["Environment"]["Variables"].items()}
    read = GatewaySettings.from_env(variables)
    assert (read.model_name, read.endpoint_name, read.service) == (name, endpoint, "serverless-onnx-prod")
    assert read.deadline_seconds == 27
    assert ("storejobs" in read.job_bucket) is (name == "long_texts")
    assert read.to_env() == variables


@pytest.mark.parametrize("gpu", [True, False])
def test_gateways_are_there_whether_endpoints_are_or_not(synthesized, gpu):
    """Without an endpoint they say how to make one."""
    assert len(gateways(synthesized(replace(PROD, gpu=gpu), *HEAVY))) == 3


def test_a_gateway_is_a_zip_on_the_layers_and_as_large_as_model_toml_says(synthesized):
    templates = synthesized(PROD, a_heavy_model(function={"memory": 1024, "timeout": 20, "reserved_concurrency": 7}))
    function = gateways(templates)["pictures"]
    assert (function["Handler"], function["Runtime"], len(function["Layers"])) == ("gpu_gateway.handler.handler", "python3.13", 2)
    assert (function["MemorySize"], function["Timeout"], function["ReservedConcurrentExecutions"]) == (1024, 20, 7)
    assert GatewaySettings.from_env({**function["Environment"]["Variables"], "MODEL_BUCKET": "b"}).deadline_seconds == 18


def test_a_warm_gateway_is_called_by_its_version(heavy):
    (version,) = heavy.serving.find_resources("AWS::Lambda::Version")
    uris = {text(method["Integration"]["Uri"]) for method in properties(heavy.serving, "AWS::ApiGateway::Method")}
    assert [each for each in uris if f"functions/<{version}>/invocations" in each]
