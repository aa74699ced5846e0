"""Answers on their way through Lambda: their size, their form."""

import json
import sys
from base64 import b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelserve.endpoints import Response
from modelserve.errors import InvalidRequest
from modelserve.proxy import _LARGE, authorized, from_event, to_proxy, within_limit
from tests.unit.predict.apps import http, rest

LAMBDA_LIMIT = 6 * 2**20
JSON = {"Content-Type": "application/json"}
BINARY = {"Content-Type": "application/octet-stream"}


def passes(body: bytes, headers: dict[str, str]) -> bool:
    return within_limit(Response(200, dict(headers), body)).status == 200


def sent(body: bytes, headers: dict[str, str]) -> int:
    """Bytes of the answer as the runtime sends it at worst: every character that is not ASCII escaped."""
    return len(json.dumps(to_proxy(Response(200, dict(headers), body), cors_origin="")))


@pytest.mark.parametrize("text", ["a", '"', "\\", "é", "☃", "\U0001f600", "\x7f"])
def test_what_passes_fits_lambda_however_json_escapes_it(text):
    each = len(json.dumps(text)) - 2
    fitting, excess = (text.encode() * (int(LAMBDA_LIMIT * share) // each) for share in (0.99, 1.0))

    assert passes(fitting, JSON)
    assert sent(fitting, JSON) <= LAMBDA_LIMIT
    assert not passes(excess, JSON)


@pytest.mark.parametrize(("size", "fits"), [(4_700_000, True), (4_800_000, False)])
def test_binary_that_passes_fits_lambda_in_base64(size, fits):
    assert passes(bytes(size), BINARY) is fits
    assert (sent(bytes(size), BINARY) <= LAMBDA_LIMIT) is fits


def test_what_does_not_pass_says_how_to_ask_for_less():
    refused = within_limit(Response(200, JSON, b"a" * LAMBDA_LIMIT))

    assert refused.status == 413
    assert b"send fewer rows, ask for fewer outputs, or ask for them with binary_data" in refused.body
    assert refused.error is not None
    assert refused.error.kind == "PayloadTooLarge"


@given(st.binary(max_size=50), st.booleans())
@example(b"", False)
def test_a_body_is_text_only_when_it_is_json(body, as_json):
    content = json.dumps(body.hex()).encode() if as_json else body

    answer = to_proxy(Response(200, dict(JSON if as_json else BINARY), content), cors_origin="")

    assert answer["isBase64Encoded"] is not as_json
    assert from_event({**rest("POST", "/v2"), "body": answer["body"], "isBase64Encoded": not as_json}).body == content


@pytest.mark.parametrize("kind", [rest, http])
def test_both_kinds_of_event_are_the_same_request(kind):
    request = from_event(kind("POST", "/dev/v2/models/m/infer", b"\x00\xff", inference_header_content_length="0"))

    assert (request.method, request.path, request.body) == ("POST", "/v2/models/m/infer", b"\x00\xff")
    assert request.headers == {"inference-header-content-length": "0"}


def test_a_path_without_the_protocol_is_left_as_it_is():
    assert from_event(rest("GET", "/other/path")).path == "/other/path"


@pytest.mark.parametrize("kind", [rest, http])
@pytest.mark.parametrize("empty", [{"body": None}, {"body": ""}, {"headers": None}, {"headers": {}}, {"isBase64Encoded": None}])
def test_what_is_empty_may_be_absent(kind, empty):
    request = from_event(kind("GET", "/v2") | empty)

    assert (request.headers, request.body) == ({}, b"")


@pytest.mark.parametrize(
    "event",
    [
        *(None, [], "text", {}, {"inputs": []}, {"requestContext": None}, {"requestContext": {"authorizer": None}}),
        *({"requestContext": {"authorizer": {"client": client}}} for client in (None, 5, ["shop"])),
    ],
    ids=repr,
)
def test_whom_no_authorizer_let_in_has_no_name(event):
    assert authorized(event) == (None, None)


@pytest.mark.parametrize("plan", [None, 5, ["premium"]])
def test_a_plan_that_the_authorizer_does_not_name_is_none(plan):
    event = rest("GET", "/v2") | {"requestContext": {"authorizer": {"client": "shop", "plan": plan}}}

    assert (from_event(event).client, from_event(event).plan) == ("shop", None)


@pytest.mark.parametrize("claimed", ["plan", "client", "x-plan"])
def test_nobody_says_for_themselves_who_they_are(claimed):
    event = rest("GET", "/v2") | {"headers": {claimed: "premium"}, "queryStringParameters": {claimed: "premium"}, claimed: "premium"}

    assert (from_event(event).client, from_event(event).plan) == (None, None)


def test_the_plan_of_whom_the_authorizer_let_in_is_known():
    event = rest("GET", "/v2") | {"requestContext": {"authorizer": {"client": "shop", "plan": "premium"}}}

    assert (from_event(event).client, from_event(event).plan) == ("shop", "premium")


def test_whom_the_authorizer_let_in_is_known():
    assert authorized({"requestContext": {"authorizer": {"principalId": "shop", "client": "shop", "models": "*"}}})[0] == "shop"


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("size", [_LARGE // 2, _LARGE + 1, 3 * _LARGE])
def test_large_bodies_pass_with_and_without_pybase64(monkeypatch, size, installed):
    if not installed:
        monkeypatch.setitem(sys.modules, "pybase64", None)
    content = bytes(range(256)) * (size // 256) + b"end"
    answer = to_proxy(Response(200, dict(BINARY), content), cors_origin="")

    assert answer["body"] == b64encode(content).decode()
    assert from_event(rest("POST", "/v2", content)).body == content


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("spoilt", ["=", "é", "\n", "A===", "-_"])
def test_large_bodies_that_are_no_base64_are_told(monkeypatch, spoilt, installed):
    if not installed:
        if spoilt == "=" and sys.version_info < (3, 13):
            pytest.skip("the standard library takes one = too many, which says nothing")
        monkeypatch.setitem(sys.modules, "pybase64", None)
    event = {**rest("POST", "/v2"), "body": "A" * _LARGE + spoilt, "isBase64Encoded": True}

    with pytest.raises(InvalidRequest, match="the body could not be decoded"):
        from_event(event)


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/v2/models/a/infer", "/v2/models/a/infer"),
        ("/dev/v2/models/a/infer", "/v2/models/a/infer"),
        ("/v2/v2/models", "/v2/models"),
        ("/v2/models/v2/infer", "/v2/models/v2/infer"),
        ("/a/v2", "/v2"),
        ("/v2", "/v2"),
        ("/v2x/v2/", "/v2/"),
        ("/else", "/else"),
    ],
)
def test_what_stands_before_the_protocols_own_path_is_left_out(path, own):
    """A stage may be called v2, and a model too."""
    assert from_event(rest("GET", path)).path == own
