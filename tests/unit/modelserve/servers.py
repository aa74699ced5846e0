"""An HTTP server that answers what a test scripted, down to the byte."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Scripted:
    """One answer a connection, the last one for all that follow; `requests` are the heads it was sent, `bodies` what came behind them.

    An answer that ends in `RESET` is broken off there by a reset, after one that ends in `HANG` nothing happens until the client leaves.
    With `keep` a connection goes on with the next answer, unless one ends in `CLOSE`; `connections` counts them.
    """

    def __init__(self, answers: list[bytes], *, keep: bool = False) -> None:
        self._answers = answers
        self._keep = keep
        self.connections = 0
        self._connection: socket.socket | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        if self._connection is not None:
            with suppress(OSError):  # it may be over
                self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._connection = connection
            with connection, suppress(OSError):  # a client may leave at any time
                while self._answer(connection) and self._keep:
                    pass

    def _answer(self, connection: socket.socket) -> bool:
        """Whether there may be another request."""
        head = b""
        while b"\r\n\r\n" not in head:
            received = connection.recv(65536)
            if not received:
                return False
            head += received
        head, _, body = head.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            body += connection.recv(65536)
        self.requests.append(head.decode() + "\r\n\r\n")
        self.bodies.append(body)
        answer = self._answers[min(len(self.requests), len(self._answers)) - 1]
        connection.sendall(answer.removesuffix(RESET).removesuffix(HANG).removesuffix(CLOSE))
        if answer.endswith(HANG):
            connection.recv(1)
        if answer.endswith(RESET):
            # To close with nothing lingering is a reset.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return not answer.endswith((RESET, HANG, CLOSE))


RESET = b"<reset>"
HANG = b"<hang>"
CLOSE = b"<close>"


def response(status: int, body: bytes = b"", *, announced: int | None = None, **headers: str) -> bytes:
    """An HTTP response; `announced` is a Content-Length that is not the body's, a header `Content_Type=` is Content-Type."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if announced is None else announced}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def failure(status: int, code: str) -> bytes:
    return response(status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode())


@contextmanager
def scripted(*answers: bytes, keep: bool = False) -> Iterator[Scripted]:
    server = Scripted(list(answers), keep=keep)
    try:
        yield server
    finally:
        server.close()
