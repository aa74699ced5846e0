"""The gateway function in front of a stand-in for its endpoint."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from modelserve.manifest import TensorSpec, archive_version
from modelserve.triton import decode_response
from tools.bench import gateway
from tools.bench.gateway import endpoint, overhead
from tools.bench.subject import Subject
from tools.loopback.exchange import receive


def test_the_stand_in_answers_a_row_as_triton_does_again_and_again() -> None:
    spec = TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2))
    archive = archive_version(gateway._digits())
    with endpoint("heavy") as port, socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(2):
            connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
            head, body = receive(connection)
            kind = head.decode().partition("Content-Type: ")[2].splitlines()[0]
            (tensor,) = decode_response(kind, body, [spec], archive=archive)
            assert (tensor.shape, bytes(tensor.data)) == ((1, 2), bytes(8))


def test_overhead_is_the_median_of_what_is_added_to_each_exchange(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "_TURNS", f"print({json.dumps([(1000, 2000), (1000, 4000), (9000, 12_000)])})")
    result = overhead(bare_subject, 0, rounds=3)
    assert (result.ours, result.floor, result.compared, result.ratio) == (4.0, 1.0, 3.0, False)


def test_the_function_answers_behind_the_stand_in(bare_subject: Any) -> None:
    """Once, whole: its own packages, a store, a signature a request."""
    body = {"inputs": [{"name": "input", "shape": [1, 30], "datatype": "FP32", "data": [0.5] * 30}]}
    event = {"httpMethod": "POST", "path": "", "headers": {}, "body": json.dumps(body)}
    environ = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}
    subject = Subject(root=bare_subject.root, model=bare_subject.model, event=event, environ=environ, backend="native")
    with endpoint("heavy") as port, gateway.deployed(subject, port) as deployed:
        assert overhead(deployed, port, rounds=20).runs == 18
