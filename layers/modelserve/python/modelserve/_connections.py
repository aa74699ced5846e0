"""A connection that outlives its request: a handshake with TLS takes several times as long as a small request does."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedReader

from ._background import Background
from ._dial import CONNECT_TIMEOUT
from ._hosts import address
from ._http import BrokenResponse, HttpResponse, Incoming, connected, prepare, written
from ._typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from ._dial import Dial

__all__ = ["Connections", "KeptConnection"]

_IDLE = 30.0  # seconds that a connection is kept; a network may forget an older one without a word
_LEAST = 0.001
_MOST_KEPT = 4


class KeptConnection:
    """A connection that the next request to the same host finds open; for one request at a time."""

    def __init__(self) -> None:
        self._idle: socket.socket | None = None
        self._since = 0.0
        self._used = False
        self._opening: Background[tuple[socket.socket, float] | None] | None = None

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connection that is open or being opened, if any; the next request opens another."""
        self._wait()
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.close()

    @property
    def idle(self) -> bool:
        """Whether a connection is open."""
        return self._idle is not None

    def open(self, host: str, *, secure: bool, dial: Dial | None = None) -> None:
        """Begins to connect, beside what the caller does next; what goes wrong is left to the next request. `dial` is on its way there."""

        def connect() -> tuple[socket.socket, float] | None:
            with suppress(OSError):
                return connected(host, secure=secure, timeout=CONNECT_TIMEOUT, dial=dial), time.monotonic()
            return None

        self._opening = Background(connect)

    def _wait(self, seconds: float | None = None) -> None:
        """For a connection that is being opened; after `seconds` it is given up."""
        opening, self._opening = self._opening, None
        if opening is not None and opening.wait(seconds) and (opened := opening.result()) is not None:
            self._idle, self._since = opened

    @contextmanager
    def request(
        self,
        method: str,
        host: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        secure: bool,
        timeout: float,
        ends: float,
    ) -> Iterator[HttpResponse]:
        """As the function `request`, with `timeout` for sending too.

        Raises `ConnectionError` for what failed before the first byte of an answer, other than a time-out there. A kept connection that
        fails so is opened anew once: the peer may have closed it at any time.
        """
        connection, stream = self._begin(host, written(method, target, headers, body), secure=secure, timeout=timeout, ends=ends)
        response = None
        try:
            with stream:
                response = HttpResponse(stream)
                yield response
        except ConnectionError as error:
            raise BrokenResponse(f"the connection broke within the answer ({error.strerror})") from None
        finally:
            if response is not None and response.reusable:  # also where the reader made an error of it
                self._idle, self._since, self._used = connection, time.monotonic(), True
            else:
                connection.close()

    def _begin(
        self, host: str, sent: bytes, *, secure: bool, timeout: float, ends: float
    ) -> tuple[socket.socket, BufferedReader[Incoming]]:
        self._wait(min(timeout, max(0.0, ends - time.monotonic())))
        idle, self._idle = self._idle, None
        # Of a connection that nobody asked anything yet, what there is to read are the tickets with which TLS 1.3 begins.
        if idle is not None and (time.monotonic() - self._since > _IDLE or _decrypted(idle) or (self._used and _readable(idle))):
            idle.close()
            idle = None
        if idle is not None:
            with suppress(ConnectionError):
                return idle, _answered(idle, sent, timeout=timeout, ends=ends)
        try:
            left = max(_LEAST, ends - time.monotonic())  # 0 would not wait at all, and say something else
            fresh = connected(host, secure=secure, timeout=min(timeout, CONNECT_TIMEOUT, left))
        except OSError as error:
            raise ConnectionError(f"no connection ({error})") from None
        return fresh, _answered(fresh, sent, timeout=timeout, ends=ends)


class Connections:
    """Connections to one host that outlive their requests; for any number of requests at once."""

    def __init__(self, host: str, *, secure: bool) -> None:
        """`host` may end in a port."""
        self._host = host
        self._secure = secure
        self._kept: list[KeptConnection] = []

    @classmethod
    def to(cls, url: str) -> Self:
        """To the host of a URL."""
        secure, host, _ = address(url)
        return cls(host, secure=secure)

    def open(self, number: int, dials: Iterable[Dial] = ()) -> None:
        """Begins to open connections, beside what the caller does next, until there are as many; `dials` are on their way there."""
        dialled = iter(dials)
        for _ in range(number - len(self._kept)):
            connection = KeptConnection()
            connection.open(self._host, secure=self._secure, dial=next(dialled, None))
            self._kept.append(connection)
        if self._secure:
            with suppress(OSError):
                prepare(self._host)

    def close(self) -> None:
        """Lets go of every connection that is open and idle."""
        while self._kept:
            self._kept.pop().close()

    @contextmanager
    def request(self, method: str, target: str, headers: Mapping[str, str], *, timeout: float, ends: float) -> Iterator[HttpResponse]:
        """The answer to a request without a body; as `KeptConnection.request`."""
        try:
            connection = self._kept.pop(0)  # the one that was begun first
        except IndexError:
            connection = KeptConnection()
        try:
            with connection.request(method, self._host, target, headers, secure=self._secure, timeout=timeout, ends=ends) as response:
                yield response
        finally:
            if connection.idle and len(self._kept) < _MOST_KEPT:
                self._kept.insert(0, connection)


def _answered(connection: socket.socket, sent: bytes, *, timeout: float, ends: float) -> BufferedReader[Incoming]:
    """What comes back once its first byte is there. Raises `TimeoutError`, and `ConnectionError` for any other failure."""
    try:
        connection.settimeout(timeout)
        connection.sendall(sent)
        stream = BufferedReader(Incoming(connection, timeout=timeout, ends=ends))
        if stream.peek(1):
            return stream
        raise ConnectionError("the connection was closed without an answer")
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError) and not isinstance(error, (ConnectionError, TimeoutError)):  # as TLS calls it
            raise ConnectionError(str(error)) from None
        raise


def _decrypted(connection: socket.socket) -> bool:
    """Whether TLS has bytes that belong to no answer, and that no poll sees."""
    pending = getattr(connection, "pending", None)
    return pending is not None and pending() > 0


def _readable(connection: socket.socket) -> bool:
    """Whether an idle connection was closed by its peer, or has bytes that belong to no answer."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
