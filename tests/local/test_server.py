"""The socket: bodies of every kind reach the gateway whole, and the connection survives."""

from __future__ import annotations

import http.client
import socket

import pytest

from tests.local.factories import a_stack
from tools.local.environments import Answer
from tools.local.errors import LocalError
from tools.local.gateway import MAX_BODY, Gateway
from tools.local.gateway_responses import GatewayResponses
from tools.local.routes import Api
from tools.local.server import Server, check_port


def echo(payload: bytes, trace_id: str) -> Answer:
    """Answers the event's body, still base64."""
    start = payload.index(b'"body": ') + len(b'"body": ')
    body = payload[start : payload.index(b', "isBase64Encoded"')]
    return Answer(b'{"statusCode": 200, "isBase64Encoded": true, "body": %s}' % body)


@pytest.fixture(scope="module")
def port():
    stack = a_stack()
    gateway = Gateway(Api.read(stack), GatewayResponses.read(stack), {"Tiny": echo})
    server = Server(gateway, 0)
    yield server.port
    server.close()
    gateway.close()


@pytest.fixture
def connection(port):
    opened = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    yield opened
    opened.close()


def ask(connection, method="POST", target="/things", body=None, **headers):
    connection.request(method, target, body, headers, encode_chunked=isinstance(body, list))
    response = connection.getresponse()
    return response.status, response.read()


def test_a_connection_is_used_again(connection):
    assert ask(connection, body=b"one") == (200, b"one")
    first = connection.sock
    assert ask(connection, body=b"two") == (200, b"two")
    assert ask(connection, target="/nothing")[0] == 403
    assert connection.sock is first is not None


def test_chunks_are_put_together(connection):
    assert ask(connection, body=[b"a" * 70_000, b"b", b"c" * 3], **{"Transfer-Encoding": "chunked"}) == (200, b"a" * 70_000 + b"bccc")


def test_a_large_body_is_refused_and_the_connection_goes_on(connection):
    assert ask(connection, body=b"x" * (MAX_BODY + 1))[0] == 413
    assert ask(connection, body=b"next") == (200, b"next")


def test_head_has_no_body(connection):
    assert ask(connection, method="HEAD") == (200, b"")
    assert ask(connection, body=b"next") == (200, b"next")


def exchange(port, *pieces: bytes) -> bytes:
    """Sends each piece after an answer to the one before."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for piece in pieces:
            client.sendall(piece)
            received += client.recv(65536)
    return received


def test_a_client_that_asks_first_is_told_to_continue(port):
    head = b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    received = exchange(port, head, b"abc")
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")
    assert received.endswith(b"abc")


def test_a_client_that_asks_first_need_not_send_what_is_too_large(port):
    head = b"POST /things HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n"
    assert exchange(port, head).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST /things HTTP/1.1\r\nnonsense\r\nContent-Length: 0\r\n\r\n",
        b"POST /things HTTP/1.1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"POST /things HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /things HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /things HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /things HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /things HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /things HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
)
def test_what_is_no_http_is_a_400_and_the_next_client_is_served(port, connection, request_bytes):
    assert exchange(port, request_bytes).startswith(b"HTTP/1.1 400")
    assert ask(connection, body=b"next") == (200, b"next")


def test_a_port_that_is_taken_is_named_with_what_to_do(port):
    with pytest.raises(LocalError, match=f"port {port} .*make run PORT="):
        check_port(port)


def test_a_free_port_is_free_after_it_was_checked(port):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    check_port(free)
    check_port(free)
