"""One connection to the API, written byte by byte: a client library would refuse to send most of what is sent here."""

from __future__ import annotations

import socket
from http.client import HTTPException, HTTPResponse
from typing import Self
from urllib.parse import urlsplit

from modelserve.endpoints import Response
from tests.hostile.case import Case

__all__ = ["Wire"]

_PATIENCE = 60.0


class Wire:
    """Kept alive for as long as the other end keeps it."""

    def __init__(self, url: str, key: str) -> None:
        """`key` is a client's."""
        parts = urlsplit(url)
        self._address = (parts.hostname, parts.port)
        self._stage = parts.path
        self._authorization = f"Authorization: Bearer {key}"
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._socket:
            self._socket.close()
        self._socket = None

    def send(self, case: Case) -> Response:
        """The answer; status 0 where the other end hung up without one."""
        try:
            return self._send(self.bytes_of(case), case.method)
        except (OSError, HTTPException) as error:
            self.close()
            return Response(0, {}, repr(error).encode())
        finally:
            if case.wire is not None:
                self.close()  # nobody knows where the next request would begin

    def bytes_of(self, case: Case) -> bytes:
        """The request as it goes over the socket."""
        if case.wire is not None:
            return case.wire.replace(b"{stage}", self._stage.encode()).replace(b"{key}", self._authorization.encode())
        target = self._stage + (case.path or f"/v2/models/{case.model}/infer")
        lines = [f"{case.method} {target} HTTP/1.1", "Host: test", f"Content-Length: {len(case.body)}"]
        lines += [f"{name}: {value}" for name, value in case.headers]
        lines += [] if case.keyless else [self._authorization]
        return "\r\n".join([*lines, "", ""]).encode() + case.body

    def _send(self, request: bytes, method: str) -> Response:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, timeout=_PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(request)
        with HTTPResponse(self._socket, method=method) as answer:
            answer.begin()
            response = Response(answer.status, {name.title(): value for name, value in answer.getheaders()}, answer.read())
            if answer.will_close:
                self.close()
        return response
