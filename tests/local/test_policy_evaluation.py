"""Policies of authorizers: what they let through."""

from __future__ import annotations

from typing import Any

import pytest

from tools.local.policy_evaluation import MalformedPolicy, allows

ARN = "arn:aws:execute-api:us-east-1:1:api/dev/POST/v2/models/a/infer"


def a_policy(*resources: str, effect: str = "Allow", action: object = "execute-api:Invoke") -> dict[str, Any]:
    return {"Statement": [{"Effect": effect, "Action": action, "Resource": list(resources)}]}


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        (ARN, True),
        ("*", True),
        ("*/POST/v2/models/?/infer", True),
        ("*/dev/*/v2/models/a/*", True),
        (f"{ARN}/", False),
        ("*/dev/*/v2/models/a", False),
        ("*/dev/GET/*", False),
        ("*/v2/models/./infer", False),  # a dot is a dot
        ("*/V2/models/a/infer", False),
    ],
)
def test_a_resource_is_matched_whole_with_its_wildcards(resource, allowed):
    assert allows(a_policy(resource), "execute-api:Invoke", ARN) is allowed


def test_a_star_stands_for_slashes_too():
    assert allows(a_policy("*/dev/*/v2/models/a"), "execute-api:Invoke", "arn/dev/GET/v2/models/b/v2/models/a")


def test_a_deny_wins_over_an_allow():
    both = [*a_policy("*")["Statement"], *a_policy(ARN, effect="Deny")["Statement"]]
    assert not allows({"Statement": both}, "execute-api:Invoke", ARN)
    assert allows({"Statement": both}, "execute-api:Invoke", f"{ARN}/x")


@pytest.mark.parametrize(("action", "allowed"), [("execute-api:*", True), (["a:b", "*"], True), ("execute-api:ManageConnections", False)])
def test_an_action_is_matched_too(action, allowed):
    assert allows(a_policy("*", action=action), "execute-api:Invoke", ARN) is allowed


def test_what_nothing_allows_is_denied():
    assert not allows({"Statement": []}, "execute-api:Invoke", ARN)


@pytest.mark.parametrize(
    "policy",
    [
        None,
        {},
        {"Statement": "Allow"},
        {"Statement": [None]},
        {"Statement": {"Effect": "Allow", "Action": "*"}},
        a_policy("*", effect="allow"),
        a_policy("*", action={}),
        a_policy("*", action=[1]),
        {"Statement": {**a_policy("*")["Statement"][0], "Condition": {}}},
    ],
)
def test_what_is_no_policy_lets_nobody_in(policy):
    with pytest.raises(MalformedPolicy):
        allows(policy, "execute-api:Invoke", ARN)
