"""A store of one object that answers ranges, several at once, and can be told to fail."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""


class Ranged:
    """`spans` are the ranges that were asked for, `targets` where; `connections` counts.

    `answered` may change the answer to the request of that number, None breaks the connection.
    """

    def __init__(self, body: bytes, answered: Callable[[int, Answer], Answer | None]) -> None:
        self.body = body
        self.spans: list[tuple[int, int]] = []
        self.targets: list[str] = []
        self.connections = 0
        self._answered = answered
        self._lock = threading.Lock()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, target: str, header: str) -> Answer | None:
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", header)
        assert match is not None, header
        begin, end = int(match[1]), int(match[2]) + 1
        with self._lock:
            self.spans.append((begin, end))
            self.targets.append(target)
            number = len(self.spans)
        headers = {"Content-Range": f"bytes {begin}-{end - 1}/{len(self.body)}"}
        return self._answered(number, (206, headers, self.body[begin:end]))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ranged = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with ranged._lock:
                    ranged.connections += 1

            def do_GET(self) -> None:
                header = self.headers["Range"]
                answer = (200, {}, ranged.body) if header is None else ranged.answer(self.path, header)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = len(body) != int(headers.get("Content-Length", len(body)))

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """A test prints nothing."""

        return Handler


@contextmanager
def ranged(body: bytes, answered: Callable[[int, Answer], Answer | None] = lambda _, answer: answer) -> Iterator[Ranged]:
    server = Ranged(body, answered)
    threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()
