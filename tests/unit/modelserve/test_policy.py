"""What the policy of a client lets API Gateway pass, as IAM would evaluate it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.policy import MAX_POLICY_BYTES, PolicyTooLarge, policy

STAGE = "arn:aws:execute-api:us-east-1:123456789012:abcdefghij/prod"
METHODS = ["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
OF_A_MODEL = [
    *("", "/", "/infer", "/ready", "/config", "/versions/production/infer", "/versions/v2", "/versions/v2/", "/versions/v2/ready"),
    *("/jobs", "/jobs/", "/jobs/0f", "/versions/v2/jobs", "/versions/v2/jobs/", "/versions/v2/uploads"),
]
OF_THE_SERVER = [
    *("/v2", "/v2/", "/v2/models", "/v2/models/", "/v2/health/live", "/v2/health/ready", "/v2/repository/index"),
    *("/v2/jobs/0f", "/v2/jobs/0f/result", "/v2/uploads", "/v2/uploads/"),
]
# Names that contain each other, and words of the paths.
NAMES = st.sampled_from(["fruit", "fruit_2", "fruit_", "a", "v2", "models", "infer", "ready", "versions", "health", "jobs", "uploads"])


def allows(document: dict[str, Any], method: str, path: str) -> bool:
    """As IAM decides: what is not allowed is denied, and a Deny wins; `*` stands for slashes too."""
    arn = f"{STAGE}/{method}{path}"
    found = {each["Effect"] for each in document["Statement"] if any(matches(pattern, arn) for pattern in each["Resource"])}
    return found == {"Allow"}


def matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


@given(own=st.sets(NAMES), method=st.sampled_from(METHODS), route=st.sampled_from(OF_A_MODEL), asked=NAMES)
def test_a_client_may_call_all_of_its_models_and_no_other(own, method, route, asked):
    assert allows(policy(STAGE, own), method, f"/v2/models/{asked}{route}") == (asked in own)


@given(own=st.sets(NAMES), method=st.sampled_from(METHODS), path=st.sampled_from(OF_THE_SERVER))
def test_a_client_may_ask_about_the_server(own, method, path):
    assert allows(policy(STAGE, own), method, path)


@given(
    own=NAMES,
    asked=NAMES,
    between=st.sampled_from(["", "/infer", "/versions", "/x/y"]),
    after=st.sampled_from(
        [
            *("/v2/models/{own}", "/v2/models/{own}/infer", "/v2", "/v2/", "/v2/models", "/v2/health/x", "/v2/repository/x"),
            *("/v2/jobs/0f", "/v2/jobs/0f/result", "/v2/uploads", "/v2/uploads/"),
        ]
    ),
)
def test_a_path_of_its_own_behind_that_of_another_model_opens_nothing(own, asked, between, after):
    """`*` in a resource stands for slashes too."""
    if own != asked:
        assert not allows(policy(STAGE, [own]), "POST", f"/v2/models/{asked}{between}{after.format(own=own)}")


@given(rest=st.text(max_size=30))
def test_no_path_below_another_model_is_open(rest):
    assert not allows(policy(STAGE, ["fruit"]), "POST", f"/v2/models/fruit_2{rest}")
    assert not allows(policy(STAGE, ["fruit"]), "POST", f"/v2/models/fruit_2/{rest}/v2/models/fruit/infer")


@given(name=NAMES, route=st.sampled_from(OF_A_MODEL))
def test_a_star_opens_every_model(name, route):
    assert allows(policy(STAGE, ["*"]), "POST", f"/v2/models/{name}{route}")


NO_ROUTES = ["/v2/jobs", "/v2/jobsx", "/v2/job/0f", "/x/v2/jobs/0f", "/v2/v2/jobs/0f", "/v2/v2/uploads"]


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v2x", "/v2/modelsx", "/v2/other", "/v2/models/fruit-2", "/v2/models/fruit.json", *NO_ROUTES]
)
def test_nothing_else_is_open(path):
    assert not allows(policy(STAGE, ["fruit"]), "GET", path)


@pytest.mark.parametrize("stage", [STAGE[:-1], STAGE + "2", STAGE.replace("abcdefghij", "abcdefghik")])
def test_another_stage_or_api_is_not_open(stage):
    document = policy(stage, ["*"])

    assert not allows(document, "GET", "/v2")


def test_a_policy_that_api_gateway_could_not_read_is_refused():
    many = [f"model_{number:03d}" for number in range(200)]
    fitting = next(count for count in range(200, 0, -1) if fits(many[:count]))

    assert len(json.dumps(policy(STAGE, many[:fitting]), separators=(",", ":"))) <= MAX_POLICY_BYTES
    assert fitting > 30
    with pytest.raises(PolicyTooLarge, match=rf"a policy for {fitting + 1} models takes 8,\d+ bytes, of 8,192 at most; allow every model"):
        policy(STAGE, many[: fitting + 1])


def fits(models: list[str]) -> bool:
    try:
        policy(STAGE, models)
    except PolicyTooLarge:
        return False
    return True
