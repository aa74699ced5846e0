"""Events of a REST API's proxy integration, and answers back."""

from __future__ import annotations

import base64
import json

import pytest

from tests.local.factories import a_stack
from tools.local import events
from tools.local.authorizer import Caller
from tools.local.messages import Request
from tools.local.routes import Api

API = Api.read(a_stack())


def event_of(method="POST", target="/dev/things/a/b?x=1&x=2&y=", headers=(), body=b"", caller=None):
    request = Request(method=method, target=target, headers=list(headers), body=body, source_ip="127.0.0.7")
    path = request.path.removeprefix("/dev")
    names = {"stage": "dev", "path": path, "request_id": "r1", "trace_id": "Root=1-2-3", "api_id": "abc"}
    match = API.match(method, path)
    assert match is not None
    return json.loads(events.event(request, match, caller=caller, **names))


def test_a_body_comes_as_base64_whatever_it_is():
    event = event_of(body=b"\x00\xff{")
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"\x00\xff{"


def test_no_body_is_null_and_no_base64():
    event = event_of(method="GET")
    assert (event["body"], event["isBase64Encoded"]) == (None, False)


def test_paths_with_and_without_stage():
    event = event_of()
    assert event["path"] == "/things/a/b"
    assert event["resource"] == event["requestContext"]["resourcePath"] == "/things/{proxy+}"
    assert event["requestContext"]["path"] == "/dev/things/a/b"
    assert event["requestContext"]["stage"] == "dev"
    assert event["pathParameters"] == {"proxy": "a/b"}


def test_queries_and_headers_keep_all_values_and_show_the_last():
    event = event_of(
        headers=[("X-A", "1"), ("X-A", "2"), ("Host", "localhost:8080"), ("Transfer-Encoding", "chunked"), ("Expect", "100-continue")]
    )
    assert event["queryStringParameters"] == {"x": "2", "y": ""}
    assert event["multiValueQueryStringParameters"] == {"x": ["1", "2"], "y": [""]}
    assert event["headers"]["X-A"] == "2"
    assert event["multiValueHeaders"]["X-A"] == ["1", "2"]
    assert event["headers"]["X-Forwarded-For"] == event["requestContext"]["identity"]["sourceIp"] == "127.0.0.7"
    assert not {"Transfer-Encoding", "Expect"} & set(event["headers"]), "API Gateway keeps these to itself"
    assert event["requestContext"]["domainName"] == "localhost"


def test_no_query_is_null():
    assert event_of(target="/dev/things")["queryStringParameters"] is None
    assert event_of(target="/dev/things")["pathParameters"] is None


def test_what_the_authorizer_said_is_the_functions_to_read():
    caller = Caller(principal="ann", context={"models": "a,b"}, usage_key="secret-to-nobody", latency=7)
    assert event_of(caller=caller)["requestContext"]["authorizer"] == {"models": "a,b", "principalId": "ann", "integrationLatency": 7}
    assert "authorizer" not in event_of()["requestContext"]


def answer(**fields):
    return events.response(json.dumps({"statusCode": 200, **fields}).encode())


def test_an_answer_becomes_a_response():
    response = answer(statusCode="201", headers={"X-A": "1"}, multiValueHeaders={"x-a": ["2", "3"]}, body="ä")
    assert (response.status, response.body) == (201, "ä".encode())
    assert [value for name, value in response.headers if name.lower() == "x-a"] == ["2", "3"]


def test_base64_is_decoded_only_when_said_so():
    assert answer(body="AP8=", isBase64Encoded=True).body == b"\x00\xff"
    assert answer(body="AP8=").body == b"AP8="
    assert answer().body == b""


def test_headers_that_api_gateway_keeps_to_itself():
    names = [name for name, _ in answer(headers={"Content-Length": "3", "Server": "mine", "X-B": "1"}).headers]
    assert names == ["x-amzn-Remapped-Server", "X-B"]


@pytest.mark.parametrize(
    "payload",
    [
        b"no json",
        b'"text"',
        b"null",
        b"{}",
        b'{"statusCode": "many"}',
        b'{"statusCode": 99}',
        b'{"statusCode": 200, "headers": {"Content-Length": "1", "Inference-Header-Content-Length": 12}}',
        b'{"statusCode": 200, "body": {"a": 1}}',
        b'{"statusCode": 200, "body": "no base64!", "isBase64Encoded": true}',
        b'{"statusCode": 200, "outputs": []}',
    ],
)
def test_what_api_gateway_would_not_take_is_malformed(payload):
    with pytest.raises(events.MalformedAnswer):
        events.response(payload)
