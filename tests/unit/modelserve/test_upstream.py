"""What a cold start asks the network for, and how often it waits for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from modelserve.errors import UnverifiedModel
from modelserve.fetch import Fetcher
from modelserve.manifest import alias_key, parse_alias
from modelserve.settings import PredictSettings
from modelserve.upstream import Upstream

from .stores import MemoryStore, Publisher

SETTINGS = PredictSettings(model_name="sample", model_bucket="store")


class Served:
    """S3 over a store in memory: `asked` in the order in which it was asked, `connections` as they were opened."""

    def __init__(self, store: MemoryStore, together: threading.Barrier) -> None:
        self.asked: list[str] = []
        self.connections = 0
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                served.connections += 1

            def do_GET(self) -> None:
                key = urlsplit(self.path).path.removeprefix("/store/")
                served.asked.append(key.rpartition("/")[2])
                if not key.endswith("production.json"):
                    together.wait(timeout=10)
                body = store.objects[key][-1]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                """A test prints nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True


@contextmanager
def served(store: MemoryStore, together: threading.Barrier) -> Iterator[Served]:
    found = Served(store, together)
    threading.Thread(target=found.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()


def upstream(found: Served, seconds: float = 8) -> Upstream:
    url = f"http://127.0.0.1:{found.server.server_port}"
    environ = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    return Upstream(SETTINGS, environ, seconds=seconds)


def test_a_cold_start_waits_twice_on_two_connections_that_are_opened_at_once(tmp_path: Path):
    """For the alias, and then for manifest and model, which wait for each other here: one after the other they would do so for good."""
    store = MemoryStore()
    Publisher(store, tmp_path).release(b"graph")
    opened: list[bytes] = []

    def open_session(path: str, _load: object) -> Any:
        opened.append(Path(path).read_bytes())
        raise UnverifiedModel("a graph", "nothing", "something")

    with served(store, threading.Barrier(2)) as found:
        asked = upstream(found)
        asked.begin()
        answer = asked.store.get(alias_key("sample", "production"))
        assert answer is not None
        with pytest.raises(UnverifiedModel):
            Fetcher(asked.store, open_session)(parse_alias(answer.body, "sample", "production"))
        asked.close()

    assert opened == [b"graph"]
    assert found.connections == 2
    assert found.asked[0] == "production.json"
    assert sorted(found.asked[1:]) == ["manifest.json", "model.onnx"]


def test_nothing_takes_longer_than_there_is_time(tmp_path: Path):
    store = MemoryStore()
    Publisher(store, tmp_path).release(b"graph")
    with served(store, threading.Barrier(2)) as found:
        asked = upstream(found, seconds=5)
        assert 4 < asked.remaining() <= 5
        asked.ends -= 5
        with pytest.raises(Exception, match="timed out"):
            asked.store.get("models/sample/anything")


def test_the_signing_key_is_asked_for_with_the_alias(monkeypatch: pytest.MonkeyPatch):
    begun: list[str] = []

    class Verifier:
        def prefetch(self) -> None:
            begun.append("key")

    monkeypatch.setattr("modelserve.upstream.verifier", lambda *_, **__: Verifier())
    asked = Upstream(SETTINGS, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, seconds=1)
    monkeypatch.setattr(asked.store, "begin", begun.append)
    asked.begin()

    assert begun == [alias_key("sample", "production"), "key"]
