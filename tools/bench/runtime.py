"""Lambda's Runtime API for one invocation: hands a function process its event and notes when the answer is there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

__all__ = ["BenchError", "first_answer"]

_PATIENCE = 60.0
_LOOK = 0.5  # seconds between looks at whether the process still runs


class BenchError(Exception):
    """A measured process did not do what it was measured for."""


def first_answer(line: Sequence[str], *, event: Mapping[str, Any], cwd: Path, environ: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
    """Seconds from the start of a function's process to its answer, and the answer. Raises `BenchError`."""
    answers: Queue[tuple[float, bytes]] = Queue()
    server = _Server(("127.0.0.1", 0), _handler(json.dumps(event).encode(), answers))
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    begun = time.perf_counter()
    variables = {"PATH": os.defpath, "AWS_LAMBDA_RUNTIME_API": address, **environ}
    process = subprocess.Popen(line, cwd=cwd, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        ended, body = _wait(answers, process)
    finally:
        process.kill()
        output = process.communicate()[0].decode()
        server.shutdown()
        server.server_close()
    answer = json.loads(body)
    if answer is None or answer.get("statusCode") != 200:
        raise BenchError(f"the function answered {answer}; its output:\n{output}")
    return ended - begun, answer


def _wait(answers: Queue[tuple[float, bytes]], process: subprocess.Popen[bytes]) -> tuple[float, bytes]:
    """The answer, or null from a process that ended without one or takes too long."""
    deadline = time.monotonic() + _PATIENCE
    ended = False
    while not ended and time.monotonic() < deadline:
        ended = process.poll() is not None
        with suppress(Empty):
            return answers.get(timeout=_LOOK)
    return 0.0, b"null"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A function that is killed after its answer breaks its connection; a missing answer is reported by its absence."""


def _handler(event: bytes, answers: Queue[tuple[float, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        handed_over = False

        def do_GET(self) -> None:
            if Handler.handed_over:
                time.sleep(_PATIENCE)  # the process is killed meanwhile, as a frozen environment would be
                return
            Handler.handed_over = True
            self.send_response(200)
            self.send_header("Lambda-Runtime-Aws-Request-Id", "00000000-0000-0000-0000-000000000001")
            self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 29_000))
            self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:bench")
            self._finish(event)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answers.put((time.perf_counter(), body))
            self.send_response(202)
            self._finish(b"")

        def _finish(self, body: bytes) -> None:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """A bench prints its own results only."""

    return Handler
