"""What a caller sends stays between the caller and the model: no log, metric, table or bucket repeats any of it.

Every field that a caller controls holds a canary of its own, on calls that succeed and on calls that fail; then every place where the
deployment writes is searched. Metrics are lines of the log. What API Gateway logs is the template's word: `tests/stacks` holds its access
log's format to a list. A trace has only what Lambda writes: `tests/unit/test_layering.py` keeps every tracer out of the functions.
"""

from __future__ import annotations

import json
import struct
import sys
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from modelserve.endpoints import Response
from tests.local.canaries import Canaries, binary, broken, document
from tests.local.releases import UNREACHABLE, Served, eventually, send
from tools.local.stack import LocalStack

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]
MODEL, CLIENT = "private", "confidential"
INFER = f"/v2/models/{MODEL}/infer"


class Sent:
    """Everything that is sent: over HTTP with a canary in each header and in the query, and straight to the functions."""

    def __init__(self, stack: LocalStack, canaries: Canaries, key: str) -> None:
        self.canaries = canaries
        self.statuses: dict[str, int] = {}
        self._stack = stack
        self._key = key
        canaries.words["the key"] = key
        canaries.words["the key's secret"] = key.rpartition(".")[2]

    def call(self, case: str, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        word = self.canaries.word
        free = {
            "User-Agent": word(f"{case}: User-Agent"),
            "X-Forwarded-For": word(f"{case}: X-Forwarded-For"),
            "X-Amzn-Trace-Id": word(f"{case}: trace"),
            "Cookie": word(f"{case}: Cookie"),
            word(f"{case}: header"): word(f"{case}: header's value"),
        }
        target = f"{path}?{word(f'{case}: query')}={word(f'{case}: value in the query')}"
        answer = send(self._stack.url, method, target, body, {"Authorization": f"Bearer {self._key}", **free, **headers})
        self.statuses[case] = answer.status
        return answer

    def invoke(self, case: str, function: str, event: object, kind: str = "RequestResponse") -> None:
        answer = self._stack.cloud.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event).encode(), InvocationType=kind)
        answer["Payload"].read()
        self.statuses[case] = answer["StatusCode"]


