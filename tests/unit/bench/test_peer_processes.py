"""Sides as processes: asked over sockets, held to what they declare, and ended with all they started."""

import sys
from array import array
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import awslambdaric
import psutil
import pytest

from tools.bench.function import Function
from tools.bench.peers import measured, servers
from tools.bench.peers.ours import ALONE, read
from tools.bench.peers.servers import Server
from tools.bench.peers.talk import INFERENCE, ROWS
from tools.loopback.errors import MeasureError

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


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """This interpreter instead of a peer's."""
    monkeypatch.setattr(servers, "environment", lambda _: PYTHON)
    monkeypatch.setattr(servers, "ENVIRONMENTS", tmp_path)


def a_server(tmp_path: Path, program: str) -> Server:
    (tmp_path / "program.py").write_text(program)
    line = f"python -I -S {tmp_path}/program.py {{port}}"
    return Server(name="stand-in", folder="stand-in", line=line, talk=ROWS, includes="nothing")


def test_a_server_is_asked_until_it_has_its_model(environment: None, tmp_path: Path) -> None:
    server = a_server(tmp_path, SERVER)
    with server.start(tmp_path / "model.onnx", [1.0]) as running:
        assert server.read(running.first()) == server.read(running.ask()) == [1, 0.25, 0.75]
        assert running.process.memory().peak >= running.process.memory().share > 2**20
    assert not psutil.pid_exists(running.process.process.pid)


def test_a_server_that_ends_is_an_error_that_shows_its_output(environment: None, tmp_path: Path) -> None:
    server = a_server(tmp_path, "print('the port is taken')")
    with pytest.raises(MeasureError, match=r"the server ended[\s\S]*the port is taken"), server.start(tmp_path, [1.0]) as running:
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
        assert read(running.first()) == read(running.ask()) == [1, 0.25, 0.75]


def test_an_error_of_the_function_is_no_answer() -> None:
    with pytest.raises(MeasureError, match="503"):
        read(b'{"statusCode": 503, "body": "{}"}')
