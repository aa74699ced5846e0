"""HTTP over a socket: `http.client` brings the email package, whose import takes longer than the download of a small model."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from threading import Lock

from ._hosts import endpoint
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssl import SSLContext

    from _typeshed import WriteableBuffer

    from ._dial import Dial

__all__ = ["BrokenResponse", "HttpResponse", "Incoming", "Oversized", "connected", "prepare", "request", "written"]

_MAX_LINE = 16 * 2**10
_MAX_HEADERS = 100
_CHUNK = 2**20
_MAX_DOCUMENT = 16 * 2**20
_AMAZON = (".amazonaws.com", ".amazonaws.com.cn")
_ROOTS = f"{__file__.rpartition('/')[0]}/amazon-roots.pem"
"""The authorities of AWS's own hosts: https://www.amazontrust.com/repository/"""


class BrokenResponse(OSError):
    """The peer answered something that is not HTTP, or less than it announced."""


class Oversized(BrokenResponse):
    """The peer answered more than anybody would read."""


class HttpResponse:
    """Status and headers, names in lower case; the body is read from the socket as it is asked for."""

    def __init__(self, stream: BufferedReader[Incoming]) -> None:
        self._stream = stream
        self.reusable = False
        """Whether the body was read to its end, and the peer leaves the connection open."""
        protocol, _, rest = self._line().partition(" ")
        if not protocol.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise BrokenResponse(f"{protocol[:20]!r} is not the start of an HTTP response")
        self.status = int(rest[:3])
        self.headers: dict[str, str] = {}
        while line := self._line():
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
            if len(self.headers) > _MAX_HEADERS:
                raise BrokenResponse(f"more than {_MAX_HEADERS} headers")

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces of at most 1 MiB. Raises `BrokenResponse` when it ends too early."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := self._chunk_size():
                yield from self._exactly(size)
                self._line()
            while self._line():
                pass  # what trails the last chunk
        elif self.status not in {204, 304}:
            yield from self._exactly(self._number(self.headers.get("content-length", ""), 10))
        self.reusable = self.headers.get("connection", "").lower() != "close"

    def pieces(self, buffer: memoryview) -> Iterator[memoryview]:
        """The body of an announced length, piece after piece in `buffer`. Raises `BrokenResponse` when it ends too early."""
        left = self._number(self.headers.get("content-length", ""), 10)
        while left:
            received = self._stream.readinto1(buffer[: min(left, len(buffer))])
            if not received:
                raise BrokenResponse(f"the connection ended {left} bytes too early")
            left -= received
            yield buffer[:received]
        self.reusable = self.headers.get("connection", "").lower() != "close"

    def read(self) -> bytes:
        """The whole body, which is a document: of 16 MiB at most. Raises `BrokenResponse`, `Oversized`."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > _MAX_DOCUMENT:
                raise Oversized(f"the answer is larger than {_MAX_DOCUMENT:,} bytes")
        return bytes(body)

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._stream.read1(min(size, _CHUNK))  # what is there, so that the reader may lose patience
            if not piece:
                raise BrokenResponse(f"the connection ended {size} bytes too early")
            size -= len(piece)
            yield piece

    def _chunk_size(self) -> int:
        return self._number(self._line().partition(";")[0], 16)

    def _line(self) -> str:
        line = self._stream.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise BrokenResponse("the connection ended within a line" if len(line) < _MAX_LINE else "a header line is too long")
        return line.decode("latin-1").rstrip("\r\n")

    @staticmethod
    def _number(text: str, base: int) -> int:
        try:
            size = int(text, base)
        except ValueError:
            size = -1
        if size < 0:
            raise BrokenResponse(f"{text[:20]!r} is not a size")
        return size


class Incoming(RawIOBase):
    """What a peer sends, until time is up: one that sends a byte now and then must not hold a request for good."""

    def __init__(self, connection: socket.socket, *, timeout: float, ends: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._ends = ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")  # as the socket says it
        self._connection.settimeout(min(self._timeout, left))
        return self._connection.recv_into(buffer)


_MAKING = Lock()
_made: dict[str | None, SSLContext] = {}


def _tls(roots: str | None) -> SSLContext:
    """Made once for those authorities; the system's are more than a hundred, and reading them takes longer than a handshake."""
    with _MAKING:
        if roots not in _made:
            import ssl  # noqa: PLC0415 - a local store needs none

            _made[roots] = ssl.create_default_context(cafile=roots)
        return _made[roots]


def prepare(host: str) -> None:
    """Makes what a handshake with `host` needs, which takes as long as to connect and can be done meanwhile."""
    _tls(_ROOTS if host.partition(":")[0].endswith(_AMAZON) else None)


@contextmanager
def request(
    method: str, host: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, secure: bool, timeout: float, ends: float
) -> Iterator[HttpResponse]:
    """The response to one request on a connection of its own; `host` may end in a port.

    `timeout` is for each read, in seconds; at the monotonic time `ends` none waits any longer. Raises `OSError`.
    """
    connection = connected(host, secure=secure, timeout=timeout)
    try:
        connection.sendall(written(method, target, {**headers, "Connection": "close"}, body))
        with BufferedReader(Incoming(connection, timeout=timeout, ends=ends)) as stream:
            yield HttpResponse(stream)
    finally:
        connection.close()


def connected(host: str, *, secure: bool, timeout: float, dial: Dial | None = None) -> socket.socket:
    """An open connection; `host` may end in a port, and may have been dialled. Raises `OSError`."""
    name = host.partition(":")[0]
    at = endpoint(host, secure=secure)
    opened = _open(at, timeout) if dial is None else _dialled(dial, timeout)
    if not secure:
        return opened
    if name.endswith(_AMAZON):
        try:
            return _wrapped(opened, name, _ROOTS)
        except _unverified():  # by an authority that Amazon has taken since, or by whoever inspects what leaves this network
            opened = _open(at, timeout)
    return _wrapped(opened, name, None)


def _open(at: tuple[bytes, int], timeout: float) -> socket.socket:
    return _prompt(socket.create_connection(at, timeout))  # type: ignore[arg-type]


def _dialled(dial: Dial, timeout: float) -> socket.socket:
    connection = socket.socket(fileno=dial.descriptor())
    connection.settimeout(timeout)
    return _prompt(connection)


def _prompt(connection: socket.socket) -> socket.socket:
    # Else the first bytes of a request wait for the peer to have seen the end of the handshake.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _wrapped(connection: socket.socket, name: str, roots: str | None) -> socket.socket:
    """`connection` with TLS by one of the authorities in the file `roots`, or else of the system."""
    try:
        return _tls(roots).wrap_socket(connection, server_hostname=name)
    except BaseException:
        connection.close()
        raise


def _unverified() -> type[OSError]:
    import ssl  # noqa: PLC0415 - as above

    return ssl.SSLCertVerificationError


def written(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request as it goes over the socket."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{key}: {value}" for key, value in headers.items())]
    lines += [f"Content-Length: {len(body)}"] if body or method == "POST" else []
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
