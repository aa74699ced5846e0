"""Only the socket: reads a request to its end, hands it on, writes the response."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from tools.local.errors import LocalError
from tools.local.gateway import MAX_BODY
from tools.local.messages import Request, Response

__all__ = ["Server", "check_port"]

_MAX_DRAINED = 64 * 2**20
"""Bytes read past the limit, so that a client which writes before it reads still sees its 413."""
_IDLE_SECONDS = 75
_NO_HEADER = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)
"""What http.server says of a line that is none; its other complaints are about mail."""


class _Service(Protocol):
    """What answers: the gateway, or another of AWS's services."""

    def handle(self, request: Request) -> Response: ...

    def too_large(self) -> Response: ...

    def bad_request(self) -> Response: ...


class _TooLarge(Exception):
    """A body that is larger than API Gateway takes, and every other service here."""


class _Malformed(Exception):
    """A body whose end can't be found."""


class Server:
    """Serves the gateway, or what answers as it does, on 127.0.0.1 until closed."""

    def __init__(self, gateway: _Service, port: int) -> None:
        """`port` 0 takes a free one. Raises `LocalError` when the port is taken."""
        handler = type("Handler", (_Handler,), {"gateway": gateway})
        self._server = _sockets(port, handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def check_port(port: int) -> None:
    """Raises `LocalError` when the port is taken, before anything long is begun."""
    _sockets(port, BaseHTTPRequestHandler).server_close()


def _sockets(port: int, handler: type[BaseHTTPRequestHandler]) -> _Sockets:
    try:
        return _Sockets(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        raise LocalError(f"port {port} of 127.0.0.1 can't be used: {error}; name another one: make run PORT=8090") from None


class _Sockets(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's error here; anything else is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    gateway: _Service
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave in one packet
    timeout = _IDLE_SECONDS

    def _serve(self) -> None:
        try:
            body = self._body()
        except _TooLarge:
            self._write(self.gateway.too_large())
        except _Malformed:
            self.close_connection = True
            self._write(self.gateway.bad_request())
        else:
            request = Request(
                method=self.command, target=self.path, headers=list(self.headers.items()), body=body, source_ip=self.client_address[0]
            )
            self._write(self.gateway.handle(request))

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = _serve  # noqa: N815 - http.server looks for these names

    def _body(self) -> bytes:
        if any(isinstance(defect, _NO_HEADER) for defect in self.headers.defects):
            raise _Malformed  # it would hide the headers behind it
        encoding = self.headers.get("Transfer-Encoding")
        if encoding is not None and (encoding.lower() != "chunked" or "Content-Length" in self.headers):
            raise _Malformed  # where it ends is a matter of opinion
        pieces: list[bytes] = []
        size = 0
        for piece in self._chunks() if encoding else self._pieces(self._length()):
            size += len(piece)
            if size <= MAX_BODY:
                pieces.append(piece)
            elif size > _MAX_DRAINED:
                self.close_connection = True
                raise _TooLarge
        if size > MAX_BODY:
            raise _TooLarge
        return b"".join(pieces)

    def _length(self) -> int:
        lengths = self.headers.get_all("Content-Length", ["0"])
        if len(set(lengths)) != 1 or not (lengths[0].isascii() and lengths[0].isdigit()):
            raise _Malformed
        return int(lengths[0])

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, 2**20))
            if not piece:
                raise _Malformed
            size -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while size := self._chunk_size():
            yield from self._pieces(size)
            if self.rfile.read(2) != b"\r\n":
                raise _Malformed
        while self.rfile.readline(2**16) not in {b"\r\n", b""}:  # trailers
            pass

    def _chunk_size(self) -> int:
        digits = self.rfile.readline(2**10).split(b";")[0].strip()
        try:
            size = int(digits, 16) if digits.isalnum() else -1
        except ValueError:
            size = -1
        if size < 0:
            raise _Malformed
        return size

    def _write(self, response: Response) -> None:
        self.send_response_only(response.status)
        self.send_header("Date", self.date_time_string())
        for name, value in response.headers:
            self.send_header(name, value)
        if response.status not in {204, 304}:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def handle_expect_100(self) -> bool:
        """Says so at once; a body that is too large by its own account is refused before it is sent."""
        length = self.headers.get("Content-Length", "0")
        if length.isascii() and length.isdigit() and int(length) > MAX_BODY:
            self.close_connection = True
            self._write(self.gateway.too_large())
            return False
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """For a request line or a header that can't be read."""
        self.close_connection = True
        self.command, self.request_version = self.command or "GET", self.protocol_version
        self._write(self.gateway.bad_request())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Quiet: the functions' logs tell what was called."""
