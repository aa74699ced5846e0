"""A client from its first key to its last, by the command line: each change holds at the latest when the gateway asks again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

import pytest
from typer.testing import CliRunner

from tests.local.callers import KEY, MINE, OTHERS, example, infer, refused, until
from tools.local.stack import LocalStack
from tools.modelctl import console
from tools.modelctl.cli import app

pytestmark = [
    pytest.mark.xdist_group("local"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]


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


def shown_key(output: str) -> str:
    found = KEY.search(output)
    assert found, output
    return found[0]


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
    assert (ask(ready, second).status, ask(ready, first).status) == (200, 200)

    third = shown_key(modelctl("client", "rotate", "shop", "--overlap", "0"))
    for old in (first, second):
        refused(until(lambda key=old: ask(ready, key), 401), 401)  # type: ignore[misc]
    assert ask(ready, third).status == 200

    modelctl("client", "revoke", "shop")
    refused(until(lambda: ask(ready, third), 401), 401)


def test_a_former_key_expires_when_the_overlap_ends(ask, modelctl, local):
    former = local.new_client("brief", models=(MINE,))
    seconds = 3
    key = shown_key(modelctl("client", "rotate", "brief", "--overlap", str(seconds / 3600)))
    refused(until(lambda: ask(f"/v2/models/{MINE}/ready", former), 401), 401)
    assert ask(f"/v2/models/{MINE}/ready", key).status == 200


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
