"""The whole app of this repository: every model answers over HTTP from the synthesized stacks."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from functools import partial

import pytest

from models.config import ModelConfig
from tools.modelctl.paths import BUILD, EXAMPLE_FILE

MODELS = [config.name for config in ModelConfig.load_all()]


@pytest.fixture
def ask(local):
    """Calls an address with a client's key: the status, and the answer's JSON."""
    return partial(call, local.key)


def call(key, url, body=None):
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_answers_its_example(local, ask, name):
    body = (BUILD / name / EXAMPLE_FILE).read_bytes()
    status, answer = ask(f"{local.url}/v2/models/{name}/infer", body)
    assert status == 200, answer
    assert answer["model_name"] == name
    assert all(len(output["data"]) > 0 for output in answer["outputs"])


def test_the_stage_may_be_left_out_as_behind_a_custom_domain(local, ask):
    assert ask(f"{local.url.removesuffix('/dev')}/v2/health/ready") == ask(f"{local.url}/v2/health/ready")


def test_the_catalog_lists_every_model_as_ready(local, ask):
    status, index = ask(f"{local.url}/v2/repository/index", b"{}")
    assert status == 200
    assert {model["name"] for model in index} == set(MODELS)


@pytest.mark.parametrize("path", ["v2/models/nobody", "v2/models/nobody/infer"])
def test_an_unknown_model_is_a_404_with_a_reason(local, ask, path):
    status, answer = ask(f"{local.url}/{path}")
    assert status == 404
    assert "nobody" in answer["error"]


def test_a_gateway_error_has_the_protocols_shape(local, ask):
    status, answer = ask(f"{local.url}/elsewhere")
    assert (status, list(answer)) == (403, ["error"])


def test_a_request_that_is_too_large_is_the_clients_mistake(local, ask):
    status, answer = ask(f"{local.url}/v2/models/{MODELS[0]}/infer", b" " * (5 * 2**20))
    assert (status, list(answer)) == (413, ["error"])
