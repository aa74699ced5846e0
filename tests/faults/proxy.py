"""S3 and SageMaker's runtime with faults: a proxy in front of working ones, which breaks the answers that it was told to break."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from tests.unit.modelserve.servers import response

__all__ = ["Fault", "Plan", "Proxy"]

_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER of no time: to close is to reset
_SLICES = 20  # a second, in which a slow answer is sent
_LONGEST = 60.0  # seconds for which a stalled answer is held open
_CREDENTIALS = response(200, b'{"AccessKeyId": "local", "SecretAccessKey": "local", "Token": "local"}')


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to requests that have `on` in their head (method, path or headers), the first `times` of them."""

    on: str = ""
    times: float = inf
    instead: bytes | None = None
    """A whole HTTP answer; nobody else is asked."""
    body: Callable[[bytes], bytes] = bytes
    """What is made of the body of the answer."""
    announced: int = 0
    """How far Content-Length is off."""
    after: int | None = None
    """Bytes of the answer, its head counted, after which it `ends`."""
    ends: Literal["close", "half", "keep", "reset", "stall"] = "close"
    wait: float = 0.0
    """Seconds before the first byte."""
    rate: float = inf
    """Bytes a second."""


_NONE = Fault(ends="keep")


class Plan:
    """The faults of one model, and what was asked for since they began."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = faults
        self._spent = [0] * len(faults)
        self.asked: list[str] = []
        """Heads of the requests, whether they met a fault or not."""
        self.met = threading.Event()
        """A request has met a fault."""

    @property
    def unmet(self) -> list[Fault]:
        """Faults that fewer requests have met than were to."""
        return [fault for fault, spent in zip(self._faults, self._spent, strict=True) if spent < (1 if fault.times == inf else fault.times)]

    def next(self, head: str) -> Fault | None:
        """The fault that a request meets, if any."""
        self.asked.append(head)
        for number, fault in enumerate(self._faults):
            if fault.on in head and self._spent[number] < fault.times:
                self._spent[number] += 1
                self.met.set()
                return fault
        return None


class Proxy:
    """Answers on loopback as what is behind it does, but for what is scripted; a context manager, before which it refuses connections."""

    def __init__(self, s3: str, runtime: str) -> None:
        self._s3 = urlsplit(s3).netloc
        self._runtime = urlsplit(runtime).netloc
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._plans: dict[str, Plan] = {}
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def script(self, model: str, *faults: Fault) -> Plan:
        """From now on these, and no earlier ones, are the faults in the store and the endpoint of `model`; none makes it whole."""
        with self._lock:
            self._plans[model] = plan = Plan(faults)
        return plan

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # a client may leave at any time
            while self._answer_one(connection):
                pass

    def _answer_one(self, connection: socket.socket) -> bool:
        """Whether there may be another request."""
        head, body = _request(connection)
        fault = self._fault(head) or _NONE
        time.sleep(fault.wait)
        answer = fault.instead if fault.instead is not None else self._forward(head, body, fault)
        for piece in _paced(answer[: fault.after], fault.rate):
            connection.sendall(piece)
        _end(connection, fault)
        return fault.ends == "keep" and "\r\nConnection: close" not in head

    def _fault(self, head: str) -> Fault | None:
        model = re.search(r"(?:models|credentials|endpoints|jobs)/([^/ ?]+)", unquote(head))
        with self._lock:
            plan = self._plans.get(model[1]) if model else None
            return plan.next(head) if plan else None

    def _forward(self, head: str, sent: bytes, fault: Fault) -> bytes:
        first, *lines = head.split("\r\n")
        method, target, _ = first.split(" ")
        if target.startswith("/credentials/"):
            return _CREDENTIALS
        upstream = http.client.HTTPConnection(self._runtime if target.startswith("/endpoints/") else self._s3, timeout=20)
        try:
            upstream.request(method, target, body=sent, headers=dict(line.split(": ", 1) for line in lines))
            found = upstream.getresponse()
            body = fault.body(found.read())
        finally:
            upstream.close()
        kept = {name: value for name, value in found.getheaders() if name.lower().startswith(("content-type", "etag", "x-amz"))}
        kept["Content-Length"] = str(len(body) + fault.announced)
        answered = [f"HTTP/1.1 {found.status} {found.reason}", *(f"{name}: {value}" for name, value in kept.items())]
        return "\r\n".join([*answered, "", ""]).encode() + body


def _request(connection: socket.socket) -> tuple[str, bytes]:
    """Head and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += _some(connection)
    return head.decode("latin-1"), body


def _some(connection: socket.socket) -> bytes:
    piece = connection.recv(65536)
    if not piece:
        raise ConnectionError("no request")
    return piece


def _paced(answer: bytes, rate: float) -> Iterator[bytes]:
    if rate == inf:
        yield answer
        return
    size = max(1, int(rate / _SLICES))
    for start in range(0, len(answer), size):
        yield answer[start : start + size]
        time.sleep(size / rate)


def _end(connection: socket.socket, fault: Fault) -> None:
    if fault.ends == "reset" and fault.after is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    if fault.ends == "half":
        connection.shutdown(socket.SHUT_WR)
    if fault.ends in {"half", "stall"}:
        connection.settimeout(_LONGEST)
        connection.recv(1)  # until the client leaves
