"""Who gets into the whole app, and to which models: over HTTP as on AWS, and straight to a function as a service inside AWS."""

from __future__ import annotations

import json
import sys
import urllib.parse

import pytest

from tests.local.callers import KEY, MINE, OTHERS, example, infer, refused
from tests.local.releases import Served, eventually

pytestmark = [
    pytest.mark.xdist_group("local"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]


def test_a_client_predicts_with_its_model(ask, client):
    answer = ask(infer(MINE), client, body=example(MINE))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["model_name"] == MINE


def altered(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


MALFORMED = (
    "",
    "Bearer",
    "Bearer ",
    "Basic dXNlcjpwYXNzd29yZA==",
    "Bearer sox.one-model.short",
    "Bearer SOX.one-model." + "a" * 43,
    "Bearer sox.One-Model." + "a" * 43,
    "Bearer sox..one-model." + "a" * 43,
    "Bearer sox.one-model." + "a" * 44,
    "Bearer sox.one-model." + "a" * 42 + "é",
    "Bearer sox." + "a" * 33 + "." + "a" * 43,
    "Bearer sox.one-model." + "a" * 43 + " Bearer",
    "AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=0",
)
UNKNOWN = ("Bearer sox.nobody-at-all." + "a" * 43, "Bearer sox.one-model." + "a" * 43)


@pytest.mark.parametrize("header", [None, *MALFORMED, *UNKNOWN])
def test_without_a_key_that_is_known_nothing_answers_and_nothing_says_why(ask, header):
    answer = ask(infer(MINE), header=header)
    assert refused(answer, 401) == refused(ask("/v2"), 401)
    assert answer.headers["Www-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/models", infer(MINE), infer("nobody")])
def test_no_path_answers_without_a_known_key(ask, path):
    refused(ask(path, header=UNKNOWN[0]), 401)


@pytest.fixture
def asked(local):
    """How often the authorizer's function was asked so far."""
    functions = local.cloud.client("lambda").list_functions()["Functions"]
    tables = {each["FunctionName"]: each["Environment"]["Variables"].get("CLIENT_TABLE") for each in functions}
    (log,) = [environments.log for name, environments in local.environments.items() if tables[name]]
    return lambda: sum('"message":"refused"' in line or '"message":"authorized"' in line for line in log.read_text("utf-8").splitlines())


def test_a_malformed_key_starts_no_function(ask, asked):
    """API Gateway's own pattern refuses it, so that it costs nothing; the function hears of one that is whole."""
    before = asked()
    for header in (None, *MALFORMED):
        refused(ask("/v2", header=header), 401)
    refused(ask("/v2", header="Bearer sox.somebody-new." + "a" * 43), 401)
    assert eventually(asked, lambda count: count > before) == before + 1


def test_a_key_is_right_to_its_last_character(ask, client):
    for wrong in (altered(client), client[:-1], client.upper(), client.replace("one-model", "local")):
        refused(ask(infer(MINE), wrong, body=example(MINE)), 401)
    for header in (client, f"bearer {client}", f"Bearer  {client}", f"Bearer {client}, Bearer {client}"):
        refused(ask(infer(MINE), header=header, body=example(MINE)), 401)


@pytest.mark.parametrize(
    "path",
    [
        infer(OTHERS),
        f"/v2/models/{OTHERS}",
        f"/v2/models/{OTHERS}/",
        f"/v2/models/{OTHERS}/ready",
        f"/v2/models/{OTHERS}/versions/production/infer",
        f"/v2/models/{OTHERS}/versions/{MINE}/infer",
        f"//v2//models//{OTHERS}//infer",
        f"/v2/models//{OTHERS}/infer",
        f"/v2//models/{OTHERS}/infer",
        f"/v2/models/./{OTHERS}/infer",
        f"/v2/models/%2e/{OTHERS}/infer",
        f"/v2/models/{urllib.parse.quote(OTHERS).replace('i', '%69')}/infer",
        f"/v2/models/{OTHERS}%2Finfer",
        f"/v2/models%2F{OTHERS}%2Finfer",
        f"/v2/models/{OTHERS.upper()}/infer",
        f"/v2/models/{MINE}%2F..%2F{OTHERS}/infer",
        f"/v2/models/{OTHERS}/v2/models/{MINE}/infer",
        f"/v2/models/{OTHERS}/infer/v2/models/{MINE}/infer",
        f"/v2/models/{OTHERS}/versions/v2/models/{MINE}/infer",
        f"/v2/models/{OTHERS}/v2/health/live",
        f"/v2/models/{OTHERS}/v2/models",
        f"/v2/models/{OTHERS}/infer/v2/repository/index",
        f"/v2/models/{OTHERS}/versions/v2",
        f"/v2/models/{MINE}{OTHERS}/infer",
        f"/v2/models/{MINE}x/infer",
    ],
)
def test_another_clients_model_stays_shut_whatever_the_path_is_written_as(ask, client, path):
    answer = ask(path, client, body=example(OTHERS))
    refused(answer, 403)


@pytest.mark.parametrize(
    "path", [f"/v2/models/{MINE}/../{OTHERS}/infer", f"/v2/models/{MINE}/%2e%2e/{OTHERS}/infer", f"/v2/models/{MINE}/..%2F{OTHERS}/infer"]
)
def test_no_path_below_ones_own_model_leads_out_of_it(ask, client, path):
    refused(ask(path, client, body=example(OTHERS)), 404)


def test_a_path_that_is_none_is_refused_alike_with_and_without_a_key(ask, client):
    assert refused(ask("/elsewhere", client), 403) == refused(ask("/elsewhere"), 403)


def test_the_servers_own_paths_are_every_clients(ask, client):
    for path in ("/v2", "/v2/", "/v2/health/live", "/v2/models", f"/v2/models/{MINE}", f"/v2/models/{MINE}/ready"):
        assert ask(path, client).status == 200, path


def test_a_client_is_told_of_its_own_models_only(ask, local, client):
    assert json.loads(ask("/v2/models", client).body) == {"models": [MINE]}
    assert [each["name"] for each in json.loads(ask("/v2/repository/index", client, body=b"{}").body)] == [MINE]
    everything = {each["name"] for each in json.loads(ask("/v2/repository/index", local.key, body=b"{}").body)}
    assert {MINE, OTHERS} < everything


def test_what_is_remembered_of_a_key_holds_for_all_its_models_and_for_no_other(ask, local):
    """Asked within the time for which the gateway remembers the first answer."""
    key = local.new_client("two-models", models=(MINE, OTHERS))
    statuses = [ask(infer(model), key, body=example(model)).status for model in (MINE, OTHERS)]
    refused(ask("/v2/models/diabetes", key), 403)
    assert statuses == [200, 200]


def test_a_service_of_the_same_account_needs_no_key(local, tmp_path):
    assert Served(local, MINE, tmp_path).invoke(example(MINE))["model_name"] == MINE


def test_what_is_handed_to_another_program_holds_the_key(local):
    assert KEY.fullmatch(str(local.describe()["key"]))
