"""HTTP/1.1 over bare sockets: what every side is measured with, and little enough to disappear beside any of them."""

from __future__ import annotations

import re
import socket

from tools.loopback.errors import MeasureError

__all__ = ["connect", "message", "receive", "status"]

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


def connect(port: int, *, timeout: float) -> socket.socket:
    """A connection to this machine that sends at once. Raises `OSError`."""
    connection = socket.create_connection(("127.0.0.1", port), timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def message(first: str, body: bytes, **headers: str) -> bytes:
    """A request or a response with a body of JSON; `_` in a header's name stands for `-`."""
    lines = [first, "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """The head and the body of the next message.

    Raises `ConnectionError` where it ends early, `MeasureError` where its length is not said.
    """
    data = _more(connection)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection)
    head, body = data[:end], data[end + 4 :]
    length = _LENGTH.search(head)
    if length is None and b"transfer-encoding" in head.lower():
        raise MeasureError("a message came in chunks; the measurement reads bodies of a declared length")
    missing = int(length[1]) if length else 0
    while len(body) < missing:
        body += _more(connection)
    return head, body


def status(head: bytes) -> int:
    """Of a response."""
    return int(head.split(b" ", 2)[1])


def _more(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65536)):
        raise ConnectionError("the connection was closed")
    return data
