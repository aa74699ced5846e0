"""S3 with faults: a proxy in front of a working one, which breaks the answers that it was told to break."""

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
    """What happens to GETs that have `on` in their head (path or headers), the first `times` of them."""

    on: str = ""
    times: float = inf
    instead: bytes | None = None
    """A whole HTTP answer; S3 is not asked."""
    body: Callable[[bytes], bytes] = bytes
    """What is made of the body of S3's answer."""
    announced: int = 0
    """How far Content-Length is off."""
    after: int | None = None
    """Bytes of the answer, its head counted, after which it `ends`."""
    ends: Literal["close", "half", "reset", "stall"] = "close"
    wait: float = 0.0
    """Seconds before the first byte."""
    rate: float = inf
    """Bytes a second."""


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
    """Answers GET on loopback as the S3 behind it does, but for what is scripted; a context manager."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream).netloc
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._plans: dict[str, Plan] = {}
        self._lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def script(self, model: str, *faults: Fault) -> Plan:
        """From now on these, and no earlier ones, are the faults in the store of `model`; none makes it whole."""
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
            head = _head(connection)
            fault = self._fault(head) or Fault()
            time.sleep(fault.wait)
            answer = fault.instead if fault.instead is not None else self._forward(head, fault)
            for piece in _paced(answer[: fault.after], fault.rate):
                connection.sendall(piece)
            _end(connection, fault)

    def _fault(self, head: str) -> Fault | None:
        model = re.search(r"(?:models|credentials)/([^/ ?]+)", unquote(head))
        with self._lock:
            plan = self._plans.get(model[1]) if model else None
            return plan.next(head) if plan else None

    def _forward(self, head: str, fault: Fault) -> bytes:
        first, *lines = head.split("\r\n")
        target = first.split(" ")[1]
        if target.startswith("/credentials/"):
            return _CREDENTIALS
        upstream = http.client.HTTPConnection(self._upstream, timeout=20)
        try:
            upstream.request("GET", target, headers=dict(line.split(": ", 1) for line in lines))
            found = upstream.getresponse()
            body = fault.body(found.read())
        finally:
            upstream.close()
        kept = {name: value for name, value in found.getheaders() if name.lower() in {"etag", "x-amz-version-id", "content-type"}}
        kept["Content-Length"] = str(len(body) + fault.announced)
        answered = [f"HTTP/1.1 {found.status} {found.reason}", *(f"{name}: {value}" for name, value in kept.items())]
        return "\r\n".join([*answered, "", ""]).encode() + body


def _head(connection: socket.socket) -> str:
    """All of a GET."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("no request")
        head += piece
    return head.decode("latin-1").rstrip()


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
