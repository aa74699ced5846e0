"""Sides as processes: asked over sockets, held to what they declare, and ended with all they started."""

import contextlib
import socket
import sys
import time
from array import array
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import awslambdaric
import psutil
import pytest

from tools.bench.peers import measured, processes, servers
from tools.bench.peers.exchange import message, receive
from tools.bench.peers.function import ALONE, Function
from tools.bench.peers.processes import started
from tools.bench.peers.servers import Server
from tools.bench.peers.talk import INFERENCE, ROWS
from tools.bench.runtime import BenchError

PYTHON = Path(sys.prefix)

SERVER = dedent("""
    import http.server, os, sys

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        loading = [True]

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            loading = self.loading and self.loading.pop()
            body = b"no model yet" if loading else b'{"label": [1], "probabilities": [[0.25, 0.75]]}'
            self.send_response(503 if loading else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
""")
CLIENT_PROGRAM = dedent("""
    import os, sys
    from http.client import HTTPConnection

    def call(method, path, body=None):
        connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        connection.request(method, "/2018-06-01/runtime/" + path, body)
        return connection.getresponse().read()

    for _ in range(int(sys.argv[1])):
        call("POST", "invocation/1/response", b"answer to " + call("GET", "invocation/next"))
    call("POST", "init/error", b"it is over") if len(sys.argv) > 2 else print("a line of the log", flush=True)
""")


@pytest.fixture
def pair() -> Any:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(end) for end in socket.socketpair()]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This interpreter instead of a peer's."""
    monkeypatch.setattr(servers, "environment", lambda _: PYTHON)
    monkeypatch.setattr(servers, "ENVIRONMENTS", tmp_path)


def a_server(tmp_path: Path, program: str) -> Server:
    (tmp_path / "program.py").write_text(program)
    line = f"python -I -S {tmp_path}/program.py {{port}}"
    return Server(name="stand-in", folder="stand-in", line=line, talk=ROWS, includes="nothing")


def test_a_message_that_comes_in_parts_is_read_whole(pair: Any) -> None:
    here, there = pair
    sent = message("HTTP/1.1 200 OK", b'{"a": 1}', X_Of="b") * 2
    there.sendall(sent[:30])
    there.sendall(sent[30 : len(sent) // 2])
    head, body = receive(here)
    assert head.splitlines()[0] == b"HTTP/1.1 200 OK"
    assert b"X-Of: b" in head
    assert body == b'{"a": 1}'


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", ConnectionError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BenchError),
    ],
)
def test_what_has_no_declared_end_is_not_taken_for_an_answer(pair: Any, sent: bytes, error: type[Exception]) -> None:
    here, there = pair
    there.sendall(sent)
    there.shutdown(socket.SHUT_WR)
    with pytest.raises(error):
        receive(here)


def test_a_server_is_asked_until_it_has_its_model(environment: None, tmp_path: Path) -> None:
    server = a_server(tmp_path, SERVER)
    with server.start(tmp_path / "model.onnx", [1.0]) as running:
        assert server.read(running.first()) == server.read(running.ask()) == [1, 0.25, 0.75]
        assert running.process.memory().peak >= running.process.memory().share > 2**20
    assert not psutil.pid_exists(running.process.process.pid)


def test_a_server_that_ends_is_an_error_that_shows_its_output(environment: None, tmp_path: Path) -> None:
    server = a_server(tmp_path, "print('the port is taken')")
    with pytest.raises(BenchError, match=r"the server ended[\s\S]*the port is taken"), server.start(tmp_path, [1.0]) as running:
        running.first()


def test_a_function_is_invoked_as_often_as_it_is_asked(bare_subject: Any) -> None:
    """Its client opens a connection for each request; the runtime client that AWS has keeps one."""
    with Function(bare_subject, CLIENT_PROGRAM, ("3",)).start() as running:
        assert [running.first(), running.ask(), running.ask(b"this")] == [
            b'answer to {"body": "{}"}',
            b'answer to {"body": "{}"}',
            b"answer to this",
        ]


@pytest.mark.parametrize(("arguments", "said"), [(("0",), r"ended[\s\S]*a line of the log"), (("0", "fail"), "init/error.*it is over")])
def test_a_function_that_ends_is_an_error(
    bare_subject: Any, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("tools.bench.peers.function._LOOK", 0.01)
    with pytest.raises(BenchError, match=said), Function(bare_subject, CLIENT_PROGRAM, arguments).start() as running:
        running.first()


def test_both_kinds_of_answer_are_the_label_and_the_probabilities() -> None:
    assert ROWS.read({"label": [1], "probabilities": [[0.25, 0.75]]}) == [1, 0.25, 0.75]
    assert INFERENCE.read({"outputs": [{"name": "label", "data": [1]}, {"name": "probabilities", "data": [0.25, 0.75]}]}) == [1, 0.25, 0.75]


def test_the_runtime_client_alone_gives_the_same_answer(bare_subject: Any) -> None:
    """Through the real one, whatever it sends."""
    root = replace(bare_subject.root, after=(Path(awslambdaric.__file__).parents[1],))
    subject = SimpleNamespace(root=root, event={}, environ={"AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_LAMBDA_FUNCTION_VERSION": "1"})
    alone = Function(subject, ALONE, (measured._alone(array("f", [1, 0.25, 0.75])),))  # type: ignore[arg-type]
    with alone.start() as running:
        assert alone.read(running.first()) == alone.read(running.ask()) == [1, 0.25, 0.75]


def test_an_error_of_the_function_is_no_answer(bare_subject: Any) -> None:
    with pytest.raises(BenchError, match="503"):
        Function(bare_subject).read(b'{"statusCode": 503, "body": "{}"}')


def test_a_process_ends_with_what_it_started(tmp_path: Path) -> None:
    program = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-I', '-S', '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    with started([sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, environ={}) as running:
        while not running.process.children():
            time.sleep(0.005)
        child, alone = running.process.children()[0], processes._kibibytes(Path(f"/proc/{running.process.pid}/status"), "VmHWM:")
        assert running.memory().peak > 1024 * alone
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
