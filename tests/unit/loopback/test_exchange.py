"""Messages over sockets."""

import contextlib
import socket
from typing import Any

import pytest

from tools.loopback.errors import MeasureError
from tools.loopback.exchange import message, receive


@pytest.fixture
def pair() -> Any:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(end) for end in socket.socketpair()]


def test_a_message_that_comes_in_parts_is_read_whole(pair: Any) -> None:
    here, there = pair
    sent = message("HTTP/1.1 200 OK", b'{"a": 1}', X_Of="b") * 2
    there.sendall(sent[:30])
    there.sendall(sent[30 : len(sent) // 2])
    head, body = receive(here)
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert b"X-Of: b" in head
    assert body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", MeasureError),
    ],
)
def test_what_has_no_declared_end_is_not_taken_for_an_answer(pair: Any, sent: bytes, error: type[Exception]) -> None:
    here, there = pair
    there.sendall(sent)
    there.shutdown(socket.SHUT_WR)
    with pytest.raises(error):
        receive(here)
