"""A small app behind an authorizer and usage plans: what the template says of access holds on this machine."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request

import pytest

from tests.local.factories import a_stack, guarded, write_assembly
from tools.local.stack import LocalStack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    stack = a_stack("Guarded-dev", **guarded())
    stack.template["Outputs"]["Plans"] = {
        "Value": {"Fn::Join": ["", ['{"slow":"', {"Ref": "Slow"}, '","few":"', {"Ref": "Few"}, '"}']]},
    }
    with LocalStack(write_assembly(tmp_path_factory.mktemp("guarded") / "cdk.out", stack)) as running:
        yield running


def subscribe(app, client, plan, *, enabled=True):
    """Gives the word's identifier, which the authorizer answers, a plan."""
    gateway = app.cloud.client("apigateway")
    key = gateway.create_api_key(name=client, value=f"{client}-identifier-of-20", enabled=enabled)
    gateway.create_usage_plan_key(usagePlanId=json.loads(app.outputs["Plans"])[plan], keyId=key["id"], keyType="API_KEY")
    return key["id"]


def call(app, word, thing=None):
    headers = {"Authorization": f"Bearer {word}"} if word else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{app.url}/things/{thing or word}", headers=headers), timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_the_templates_plans_are_made_and_named_in_the_outputs(app):
    plans = app.cloud.client("apigateway").get_usage_plans()["items"]
    named = {name: next(each for each in plans if each["id"] == plan_id) for name, plan_id in json.loads(app.outputs["Plans"]).items()}
    assert named["slow"]["throttle"] == {"rateLimit": 0.001, "burstLimit": 2}
    assert named["few"]["quota"] == {"limit": 3, "period": "DAY"}
    assert [each["stage"] for each in named["few"]["apiStages"]] == ["dev"]


def test_a_caller_is_known_to_the_function_behind(app):
    subscribe(app, "ann", "few")
    status, event = call(app, "ann")
    assert status == 200
    told = event["requestContext"]["authorizer"]
    assert (told["principalId"], told["word"], told["long"]) == ("ann", "ann", "false")


@pytest.mark.parametrize(
    ("word", "thing", "status"),
    [(None, "ann", 401), ("7", "ann", 401), ("stranger", "ann", 401), ("crash", "ann", 500), ("bob", "ann", 403), ("bob", "bob", 403)],
    ids=["nobody", "malformed", "stranger", "authorizer fails", "not allowed", "no plan"],
)
def test_who_is_not_let_in(app, word, thing, status):
    assert call(app, word, thing)[0] == status


def test_a_client_over_its_rate_waits_alone(app):
    subscribe(app, "carl", "slow")
    subscribe(app, "dora", "slow")
    assert [call(app, "carl")[0] for _ in range(3)] == [200, 200, 429]
    assert call(app, "dora")[0] == 200


def test_a_client_over_its_quota_is_refused_and_one_that_is_not_let_in_uses_up_nothing(app):
    subscribe(app, "emil", "few")
    assert [call(app, "emil", "ann")[0] for _ in range(4)] == [403] * 4
    assert [call(app, "emil")[0] for _ in range(4)] == [200, 200, 200, 429]


def test_a_key_that_is_disabled_is_no_key(app):
    subscribe(app, "fred", "few", enabled=False)
    assert call(app, "fred")[0] == 403


def test_a_path_that_is_none_is_answered_before_anybody_is_asked_who_calls(app):
    request = urllib.request.Request(f"{app.url}/elsewhere")
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(request, timeout=20)
    with caught.value as error:
        assert json.load(error) == {"message": "Missing Authentication Token"}
