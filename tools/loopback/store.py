"""A model store in memory behind S3's GET: it costs a request next to nothing, so that the client's own time shows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from modelserve.errors import ObjectNotFound, PreconditionFailed
from modelserve.manifest import Object

__all__ = ["BUCKET", "MemoryStore", "span"]

BUCKET = "models"


class MemoryStore:
    """Satisfies `registry.Writer`, and answers GET on loopback while it is entered."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}

    @cached_property
    def _server(self) -> ThreadingHTTPServer:
        """Only where it is asked for its address."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        return server

    @property
    def endpoint(self) -> str:
        """For AWS_ENDPOINT_URL_S3."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:  # noqa: ARG002
        """One version of each object is kept."""
        if key not in self._objects:
            raise ObjectNotFound(key)
        found = Object(self._objects[key], _etag(self._objects[key]), None)
        return None if found.etag == unless_etag else found

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:  # noqa: ARG002
        """Unchecked: what is here was put here a moment ago."""
        Path(to).write_bytes(self._objects[key])

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self._objects if key.startswith(prefix))

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        """Raises `PreconditionFailed` as S3 does."""
        known = self._objects.get(key)
        if if_etag != (None if known is None else _etag(known)):
            raise PreconditionFailed(key)
        self._objects[key] = body if isinstance(body, bytes) else body.read_bytes()
        return None

    def verify(self, key: str, *, size: int, sha256: str) -> str | None:  # noqa: ARG002
        """Unchecked, as above."""
        if key not in self._objects:
            raise ObjectNotFound(key)
        return None

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._objects.pop(key, None)

    def save(self, folder: Path) -> None:
        """Every object as a file at its key, for a server of another process."""
        for key, body in self._objects.items():
            file = folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        objects = self._objects

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = objects.get(unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}/"))
                etag = _etag(body or b"")
                status = 404 if body is None else 304 if self.headers["If-None-Match"] == etag else 200
                content = memoryview(body if body is not None and status == 200 else b"")
                part = span(self.headers["Range"], len(content)) if content else None
                self.send_response(206 if part else status)
                if part:
                    self.send_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{len(content)}")
                    content = content[slice(*part)]
                self.send_header("ETag", etag)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Whoever measures prints its own results only."""

        return Handler


def span(header: str | None, size: int) -> tuple[int, int] | None:
    """Where a Range of an object begins and, exclusively, ends; None where all of it is asked for."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", header or "")
    return (int(found[1]), min(int(found[2]) + 1, size)) if found else None


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
