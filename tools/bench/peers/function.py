"""Our side: a function's process behind its runtime client, and Lambda's Runtime API for as many invocations as are asked for."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from tools.bench.peers.exchange import message, receive
from tools.bench.peers.processes import Started, started
from tools.bench.peers.talk import INFERENCE
from tools.bench.processes import command
from tools.bench.programs import FUNCTION
from tools.bench.runtime import BenchError
from tools.bench.subject import Subject

__all__ = ["ALONE", "Function", "Invoked"]

_PATIENCE = 60.0
_LOOK = 0.5  # seconds without a word before a look at whether the process still runs
_ACCEPTED = message("HTTP/1.1 202 Accepted", b"")
ALONE = """
import sys, types
module = types.ModuleType("alone")
module.handler = lambda event, context: {"statusCode": 200, "body": sys.argv[1]}
sys.modules["alone"] = module
from awslambdaric.__main__ import main
main(["awslambdaric", "alone.handler"])
"""
"""A function that answers its argument: what the runtime client takes, and nobody can save."""


@dataclass(frozen=True)
class Function:
    """A function's process, as the image starts it; the program is the predict function where no other is given."""

    subject: Subject
    program: str = FUNCTION
    arguments: tuple[str, ...] = ()

    @contextmanager
    def start(self) -> Iterator[Invoked]:
        """A fresh process. Raises `BenchError`."""
        with socket.create_server(("127.0.0.1", 0)) as listener, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            environ = {**self.subject.environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{listener.getsockname()[1]}"}
            line = command(self.subject.root, self.program, *self.arguments)
            with (
                started(line, cwd=self.subject.root.folder, environ=environ) as process,
                closing(Invoked(process, listener, selector, self.subject.event)) as invoked,
            ):
                yield invoked

    def read(self, answer: bytes) -> list[float]:
        """The label, then the probabilities. Raises `BenchError`."""
        document = json.loads(answer)
        if document.get("statusCode") != 200:
            raise BenchError(f"the function answered {document}")
        return INFERENCE.read(json.loads(document["body"]))


class Invoked:
    """A function that runs, and the connections that its runtime client keeps."""

    def __init__(
        self, process: Started, listener: socket.socket, selector: selectors.BaseSelector, event: Mapping[str, Any] | None = None
    ) -> None:
        self.process = process
        self._listener, self._selector = listener, selector
        self._event = json.dumps(dict(event or {})).encode()

    def first(self) -> bytes:
        """As `ask`; the process may have been started a moment ago."""
        return self.ask()

    def ask(self, event: bytes | None = None) -> bytes:
        """The function asks for its next event, gets this one or the usual one, and posts this answer: a whole turn.

        Raises `BenchError`, `OSError`.
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
            raise BenchError(f"the function sent {target.decode()} where …{path.decode()} was due: {body[:500]!r}")
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
        raise BenchError("the function sent nothing in a minute" if running else "the function ended")

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(_PATIENCE)
        self._selector.register(connection, selectors.EVENT_READ)


def _invocation(event: bytes) -> bytes:
    headers = {
        "Lambda_Runtime_Aws_Request_Id": "00000000-0000-0000-0000-000000000001",
        "Lambda_Runtime_Deadline_Ms": str(int(time.time() * 1000) + 29_000),
        "Lambda_Runtime_Invoked_Function_Arn": "arn:aws:lambda:us-east-1:123456789012:function:bench",
    }
    return message("HTTP/1.1 200 OK", event, **headers)
