"""Who gets into the whole app, to which models, and how often: over HTTP as on AWS, and by the command line's own keys."""

from __future__ import annotations

import json
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from modelserve.endpoints import Response
from tests.local.releases import eventually, send
from tools.local.stack import LocalStack
from tools.modelctl import console
from tools.modelctl.cli import app
from tools.modelctl.paths import BUILD, EXAMPLE_FILE

pytestmark = [
    pytest.mark.xdist_group("local"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]
MINE, OTHERS = "tumour", "income"
KEY = re.compile(r"sox\.[a-z][a-z0-9-]{0,31}\.[A-Za-z0-9_-]{43}")
Ask = Callable[..., Response]


@pytest.fixture
def ask(local: LocalStack) -> Ask:
    """Calls a path with a key, or with an Authorization header as it stands; a model's example is what it predicts with."""

    def call(path: str, key: str | None = None, *, header: str | None = None, method: str = "", body: bytes | None = None) -> Response:
        value = header if key is None else f"Bearer {key}"
        headers = {} if value is None else {"Authorization": value}
        content = b"" if body is None else body
        return send(local.url, method or ("GET" if body is None else "POST"), path, content, headers)

    return call


@pytest.fixture(scope="module")
def modelctl(local: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """The command line beside what `make run` leaves while it runs."""
    file = tmp_path_factory.mktemp("modelctl") / "deployment.json"
    file.write_text(json.dumps(local.describe()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.modelctl.deployment.LOCAL_DEPLOYMENT", file)
        patch.setattr(console.out, "width", 240)

        def run(*line: str) -> str:
            done = CliRunner().invoke(app, list(line))
            assert done.exit_code == 0, done.output
            return done.output

        yield run


@pytest.fixture(scope="module")
def client(local: LocalStack) -> str:
    """The key of a client of one model."""
    return local.new_client("one-model", models=(MINE,))


def example(model: str) -> bytes:
    return (BUILD / model / EXAMPLE_FILE).read_bytes()


def infer(model: str) -> str:
    return f"/v2/models/{model}/infer"


def refused(response: Response, status: int) -> str:
    """The reason: each refusal has the protocol's shape, and nothing else in it."""
    assert response.status == status, response.body
    assert response.headers["Content-Type"] == "application/json"
    document: dict[str, Any] = json.loads(response.body)
    assert list(document) == ["error"]
    assert isinstance(document["error"], str)
    return document["error"]


def until(ask: Callable[[], Response], status: int) -> Response:
    """Waits for as long as the gateway goes by what it was told of a key before."""
    return eventually(ask, lambda answer: answer.status == status)


def shown_key(output: str) -> str:
    found = KEY.search(output)
    assert found, output
    return found[0]


def test_a_client_predicts_with_its_model(ask, client):
    answer = ask(infer(MINE), client, body=example(MINE))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["model_name"] == MINE


def altered(key: str) -> str:
    return key[:-1] + ("A" if key[-1] != "A" else "B")


@pytest.mark.parametrize(
    "header",
    [
        None,
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
        "Bearer sox.nobody-at-all." + "a" * 43,
        "Bearer sox.one-model." + "a" * 43,
    ],
)
@pytest.mark.parametrize("path", ["/v2", "/v2/health/live", "/v2/models", infer(MINE), infer("nobody")])
def test_without_a_key_that_is_known_nothing_answers_and_nothing_says_why(ask, header, path):
    answer = ask(path, header=header)
    assert refused(answer, 401) == refused(ask("/v2"), 401)
    assert answer.headers["Www-Authenticate"] == "Bearer"


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


def test_a_client_over_its_rate_is_told_when_to_come_back_and_others_are_served(ask, local, client):
    key = local.new_client("eager", models=(MINE,), plan="trial")
    answers = [ask(f"/v2/models/{MINE}/ready", key) for _ in range(12)]
    over = [answer for answer in answers if answer.status != 200]
    assert answers[0].status == 200
    assert over
    assert {(refused(answer, 429), answer.headers["Retry-After"]) for answer in over} == {(refused(over[0], 429), "1")}
    assert ask(f"/v2/models/{MINE}/ready", client).status == 200


def test_a_client_over_its_quota_is_told_to_come_back_later(ask, local):
    plan = local.cloud.client("apigateway").update_usage_plan(
        usagePlanId=json.loads(local.outputs["Plans"])["standard"],
        patchOperations=[{"op": "replace", "path": "/quota/limit", "value": "3"}],
    )
    try:
        assert plan["quota"]["limit"] == 3
        key = local.new_client("frugal", models=(MINE,), plan="standard")
        answers = [ask(f"/v2/models/{MINE}/ready", key) for _ in range(4)]
    finally:
        local.cloud.client("apigateway").update_usage_plan(
            usagePlanId=plan["id"], patchOperations=[{"op": "replace", "path": "/quota/limit", "value": "1000000"}]
        )
    assert [answer.status for answer in answers[:3]] == [200] * 3
    assert "of the day" in refused(answers[3], 429)
    assert answers[3].headers["Retry-After"] == "3600"


def test_the_command_line_lets_a_client_in_changes_its_key_and_shuts_it_out(ask, modelctl):
    """`create`, `rotate` with an overlap and without, `revoke`: each at the latest when the gateway asks again."""
    first = shown_key(modelctl("client", "create", "shop", "--models", MINE, "--plan", "standard"))
    ready = f"/v2/models/{MINE}/ready"
    assert ask(ready, first).status == 200

    second = shown_key(modelctl("client", "rotate", "shop", "--overlap", "1"))
    assert second != first
    assert ask(ready, second).status == 200
    assert until(lambda: ask(ready, first), 200)

    third = shown_key(modelctl("client", "rotate", "shop", "--overlap", "0"))
    for old in (first, second):
        refused(until(lambda key=old: ask(ready, key), 401), 401)  # type: ignore[misc]
    assert ask(ready, third).status == 200

    modelctl("client", "revoke", "shop")
    refused(until(lambda: ask(ready, third), 401), 401)


def test_other_models_and_another_plan_take_effect_when_the_gateway_asks_again(ask, modelctl, local):
    key = local.new_client("growing", models=(MINE,), plan="standard")
    refused(ask(infer(OTHERS), key, body=example(OTHERS)), 403)
    modelctl("client", "update", "growing", "--models", OTHERS, "--plan", "trial")
    assert until(lambda: ask(infer(OTHERS), key, body=example(OTHERS)), 200)
    refused(ask(infer(MINE), key, body=example(MINE)), 403)
    assert 429 in {ask(f"/v2/models/{OTHERS}/ready", key).status for _ in range(20)}


def test_no_list_shows_a_key(modelctl, client):
    listed = modelctl("client", "list")
    assert "one-model" in listed
    assert client.rpartition(".")[2] not in listed


def test_a_service_of_the_same_account_needs_no_key(local):
    (function,) = [
        each["FunctionName"]
        for each in local.cloud.client("lambda").list_functions()["Functions"]
        if each.get("Environment", {}).get("Variables", {}).get("MODEL_NAME") == MINE and each["FunctionName"] in local.environments
    ]
    answer = local.cloud.client("lambda").invoke(FunctionName=function, Payload=example(MINE))
    assert "FunctionError" not in answer
    assert json.load(answer["Payload"])["model_name"] == MINE


def test_what_is_handed_to_another_program_holds_the_key(local):
    assert KEY.fullmatch(str(local.describe()["key"]))
