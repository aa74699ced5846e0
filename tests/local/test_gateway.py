"""The gateway without a port: limits, errors and their shapes."""

from __future__ import annotations

import json
import threading

import pytest

from tests.local.factories import a_method, a_stack
from tools.local.environments import Answer, RequestTooLarge, TooManyRequests
from tools.local.errors import LocalError
from tools.local.gateway import MAX_BODY, Gateway
from tools.local.gateway_responses import GatewayResponses
from tools.local.messages import Request
from tools.local.routes import Api

OK = Answer(b'{"statusCode": 200, "body": "fine"}')


def answering(answer):
    return lambda *_: answer


def a_response(kind, template, status=None, **headers):
    properties = {
        "ResponseType": kind,
        "ResponseTemplates": {"application/json": template},
        "ResponseParameters": {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()},
        **({"StatusCode": status} if status else {}),
    }
    return {"Type": "AWS::ApiGateway::GatewayResponse", "Properties": properties}


FINE = answering(OK)


@pytest.fixture
def gateway():
    made = []

    def make(answer=FINE, **resources):
        stack = a_stack(**resources)
        made.append(Gateway(Api.read(stack), GatewayResponses.read(stack), {"Tiny": answer}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def call(gateway, target="/dev/things", body=b""):
    response = gateway.handle(Request(method="POST", target=target, body=body))
    return response.status, response.body


def failing(error):
    def answer(payload, trace):
        raise error

    return answer


@pytest.mark.parametrize("target", ["/dev/things", "/things", "/dev/things/", "/dev/things/x?y=1"])
def test_answers_with_the_stage_and_without(gateway, target):
    assert call(gateway(), target) == (200, b"fine")


@pytest.mark.parametrize("target", ["/dev", "/", "/device/things", "/dev/other"])
def test_an_unknown_path_is_a_missing_token_as_on_aws(gateway, target):
    assert call(gateway(), target) == (403, b'{"message":"Missing Authentication Token"}')


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (answering(Answer(b"{}", failed=True)), 502),
        (answering(Answer(b'{"statusCode": 200, "headers": {"n": 1}}')), 502),
        (failing(TooManyRequests()), 500),
        (failing(RequestTooLarge(7)), 413),
    ],
)
def test_what_goes_wrong_behind_the_gateway(gateway, answer, status):
    assert call(gateway(answer))[0] == status


def test_ten_megabytes_are_taken_and_no_more(gateway):
    assert call(gateway(), body=b"x" * MAX_BODY)[0] == 200
    assert call(gateway(), body=b"x" * (MAX_BODY + 1)) == (413, b'{"message":"Request Too Long"}')


def test_a_function_that_takes_too_long_is_given_up(gateway):
    waiting = threading.Event()
    slow = a_method("Things", TimeoutInMillis=50)
    assert call(gateway(lambda *_: waiting.wait(20) and OK, AnyThings=slow)) == (
        504,
        b'{"message":"Endpoint request timed out"}',
    )
    waiting.set()


def test_the_templates_shape_is_used(gateway):
    template = '{"error": $context.error.messageString, "kind": "$context.error.responseType"}'
    made = gateway(Missing=a_response("MISSING_AUTHENTICATION_TOKEN", template, "404", **{"X-Why": "because"}))
    response = made.handle(Request(method="GET", target="/nothing"))
    assert response.status == 404
    assert json.loads(response.body) == {"error": "Missing Authentication Token", "kind": "MISSING_AUTHENTICATION_TOKEN"}
    assert ("X-Why", "because") in response.headers


def test_the_templates_default_shape_holds_for_the_others(gateway):
    made = gateway(failing(TooManyRequests()), Default=a_response("DEFAULT_5XX", '{"error": "$context.error.responseType"}'))
    assert call(made) == (500, b'{"error": "INTEGRATION_FAILURE"}')


def test_a_variable_that_nobody_knows_is_refused(gateway):
    made = gateway(Missing=a_response("MISSING_AUTHENTICATION_TOKEN", "$context.authorizer.claims.sub"))
    with pytest.raises(LocalError, match=r"authorizer\.claims\.sub"):
        call(made, "/nothing")


def test_every_answer_has_an_id_and_a_type(gateway):
    names = {name.lower() for name, _ in gateway().handle(Request(method="GET", target="/things")).headers}
    assert {"x-amzn-requestid", "x-amzn-trace-id", "content-type"} <= names