@pytest.fixture(scope="module")
def sent(release: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """All of it, once."""
    model = Served(release, MODEL, tmp_path_factory.mktemp(MODEL))
    model.release_scaled(2.0)
    canaries = Canaries()
    sent = Sent(release, canaries, release.new_client(CLIENT, models=(MODEL, UNREACHABLE)))
    _predictions(sent)
    _paths(sent)
    _strangers(sent)
    _invocations(sent, model, release)
    return sent


def _predictions(sent: Sent) -> None:
    for case, body in (("right", document(sent.canaries, "right")), *broken(sent.canaries)):
        sent.call(case, "POST", INFER, json.dumps(body).encode())
    body, headers = binary(sent.canaries)
    sent.call("binary", "POST", INFER, body, **headers)
    sent.call("cut off", "POST", INFER, json.dumps(document(sent.canaries, "cut off")).encode()[:-3])
    sent.call("no JSON", "POST", INFER, sent.canaries.word("no JSON").encode())
    sent.call("header length", "POST", INFER, b"{}", **{"Inference-Header-Content-Length": sent.canaries.word("header length")})
    sent.call("encoding", "POST", INFER, b"{}", **{"Content-Encoding": sent.canaries.word("encoding")})
    sent.call("content type", "POST", INFER, b"{}", **{"Content-Type": sent.canaries.word("content type")})
    sent.call("store unavailable", "POST", f"/v2/models/{UNREACHABLE}/infer", json.dumps(document(sent.canaries, "unavailable")).encode())


def _paths(sent: Sent) -> None:
    word = sent.canaries.word
    sent.call("version", "GET", f"/v2/models/{MODEL}/versions/{word('version')}/ready")
    sent.call("escaped version", "GET", f"/v2/models/{MODEL}/versions/%0d%0a{word('escaped version')}/ready")
    sent.call("endpoint", "GET", f"/v2/models/{MODEL}/{word('endpoint')}")
    sent.call("model", "GET", f"/v2/models/{word('model')}/ready")
    sent.call("path", "GET", f"/v2/health/{word('path')}")
    sent.call("load", "POST", f"/v2/repository/models/{word('loaded model')}/load", word("load").encode())
    sent.call("index", "POST", "/v2/repository/index", json.dumps({"ready": True, word("index key"): word("index value")}).encode())
    sent.call("wrong index", "POST", "/v2/repository/index", json.dumps({"ready": word("wrong index")}).encode())
    sent.call("index of nonsense", "POST", "/v2/repository/index", word("index of nonsense").encode())
    sent.call("no route", "GET", f"/{word('no route')}")


def _strangers(sent: Sent) -> None:
    secret = "s" * 11
    for case, header in {
        "malformed key": sent.canaries.word("malformed key"),
        "unknown client": f"Bearer sox.{sent.canaries.word('unknown client')}.{secret}{sent.canaries.word('unknown secret')}{'s' * 10}",
        "wrong secret": f"Bearer sox.{CLIENT}.{secret}{sent.canaries.word('wrong secret')}{'s' * 10}",
    }.items():
        sent.call(case, "GET", INFER, Authorization=header)


def _invocations(sent: Sent, model: Served, release: LocalStack) -> None:
    sent.invoke("direct", model.function, document(sent.canaries, "direct"))
    for case, body in broken(sent.canaries):
        sent.invoke(f"direct {case}", model.function, body)
    event = {
        sent.canaries.word("event key"): sent.canaries.word("event value"),
        "httpMethod": "GET",
        "path": [sent.canaries.word("event path")],
    }
    for function in release.environments:
        sent.invoke(f"an event for {function}", function, event)
        sent.invoke(f"text for {function}", function, sent.canaries.word("event that is text"))
    lines = len(model.log)
    sent.invoke("asynchronous", model.function, document(sent.canaries, "asynchronous"), "Event")
    sent.invoke("asynchronous and wrong", model.function, document(sent.canaries, "asynchronous and wrong", shape=[7]), "Event")
    eventually(lambda: len(model.log), lambda count: count >= lines + 4)


def test_each_call_met_what_it_was_made_for(sent):
    """Otherwise the canaries would not have been where they could leak."""
    met = {case: sent.statuses[case] for case in ("right", "binary", "index", "store unavailable", "version", "model", "no route")}
    assert met == {"right": 200, "binary": 200, "index": 200, "store unavailable": 503, "version": 404, "model": 403, "no route": 403}
    assert {sent.statuses[case] for case, _ in broken(Canaries())} == {400}
    assert {sent.statuses[case] for case in ("malformed key", "unknown client", "wrong secret")} == {401}
    assert sent.statuses["asynchronous"] == 202


def test_no_function_writes_what_it_was_sent(sent, release):
    written = {name: environments.log.read_text("utf-8", "replace") for name, environments in release.environments.items()}
    assert any(CLIENT in text for text in written.values()), "who called is logged, so that these are the logs to look at"
    assert any('"_aws"' in text for text in written.values()), "metrics too"
    leaks = {name: found for name, text in written.items() if (found := sent.canaries.found_in(text))}
    assert leaks == {}


def _items(cloud: Any) -> Iterator[Any]:
    tables = cloud.client("dynamodb")
    for name in tables.list_tables()["TableNames"]:
        yield tables.scan(TableName=name)["Items"]


def _objects(cloud: Any) -> Iterator[Any]:
    s3 = cloud.client("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        yield s3.list_object_versions(Bucket=bucket["Name"]).get("Versions")


@pytest.mark.parametrize("read", [_items, _objects])
def test_no_store_keeps_what_was_sent(sent, release, read):
    kept = json.dumps(list(read(release.cloud)), default=str)
    assert (CLIENT if read is _items else MODEL) in kept, "so that it is what this deployment keeps"
    assert sent.canaries.found_in(kept) == set()


def test_a_canary_is_found_in_whatever_form_it_is_written():
    canaries = Canaries()
    word = canaries.word("field")
    for text in (f"x{word}", *(b64encode(b"y" * before + word.encode() + b"z").decode() for before in range(4))):
        assert canaries.found_in(text) == {"field"}
    assert canaries.found_in("nothing of it") == set()


def test_data_is_sent_as_it_is_looked_for():
    canaries = Canaries()
    value = canaries.number("data")
    assert canaries.found_in(json.dumps({"data": [value]})) == {"data"}
    assert struct.unpack("<f", struct.pack("<f", value)) == (value,)
