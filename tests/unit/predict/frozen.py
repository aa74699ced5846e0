"""Lambda's side of SnapStart for one function: Runtime API, credentials endpoint and model store at one address, and two restores."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.unit.modelserve.stores import MemoryStore
from tests.unit.predict.apps import INFER, rest

ROOT = Path(__file__).parents[3]
RESTORES = 2
_BODY = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}).encode()
_EVENT = json.dumps(rest("POST", INFER, _BODY, text=True)).encode()
_PROGRAM = f"""
import json, os, random, sys, threading
from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

def tell(**what):
    sys.stdout.write(json.dumps({{"told": what}}) + "\\n")  # at once, so that two processes write lines

def sockets():
    links = [f"/proc/self/fd/{{fd}}" for fd in os.listdir("/proc/self/fd")]
    return [os.readlink(link) for link in links if os.path.lexists(link) and os.readlink(link).startswith("socket:")]

class Client(LambdaRuntimeClient):
    answered = False

    def restore_next(self):
        tell(open=sockets())
        sys.modules["modelserve.invocation"]._RESTORE_SECONDS = 60.0  # a load of more than a quarter of it is left to the first request
        super().restore_next()
        for thread in threading.enumerate():  # a restore would find them where they were, a fork without them and with their locks
            if thread is not threading.main_thread() and thread.name != "deadline":
                thread.join()
        state = random.getstate()
        for _ in range({RESTORES}):
            if os.fork() == 0:
                random.setstate(state)  # which Python draws anew after a fork, and nobody does after a restore
                return
        os._exit(any([os.wait()[1] for _ in range({RESTORES})]))

    def wait_next_invocation(self):
        if self.answered:
            os._exit(0)
        self.answered = True
        tell(drawn=random.random())
        return super().wait_next_invocation()

bootstrap.run("functions.predict.handler.handler", Client(os.environ["AWS_LAMBDA_RUNTIME_API"]))
"""
"""The function behind Lambda's own runtime client; a fork of the frozen process is what a restore of the snapshot would be."""


class Frozen:
    """What became of a function that was frozen once and restored twice."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.asked: list[tuple[str, str]] = []
        """Of the store: the access key that signed, and the path."""
        self.frozen_after = 0
        """How many of them came before the snapshot."""
        self.key = "before"
        """What the credentials endpoint hands out."""
        self.output = ""

    @classmethod
    def run(cls, store: MemoryStore, between: Callable[[Frozen], object], *, backend: str = "native") -> Frozen:
        """`between` is called while nothing runs but the snapshot lies there."""
        found = cls()
        with ExitStack() as exits:
            server = _Lambda(found, store, between)
            exits.callback(server.server_close)
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            exits.callback(server.shutdown)
            found._start(f"127.0.0.1:{server.server_port}", backend)
        return found

    def _start(self, address: str, backend: str) -> None:
        environ = {
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
            "AWS_LAMBDA_RUNTIME_API": address,
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{address}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token",
            "MODEL_NAME": "sample",
            "MODEL_BUCKET": "bucket",
            "ALIAS_CHECK_SECONDS": "3600",
            "SESSION_BACKEND": backend,
        }
        line = [sys.executable, "-W", "ignore", "-c", _PROGRAM]  # Python warns of a fork where there are threads
        ran = subprocess.run(
            line, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False
        )
        self.output = ran.stdout
        assert ran.returncode == 0, ran.stdout

    def told(self, what: str) -> list[Any]:
        """By the process that was frozen, and those that were restored."""
        documents = [json.loads(line) for line in self.output.splitlines() if line.startswith('{"told"')]
        return [document["told"][what] for document in documents if what in document["told"]]

    def logged(self) -> list[tuple[str, str]]:
        """Level and message of what the hooks wrote."""
        documents = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return [(each["level"], each["message"]) for each in documents if each.get("location") == "snapshots"]

    @property
    def keys(self) -> tuple[set[str], set[str]]:
        """That signed requests to the store: before the snapshot, and after the restores."""
        keys = [key for key, _ in self.asked]
        return set(keys[: self.frozen_after]), set(keys[self.frozen_after :])


class _Lambda(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, found: Frozen, store: MemoryStore, between: Callable[[Frozen], object]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.found = found
        self.store = store
        self.between = between


class _Handler(BaseHTTPRequestHandler):
    server: _Lambda

    def do_GET(self) -> None:
        where = urlsplit(self.path)
        found = self.server.found
        if where.path.endswith("/restore/next"):
            found.frozen_after = len(found.asked)
            self.server.between(found)
            self._answer(b"")
        elif where.path.endswith("/invocation/next"):
            self._answer(_EVENT, headers=_headers())
        elif where.path == "/credentials":
            assert self.headers["Authorization"] == "token"
            self._answer(json.dumps({"AccessKeyId": found.key, "SecretAccessKey": "secret", "Token": "t"}).encode())
        else:
            self._object(where.path.removeprefix("/bucket/"), parse_qs(where.query))

    def do_POST(self) -> None:
        self.server.found.answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer(b"", 202)

    def _object(self, key: str, query: dict[str, list[str]]) -> None:
        self.server.found.asked.append((self.headers["Authorization"].partition("Credential=")[2].partition("/")[0], key))
        versions = self.server.store.objects.get(key)
        if versions is None:
            self._answer(b"<Error><Code>NoSuchKey</Code></Error>", 404)
            return
        content = versions[int(query.get("versionId", ["-1"])[0])]
        etag = f'"{hashlib.md5(content).hexdigest()}"'
        known = self.headers["If-None-Match"] == etag
        self._answer(b"" if known else content, 304 if known else 200, headers={"ETag": etag})

    def _answer(self, content: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """A test prints its own results only."""


def _headers() -> dict[str, str]:
    """All of an invocation: the runtime client's native part crashes where one is missing."""
    return {
        "Content-Type": "application/json",
        "Lambda-Runtime-Aws-Request-Id": "00000000-0000-0000-0000-000000000001",
        "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 29_000),
        "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:sample",
    }
