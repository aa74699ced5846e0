"""The gateway function of a heavy model: what it adds to its endpoint's own time, where that answers at once."""

from __future__ import annotations

import hashlib
import json
import socket
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread

from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Manifest, TensorSpec, archive_version
from modelserve.registry import Registry
from modelserve.settings import GatewaySettings
from tools.bench.measures import Options, Result, Tick, added
from tools.bench.processes import command, output
from tools.bench.programs import CONTEXT
from tools.bench.subject import Subject
from tools.local.packages import PROJECT
from tools.local.roots import TaskRoot
from tools.local.triton import BINARY
from tools.loopback.exchange import receive
from tools.loopback.store import BUCKET, MemoryStore

__all__ = ["deployed", "endpoint", "measure", "overhead"]

_NAME = "heavy"
_ANSWER = "probabilities"
_GRAPH = b"of which nobody looks inside"
_QUICK_CALLS = 100
_TURNS = (
    """
import json, os, socket, sys, time
stdout, sys.stdout = sys.stdout, open("/dev/null", "w")  # what a pipe would cost is not the handler's
from functions.gpu_gateway import handler as module
"""
    + CONTEXT
    + """
event, rounds, port = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
handler, context, clock, results = module.handler, Context(), time.perf_counter_ns, []
answer = handler(event, context)
assert answer["statusCode"] == 200, answer
bare = socket.create_connection(("127.0.0.1", port))
bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
sent = b"POST / HTTP/1.1\\r\\nContent-Length: %d\\r\\n\\r\\n%b" % (len(event["body"]), event["body"].encode())
for _ in range(rounds):
    begun = clock()
    bare.sendall(sent)
    bare.recv(65536)
    between = clock()
    handler(event, context)
    results.append((between - begun, clock() - between))
print(json.dumps(results[rounds // 10 :]), file=stdout, flush=True)
"""
)
"""Turn by turn, nanoseconds of a bare exchange with the endpoint and of the whole handler; the first tenth warms up."""


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `gateway`."""
    with endpoint(_NAME) as port, deployed(subject, port) as gateway:
        yield overhead(gateway, port, rounds=_QUICK_CALLS if options.quick else options.calls)
    tick()


def overhead(gateway: Subject, port: int, *, rounds: int) -> Result:
    """What the handler adds to an exchange with its endpoint for one row, signature, log line and metrics included; in microseconds."""
    line = command(gateway.root, _TURNS, json.dumps(dict(gateway.event)), str(rounds), str(port))
    return added(
        [(bare, ours) for bare, ours in output(line, root=gateway.root, environ=gateway.environ)],
        name="gateway",
        group="gateway",
        unit="us",
        scale=1e-3,
        bar=None,
        comparison="what a row of 30 features as JSON takes over an exchange of as many bytes with its endpoint, which is a stand-in that "
        "answers at once",
    )


@contextmanager
def endpoint(name: str) -> Iterator[int]:
    """The port on which whatever is asked is answered as Triton answers a row of this model, on every connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_accept, args=(listener, _response(name)), daemon=True).start()
        yield listener.getsockname()[1]


@contextmanager
def deployed(subject: Subject, port: int) -> Iterator[Subject]:
    """The gateway function, with this project's packages, in front of that endpoint; its model has the subject's event."""
    with MemoryStore() as store, tempfile.TemporaryDirectory() as scratch:
        registry = Registry(store)
        registry.promote(_NAME, _published(registry, Path(scratch)), alias="production", by="bench", reason="")
        settings = GatewaySettings(model_name=_NAME, model_bucket=BUCKET, endpoint_name=_NAME)
        urls = {"AWS_ENDPOINT_URL_S3": store.endpoint, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": f"http://127.0.0.1:{port}"}
        packages = Path(sysconfig.get_path("purelib"))  # of the lock, as those of the function's layer
        root = TaskRoot(folder=PROJECT, before=(PROJECT, PROJECT / "layers" / "modelserve" / "python", packages), handler="")
        yield replace(
            subject,
            root=root,
            event={**subject.event, "path": f"/v2/models/{_NAME}/infer"},
            environ={**subject.environ, **settings.to_env(), **urls},
        )


def _published(registry: Registry, folder: Path) -> str:
    """A version of a row of 30 numbers to two, of which nobody runs the graph."""
    files = {name: folder / name for name in (MODEL_FILE, ARCHIVE_FILE)}
    for file in files.values():
        file.write_bytes(_GRAPH)
    draft = Manifest(
        name=_NAME,
        version="",
        created="",
        task="classification",
        inputs=(TensorSpec(name="input", datatype="FP32", shape=(-1, 30)),),
        outputs=(TensorSpec(name=_ANSWER, datatype="FP32", shape=(-1, 2)),),
        files=(),
        opset={"": 18},
        ir=8,
        max_batch=256,
    )
    return registry.publish(draft, files).version


def _response(name: str) -> bytes:
    archive = archive_version(_digits())
    item = {"name": _ANSWER, "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}
    header = json.dumps({"model_name": name, "model_version": str(archive), "outputs": [item]}).encode()
    body = header + bytes(8)
    return f"HTTP/1.1 200 OK\r\nContent-Type: {BINARY}{len(header)}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _digits() -> str:
    """With which the version's name ends."""
    return hashlib.sha256(_GRAPH).hexdigest()[:8]


def _accept(listener: socket.socket, answer: bytes) -> None:
    with suppress(OSError):  # the listener was closed
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Thread(target=_serve, args=(connection, answer), daemon=True).start()


def _serve(connection: socket.socket, answer: bytes) -> None:
    with suppress(OSError), connection:  # the client went away
        while True:
            receive(connection)
            connection.sendall(answer)
