"""The peers: how each is started, asked and understood, and what it does besides predicting."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tools.bench.peers.environments import ENVIRONMENTS, PEERS, environment
from tools.bench.peers.talk import INFERENCE, ROWS, Row, Talk
from tools.loopback.errors import MeasureError
from tools.loopback.exchange import connect, message, receive, status
from tools.loopback.processes import THREADS, Started, started

__all__ = ["SERVERS", "TUNED", "Server"]

_PATIENCE = 60.0  # seconds, for the first answer and for each later one
_PAUSE = 0.001  # seconds between attempts while a server starts
_OK = 200


@dataclass(frozen=True, kw_only=True)
class Server:
    """An HTTP server with the model.

    `line` and `environ` may hold {here} (its folder), {work} (where it runs), and {port} to {port3}.
    """

    name: str
    folder: str
    line: str
    environ: Mapping[str, str] = field(default_factory=dict)
    talk: Talk
    includes: str

    @contextmanager
    def start(self, model: Path, row: Row) -> Iterator[_Serving]:
        """A fresh process, in a folder of its own that stays between starts. Raises `Unavailable`, `MeasureError`."""
        made = environment(self.folder)
        work = ENVIRONMENTS / f"{self.folder}.work"
        work.mkdir(exist_ok=True)
        port, port2, port3 = _free_ports(3)
        facts = {"here": PEERS / self.folder, "work": work, "port": port, "port2": port2, "port3": port3}
        program, *words = [word.format(**facts) for word in self.line.split()]
        environ = {name: value.format(**facts) for name, value in self.environ.items()}
        environ |= {**THREADS, "HOME": str(work), "MODEL": str(model), "PYTHONPATH": str(PEERS / self.folder)}
        request = message(f"POST {self.talk.path} HTTP/1.1", json.dumps(self.talk.ask(row)).encode(), Host="localhost")
        line = [str(made / "bin" / program), *words]
        with started(line, cwd=work, environ=environ) as process, closing(_Serving(process, port, request)) as serving:
            yield serving

    def read(self, answer: bytes) -> list[float]:
        """The label, then the probabilities."""
        return self.talk.read(json.loads(answer))


class _Serving:
    """A server that runs, and one connection that is kept."""

    def __init__(self, process: Started, port: int, request: bytes) -> None:
        self.process = process
        self._port, self._request = port, request
        self._connection: socket.socket | None = None

    def first(self) -> bytes:
        """Asks again and again until there is an answer: a server may listen before it has its model. Raises `MeasureError`."""
        deadline = time.monotonic() + _PATIENCE
        while self.process.running() and time.monotonic() < deadline:
            try:
                self._connection = connect(self._port, timeout=_PATIENCE)
                return self.ask()
            except (MeasureError, ConnectionError):
                self.close()
                time.sleep(_PAUSE)
        raise MeasureError("the server gave no answer" if self.process.running() else "the server ended")

    def ask(self) -> bytes:
        """The body of an answer. Raises `MeasureError` for another status, `OSError`."""
        assert self._connection is not None  # `first` made it
        self._connection.sendall(self._request)
        head, body = receive(self._connection)
        if status(head) != _OK:
            raise MeasureError(f"the server answered {status(head)}: {body[:500]!r}")
        return body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


def _free_ports(count: int) -> list[int]:
    """Nobody's a moment ago; all held at once, so that they differ."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


_MLSERVER_PORTS = {"MLSERVER_HTTP_PORT": "{port}", "MLSERVER_GRPC_PORT": "{port2}", "MLSERVER_METRICS_PORT": "{port3}"}
TUNED = "MLServer, tuned"
SERVERS = (
    Server(
        name="MLServer",
        folder="mlserver",
        line="mlserver start {here}/default",
        environ=_MLSERVER_PORTS,
        talk=INFERENCE,
        includes="HTTP, gRPC and metrics servers, Open Inference Protocol, one worker process for inference (its default), debug log",
    ),
    Server(
        name=TUNED,
        folder="mlserver",
        line="mlserver start {here}/tuned",
        environ=_MLSERVER_PORTS,
        talk=INFERENCE,
        includes="HTTP and gRPC servers (gRPC can't be turned off), Open Inference Protocol, one process; no metrics, gzip or debug log",
    ),
    Server(
        name="BentoML",
        folder="bentoml",
        line="bentoml serve service:Tumour --port {port}",
        environ={"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{work}/bentoml"},
        talk=ROWS,
        includes="HTTP server, typed arrays, a supervisor and one worker process, metrics, access log (its defaults)",
    ),
    Server(
        name="FastAPI",
        folder="fastapi",
        line="uvicorn server:app --port {port} --loop uvloop --http httptools",
        talk=ROWS,
        includes="HTTP server, bodies validated by pydantic, access log; no metrics, no protocol",
    ),
    Server(
        name="raw ASGI",
        folder="asgi",
        line="uvicorn server:app --port {port} --loop uvloop --http httptools --no-access-log --lifespan off",
        talk=ROWS,
        includes="HTTP server and orjson; no validation, no routes, no log, no metrics: the least that a Python server can do",
    ),
)
