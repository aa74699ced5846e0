"""The gateway's side of an authorizer: when it is asked, what its answers mean, how long they hold."""

from __future__ import annotations

import json

import pytest

from tests.local.factories import a_stack, guarded
from tools.local.authorizer import Authorizer, Refused
from tools.local.environments import Answer, TooManyRequests
from tools.local.errors import LocalError
from tools.local.messages import Request

ARN = "arn:aws:execute-api:us-east-1:1:api/dev/GET/things/"
GOOD = {
    "principalId": "ann",
    "policyDocument": {"Statement": {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": f"{ARN}mine"}},
    "context": {"models": "a,b", "count": 2, "trial": True},
    "usageIdentifierKey": "identifier",
}


class Function:
    """Counts how often it was asked; answers `document`, or fails with `error`."""

    def __init__(self, document=GOOD, error=None):
        self.document, self.error, self.events = document, error, []

    def __call__(self, payload, trace_id):
        self.events.append(json.loads(payload))
        if self.error:
            return Answer(json.dumps({"errorMessage": self.error, "errorType": "Exception"}).encode(), failed=True)
        return Answer(json.dumps(self.document).encode())


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def ask(authorizer, token="Bearer ann", thing="mine"):
    headers = [] if token is None else [("authorization", token)]
    return authorizer.caller(Request(method="GET", target="/dev/things/mine", headers=headers), ARN + thing)


def refusal(authorizer, **call):
    with pytest.raises(Refused) as caught:
        ask(authorizer, **call)
    return caught.value.kind


def test_the_function_is_told_the_token_and_the_method():
    function = Function()
    ask(Authorizer(function))
    assert function.events == [{"type": "TOKEN", "authorizationToken": "Bearer ann", "methodArn": f"{ARN}mine"}]


def test_the_caller_is_whom_the_function_names_and_its_context_is_text():
    caller = ask(Authorizer(Function()))
    assert (caller.principal, caller.usage_key) == ("ann", "identifier")
    assert caller.context == {"models": "a,b", "count": "2", "trial": "true"}


@pytest.mark.parametrize("token", [None, "", "ann", "bearer ann", "Bearer ann ", "Bearer Ann", " Bearer ann"])
def test_what_does_not_match_the_pattern_is_refused_before_the_function_is_asked(token):
    function = Function()
    assert refusal(Authorizer(function, pattern="^Bearer [a-z]+$"), token=token) == "UNAUTHORIZED"
    assert function.events == []


def test_a_stranger_is_refused_and_asked_about_again():
    function = Function(error="Unauthorized")
    authorizer = Authorizer(function, ttl=60)
    assert [refusal(authorizer) for _ in range(2)] == ["UNAUTHORIZED"] * 2
    assert len(function.events) == 2


@pytest.mark.parametrize("error", ["unauthorized", "Unauthorized.", "the table could not be reached"])
def test_any_other_failure_is_the_authorizers(error):
    assert refusal(Authorizer(Function(error=error))) == "AUTHORIZER_FAILURE"


def test_a_function_that_is_called_too_often_is_the_authorizers_failure():
    def busy(payload, trace_id):
        raise TooManyRequests

    assert refusal(Authorizer(busy)) == "AUTHORIZER_FAILURE"


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {**GOOD, "principalId": None},
        {**GOOD, "policyDocument": {}},
        {**GOOD, "context": {"models": ["a"]}},
        {**GOOD, "context": {"models": None}},
        {**GOOD, "context": "models"},
        {**GOOD, "usageIdentifierKey": 7},
    ],
)
def test_an_answer_that_api_gateway_would_not_take_is_a_configuration_error(document):
    assert refusal(Authorizer(Function(document))) == "AUTHORIZER_CONFIGURATION_ERROR"


def test_the_policy_holds_for_the_method_that_is_called():
    assert refusal(Authorizer(Function()), thing="yours") == "ACCESS_DENIED"


def test_an_answer_holds_for_its_time_for_every_method_of_that_token_alone():
    function, clock = Function(), Clock()
    authorizer = Authorizer(function, ttl=60, clock=clock)
    ask(authorizer)
    assert refusal(authorizer, thing="yours") == "ACCESS_DENIED"
    clock.now += 59
    assert ask(authorizer).latency == 0
    assert len(function.events) == 1
    ask(authorizer, token="Bearer bob")
    assert len(function.events) == 2
    clock.now += 2
    ask(authorizer)
    assert len(function.events) == 3


def test_no_time_is_no_memory():
    function = Function()
    authorizer = Authorizer(function, ttl=0)
    for _ in range(2):
        ask(authorizer)
    assert len(function.events) == 2


def test_the_template_says_it_all_and_a_cap_only_shortens_the_time():
    stack = a_stack(**guarded(AuthorizerResultTtlInSeconds=60))
    for cap, asked in ((None, 1), (0, 2), (3600, 1)):
        function = Function()
        authorizer = Authorizer.read(stack, {"Guard": function}, max_ttl=cap)["Keys"]
        for _ in range(2):
            ask(authorizer)
        assert len(function.events) == asked
        assert refusal(authorizer, token="Bearer 7") == "UNAUTHORIZED"


@pytest.mark.parametrize("changes", [{"Type": "REQUEST"}, {"IdentitySource": "method.request.querystring.key"}])
def test_an_authorizer_of_another_kind_is_refused_by_name(changes):
    with pytest.raises(LocalError, match="authorizer Keys"):
        Authorizer.read(a_stack(**guarded(**changes)), {"Guard": Function()})
