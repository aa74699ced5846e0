"""Lambda's Runtime API in front of a function's process, for as many invocations as are asked for."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tools.loopback.errors import MeasureError
from tools.loopback.exchange import message, receive
from tools.loopback.processes import Started, started

__all__ = ["Invoked", "first_answer", "invoked"]

_PATIENCE = 60.0
_LOOK = 0.5  # seconds without a word before a look at whether the process still runs
_ACCEPTED = message("HTTP/1.1 202 Accepted", b"")


class Invoked:
    """A function that runs, and the connections that its runtime client keeps."""

    def __init__(self, process: Started, listener: socket.socket, selector: selectors.BaseSelector, event: Mapping[str, Any]) -> None:
        self.process = process
        self._listener, self._selector = listener, selector
        self._event = json.dumps(dict(event)).encode()

    def first(self) -> bytes:
        """As `ask`; the process may have been started a moment ago."""
        return self.ask()

    def ask(self, event: bytes | None = None) -> bytes:
        """The function asks for its next event, gets this one or the usual one, and posts this answer: a whole turn.

        Raises `MeasureError`, `OSError`.
        """
        asking, _ = self._request(b"/invocation/next")
        asking.sendall(_invocation(self._event if event is None else event))
        answering, body = self._request(b"/response")
        answering.sendall(_ACCEPTED)
        return body

    def close(self) -> None:
        """Every connection, but not the listener."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket) and key.fileobj is not self._listener:
                key.fileobj.close()

    def _request(self, path: bytes) -> tuple[socket.socket, bytes]:
        """The connection on which the next request came, and its body; it must be for this path."""
        connection = self._ready()
        head, body = receive(connection)
        target = head.split(b" ", 2)[1]
        if not target.endswith(path):
            raise MeasureError(f"the function sent {target.decode()} where …{path.decode()} was due: {body[:500]!r}")
        return connection, body

    def _ready(self) -> socket.socket:
        """A connection with something to read."""
        deadline = time.monotonic() + _PATIENCE
        running = True
        while running and time.monotonic() < deadline:
            found = self._selector.select(timeout=_LOOK)
            running = bool(found) or self.process.running()
            for key, _ in found:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)  # nothing else is registered
                if connection is self._listener:
                    self._accept()
                elif connection.recv(1, socket.MSG_PEEK):
                    return connection
                else:  # closed: a client may open another
                    self._selector.unregister(connection)
                    connection.close()
        raise MeasureError(f"the function sent nothing in {_PATIENCE:g} s" if running else "the function ended")

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_PATIENCE)
        self._selector.register(connection, selectors.EVENT_READ)


@contextmanager
def invoked(line: Sequence[str], *, event: Mapping[str, Any], cwd: Path, environ: Mapping[str, str]) -> Iterator[Invoked]:
    """A function's process, from now to the end of the context; `event` is its usual one. A `MeasureError` within shows its output."""
    with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        variables = {**environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{listener.getsockname()[1]}"}
        with (
            started(line, cwd=cwd, environ=variables) as process,
            closing(Invoked(process, listener, selector, event)) as function,
        ):
            yield function


def first_answer(line: Sequence[str], *, event: Mapping[str, Any], cwd: Path, environ: Mapping[str, str]) -> tuple[float, dict[str, Any]]:
    """Seconds from the start of a function's process to its answer, and the answer. Raises `MeasureError`."""
    with invoked(line, event=event, cwd=cwd, environ=environ) as function:
        body = function.ask()
        seconds = time.perf_counter() - function.process.begun
        answer: dict[str, Any] = json.loads(body)
        if answer.get("statusCode") != 200:
            raise MeasureError(f"the function answered {answer}")
    return seconds, answer


def _invocation(event: bytes) -> bytes:
    headers = {
        "Lambda_Runtime_Aws_Request_Id": "00000000-0000-0000-0000-000000000001",
        "Lambda_Runtime_Deadline_Ms": str(int(time.time() * 1000) + 29_000),
        "Lambda_Runtime_Invoked_Function_Arn": "arn:aws:lambda:us-east-1:123456789012:function:loopback",
    }
    return message("HTTP/1.1 200 OK", event, **headers)
