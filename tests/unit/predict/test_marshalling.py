"""What the runtime client reads and writes with our marshaller in place of its own."""

import json
import subprocess
import sys
from base64 import b64encode
from typing import Any

import pytest
from awslambdaric import lambda_runtime_client as client
from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
from hypothesis import given

from functions.predict.marshalling import Marshaller, _without_body, install
from tests.unit.modelserve.strategies import anything, dumped

USUAL = LambdaMarshaller()
OURS = Marshaller(USUAL)


@given(anything)
def test_an_event_is_read_as_the_client_reads_it(value):
    event = dumped(value)
    assert read(OURS, event) == read(USUAL, event)


def read(marshaller: Any, event: bytes) -> str:
    try:
        return repr(comparable(marshaller.unmarshal_request(event)))
    except FaultException as error:
        return str(error.msg)


def comparable(value: object) -> object:
    """Integers of more than 64 bits are read as floats."""
    if isinstance(value, dict):
        return {key: comparable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [comparable(each) for each in value]
    return float(value) if type(value) is int and not -(2**63) <= value < 2**64 else value


def test_an_event_that_is_no_json_is_told_by_the_client():
    with pytest.raises(Exception, match="Unable to unmarshal input"):
        OURS.unmarshal_request(b"{")


def test_a_body_of_another_type_is_handed_over_as_it_is():
    assert OURS.unmarshal_request(b"{}", "text/plain") == b"{}"


@given(anything)
def test_an_answer_is_the_same_json(value):
    body, content_type = OURS.marshal_response(value)
    usual, usual_type = USUAL.marshal_response(value)

    assert content_type == usual_type
    assert repr(comparable(json.loads(body))) == repr(comparable(json.loads(usual))) or "nan" in repr(value) or "inf" in repr(value)


def test_bytes_and_what_is_no_json_are_left_to_the_client():
    assert OURS.marshal_response(b"abc") == USUAL.marshal_response(b"abc")
    with pytest.raises(Exception, match="Unable to marshal response"):
        OURS.marshal_response(object())


def test_the_client_that_runs_the_function_takes_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client.LambdaRuntimeClient, "marshaller", USUAL)
    install()
    assert client.LambdaRuntimeClient("127.0.0.1:9").marshaller.unmarshal_request(b'{"a": 1}') == {"a": 1}
    assert isinstance(client.LambdaRuntimeClient.marshaller, Marshaller)


def test_without_a_runtime_client_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, client.__name__)
    install()
    assert client.LambdaRuntimeClient.marshaller is client.BaseLambdaRuntimeClient.marshaller


IMAGE = b64encode(bytes(range(256)) * 200).decode()


def compact(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "event",
    [
        {"path": "/v2", "body": IMAGE, "isBase64Encoded": True, "headers": {"a": "b"}},
        {"isBase64Encoded": True, "body": IMAGE},
        {"isBase64Encoded": False, "body": IMAGE},
        {"isBase64Encoded": True, "body": "", "of": {"body": IMAGE}},
        {"isBase64Encoded": True, "of": {"body": IMAGE}},
        {"isBase64Encoded": True, "body": IMAGE, "of": {"body": "text"}},
        {"isBase64Encoded": True, "of": {"body": "text"}, "body": IMAGE},
        {"isBase64Encoded": True, "body": IMAGE + '"'},
        {"isBase64Encoded": True, "body": IMAGE + "\\u0041"},
        {"isBase64Encoded": True, "body": IMAGE + "\u00e9"},
        {"isBase64Encoded": True, "body": None, "of": '"body":"' + IMAGE},
        [{"isBase64Encoded": True, "body": IMAGE}],
        IMAGE,
    ],
)
def test_an_event_with_a_large_body_is_read_as_the_client_reads_it(event):
    for written in (compact(event), json.dumps(event).encode(), json.dumps(event, ensure_ascii=False).encode()):
        assert OURS.unmarshal_request(written) == USUAL.unmarshal_request(written) == event


@pytest.mark.parametrize(
    "written",
    [
        '{{"x":[{ones},"s"],"body": "","isBase64Encoded":true}}',
        '{{"inner":{{"body":"{image}"}},"body": "","isBase64Encoded":true}}',
        '{{"k\\"body":"{image}","body": "","isBase64Encoded":true}}',
        '{{"body":"{image}","isBase64Encoded":true,"body": ""}}',
    ],
)
def test_a_large_text_in_another_place_is_no_body(written):
    event = written.format(image=IMAGE, ones=",".join("1" * 40_000)).encode()

    assert OURS.unmarshal_request(event) == USUAL.unmarshal_request(event) == json.loads(event)


def test_only_a_large_body_in_base64_passes_by_the_parser():
    event = {"isBase64Encoded": True, "body": IMAGE}
    assert _without_body(compact(event)) == event
    assert _without_body(compact({**event, "isBase64Encoded": False})) is None
    assert _without_body(compact({**event, "body": "AA=="})) is None


def test_a_large_event_that_is_cut_is_told_by_the_client():
    with pytest.raises(FaultException, match="Unable to unmarshal input"):
        OURS.unmarshal_request(compact({"isBase64Encoded": True, "body": IMAGE})[:-2])


CLIENT = """
import sys
from functions.predict.marshalling import postpone_usual
if sys.argv[1] == "postponed":
    postpone_usual()
from awslambdaric import bootstrap, lambda_runtime_client, lambda_runtime_marshaller
assert ("simplejson.encoder" in sys.modules) == ("_decimal" in sys.modules) == (sys.argv[1] == "usual")
from decimal import Decimal
usual = lambda_runtime_client.LambdaRuntimeClient.marshaller
calls = {
    "read": lambda: usual.unmarshal_request(b'{"a": "\\ud800"}'),
    "refused": lambda: usual.unmarshal_request(b"{"),
    "written": lambda: usual.marshal_response({"a": float("nan"), "b": Decimal("1.50"), "c": "\u00fc", "d": Decimal("NaN")}),
    "unwritten": lambda: usual.marshal_response(object()),
    "told": lambda: lambda_runtime_marshaller.to_json({"errorMessage": "\u00fc"}),
}
for name in sys.argv[2:]:
    try:
        print(ascii(calls[name]()))
    except Exception as error:
        print(type(error).__name__, getattr(error, "msg", error))
"""


@pytest.mark.parametrize(
    "order", [["read", "refused", "written", "unwritten", "told"], ["told", "unwritten", "written"], ["written", "read"]]
)
@pytest.mark.parametrize("runtime", ["", "AWS_Lambda_python3.13"])
def test_what_is_left_to_the_client_it_does_as_ever_though_its_json_is_imported_then(order, runtime):
    def told(how: str) -> str:
        environ = {"PYTHONPATH": ":".join(sys.path), "AWS_EXECUTION_ENV": runtime}
        return subprocess.check_output([sys.executable, "-c", CLIENT, how, *order], env=environ, text=True)

    assert told("postponed") == told("usual")
    assert told("usual").count("\n") == len(order)
