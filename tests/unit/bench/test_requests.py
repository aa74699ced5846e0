"""Events of every kind, as the function's own parser reads them."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from modelserve.endpoints import content_of
from modelserve.protocol import parse
from modelserve.proxy import from_event
from tools.bench.requests import binary, events, inference

ROW = [0.5, 1.5, 2.5]
EVENT: dict[str, Any] = {
    "httpMethod": "POST",
    "path": "/v2/models/tumour/infer",
    "headers": {"Content-Type": "application/json"},
    "body": json.dumps({"inputs": [{"name": "input", "shape": [2, 3], "datatype": "FP32", "data": ROW * 2}]}),
    "isBase64Encoded": False,
}


def parsed(event: dict[str, Any]) -> Any:
    request = parse(*content_of(from_event(event), limit=10**6))
    (tensor,) = request.inputs
    return request, tensor


def test_a_row_is_repeated_as_often_as_is_asked_for() -> None:
    _, tensor = parsed(inference(EVENT, rows=4))
    assert (tuple(tensor.shape), list(memoryview(tensor.data).cast("B").cast("f"))) == ((4, 3), ROW * 4)


def test_a_binary_request_holds_the_same_numbers_and_asks_for_such_an_answer() -> None:
    request, tensor = parsed(binary(EVENT))
    assert bytes(memoryview(tensor.data).cast("B")) == struct.pack("<6f", *ROW, *ROW)
    assert request.binary


@pytest.mark.parametrize("kind", ["JSON, one row", "JSON, 32 rows", "JSON, gzip", "binary", "classes"])
def test_what_is_to_be_answered_is_a_request(kind: str) -> None:
    status, event = events(EVENT)[kind]
    assert status == 200
    assert parsed(event)[1].name == "input"
