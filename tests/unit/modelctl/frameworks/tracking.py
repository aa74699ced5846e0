"""What MLflow's client asks of a tracking server when it downloads a model, answered as a server of MLflow 3.17 answers it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

__all__ = ["TOKEN", "serve"]

TOKEN = "not-for-any-log"
"""What a client must bear."""
_ROOT = "0/models/m-1/artifacts"
_FILES = "/api/2.0/mlflow-artifacts/artifacts"
_VERSION = {"name": "fruit", "version": "1", "current_stage": "None", "source": "models:/m-1", "run_id": "", "status": "READY"}


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[str]:
    """The address of a server that holds one model `fruit`, version 1, alias `champion`, with these files."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = (
                _answer(self.path, files)
                if self.headers.get("Authorization") == f"Bearer {TOKEN}"
                else (401, b"You are not authenticated.")
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(target: str, files: Mapping[str, bytes]) -> tuple[int, bytes]:
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    if url.path == "/api/3.0/mlflow/server-info":
        return _json({"store_type": "SqlStore", "multipart_downloads_enabled": False})
    if url.path == _FILES:
        listed = [{"path": name, "is_dir": False, "file_size": len(content)} for name, content in files.items()]
        return _json({"files": listed if query["path"] == _ROOT else []})
    if url.path.startswith(f"{_FILES}/{_ROOT}/"):
        return 200, files[url.path.removeprefix(f"{_FILES}/{_ROOT}/")]
    if query.get("name") != "fruit":
        return _error(404, f"Registered Model with name={query.get('name')} not found")
    return _json(
        {
            "/api/2.0/mlflow/registered-models/alias": {"model_version": {**_VERSION, "aliases": ["champion"]}},
            "/api/2.0/mlflow/registered-models/get": {"registered_model": {"name": "fruit", "latest_versions": [_VERSION]}},
            "/api/2.0/mlflow/model-versions/get-download-uri": {"artifact_uri": f"mlflow-artifacts:/{_ROOT}"},
        }[url.path]
    )


def _json(answer: Any) -> tuple[int, bytes]:
    return 200, json.dumps(answer).encode()


def _error(status: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": message}).encode()
