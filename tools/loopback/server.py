"""What a function reaches while it is measured, in a process of its own: S3's GET of a folder, a KMS key, TLS, and a network's limits."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from tools.loopback.errors import MeasureError
from tools.loopback.store import span

__all__ = ["KEY_FILE", "Network", "reached", "serving"]

KEY_FILE = "kms.json"
"""Of the folder: KMS's answer to GetPublicKey, whatever key is asked for."""
_PIECE = 2**20


@dataclass(frozen=True, kw_only=True)
class Network:
    """What lies between a function and what it reaches; by default nothing."""

    certificate: str = ""
    """A file with a certificate and its key: for TLS."""
    round_trip: float = 0.0
    """Seconds; a connection takes one, and so does each flight that a client waits for."""
    bandwidth: float = 0.0
    """Bytes a second of files, on all connections together; 0 for as fast as they go."""


def reached(url: str) -> dict[str, str]:
    """What tells a function that S3 and KMS are there."""
    return {"AWS_ENDPOINT_URL_S3": url, "AWS_ENDPOINT_URL_KMS": url}


@contextmanager
def serving(folder: Path, network: Network) -> Iterator[str]:
    """The server's address, for AWS_ENDPOINT_URL. Raises `MeasureError` where it doesn't start."""
    arguments = network.certificate, str(network.round_trip), str(network.bandwidth)
    line = [sys.executable, "-m", "tools.loopback.server", str(folder), *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # it is a pipe
            port = process.stdout.readline().strip()
            if not port:
                raise MeasureError("the stand-in of S3 and KMS on this machine did not start")
            yield f"http{'s' if network.certificate else ''}://127.0.0.1:{port}"
        finally:
            process.terminate()


class _Pace:
    """Lets bytes go one after the other, whoever sends them."""

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth
        self._free = 0.0
        self._lock = Lock()

    def wait(self, size: int) -> None:
        """Until so many bytes, and all before them, would have arrived."""
        if self.bandwidth:
            with self._lock:
                self._free = max(self._free, time.monotonic()) + size / self.bandwidth
                seconds = self._free - time.monotonic()
            time.sleep(seconds)


class _Handler(BaseHTTPRequestHandler):
    folder: Path
    pace: _Pace
    round_trip: float
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 2**16

    def parse_request(self) -> bool:
        time.sleep(self.round_trip)  # its first line is there
        return super().parse_request()

    def do_GET(self) -> None:
        path = self.folder / unquote(urlsplit(self.path).path).lstrip("/")
        if not path.is_file():
            self._head(404, 0)
            return
        size = path.stat().st_size
        tag = f'"{hashlib.md5(path.name.encode(), usedforsecurity=False).hexdigest()}-{size}"'
        if self.headers["If-None-Match"] == tag:
            self._head(304, 0)
            return
        part = span(self.headers["Range"], size)
        begin, end = part or (0, size)
        extra = {"Content-Range": f"bytes {begin}-{end - 1}/{size}"} if part else {}
        self._head(206 if part else 200, end - begin, ETag=tag, **extra)
        self._send(path, begin, end)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = (self.folder / KEY_FILE).read_bytes()
        self._head(200, len(body))
        self.wfile.write(body)

    def _head(self, status: int, size: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(size), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.flush()

    def _send(self, path: Path, begin: int, end: int) -> None:
        secure = isinstance(self.connection, ssl.SSLSocket)
        most = _PIECE if secure or self.pace.bandwidth else end - begin
        with path.open("rb") as file:
            file.seek(begin)
            while begin < end:
                size = min(most, end - begin)
                self.pace.wait(size)
                begin += self.wfile.write(file.read(size)) if secure else os.sendfile(self.connection.fileno(), file.fileno(), begin, size)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Whoever measures prints its own results only."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, network: Network) -> None:
        told = {"folder": folder, "pace": _Pace(network.bandwidth), "round_trip": network.round_trip}
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), told))
        self._round_trip = network.round_trip
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if network.certificate else None
        if self._tls is not None:
            self._tls.load_cert_chain(network.certificate)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the connection's thread, so that one handshake doesn't wait for another."""
        time.sleep(self._round_trip)  # which connecting takes
        if self._tls is not None:
            request.recv(1, socket.MSG_PEEK)
            time.sleep(self._round_trip)
            request = self._tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is killed after its answer breaks its connections."""


def _main(folder: str, certificate: str, round_trip: str, bandwidth: str) -> None:
    server = _Server(Path(folder), Network(certificate=certificate, round_trip=float(round_trip), bandwidth=float(bandwidth)))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _main(*sys.argv[1:])
