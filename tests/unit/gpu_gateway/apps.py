"""The gateway function as AWS runs it: its app over a store and an endpoint in memory."""

import os
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Manifest
from modelserve.s3 import S3Reader
from modelserve.sagemaker import Endpoint
from modelserve.settings import GatewaySettings
from tests.unit.modelserve.graphs import session
from tests.unit.modelserve.runtimes import BUCKET, Runtime
from tests.unit.modelserve.stores import MemoryStore, Publisher
from tests.unit.predict import apps
from tests.unit.predict.apps import Answer, Context
from tests.unit.predict.test_observability import fresh

ENVIRONMENT = {"MODEL_NAME": "sample", "MODEL_BUCKET": "none", "ENDPOINT_NAME": "an-endpoint", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}

# As in an execution environment, importing the module starts it; here, without a store.
with patch.dict(os.environ, ENVIRONMENT):
    from functions.gpu_gateway.handler import App as App  # noqa: PLC0414 - tests take it from here
    from functions.gpu_gateway.handler import handler as STORELESS  # noqa: N812 - the app that the import started

__all__ = ["ENVIRONMENT", "STORELESS", "App", "Releases", "asked", "beside", "started"]


class Releases:
    """A store with the versions of one model, of which the newest is what an endpoint runs."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.runtime = Runtime(b"")
        self._folder = folder
        self._publisher = Publisher(self.store, folder)

    def release(self, content: bytes, alias: str = "production", *, archive: bool = True, labels: tuple[str, ...] = ()) -> str:
        file = self._folder / "released.onnx"
        file.write_bytes(content)
        ran = session(content)
        draft = Manifest(
            name="sample",
            version="",
            created="",
            task="regression",
            inputs=ran.inputs,
            outputs=ran.outputs,
            files=(),
            opset={"": 21},
            ir=10,
            labels=labels,
            max_batch=0 if archive else None,
        )
        files = {MODEL_FILE: file, ARCHIVE_FILE: file} if archive else {MODEL_FILE: file}
        self.runtime.graph = content
        version = self._publisher.registry.publish(draft, files).version
        self.runtime.version = version
        return self._publisher.promote(version, alias)


def started(releases: Releases, monkeypatch: pytest.MonkeyPatch, *, later: bool = False, **settings: Any) -> App:
    """An app whose environment has been started; `later` for one whose endpoint is asynchronous."""
    buckets = {BUCKET: releases.runtime.bucket}
    monkeypatch.setattr(S3Reader, "from_environ", lambda bucket, _environ, **_: buckets.get(bucket, releases.store))
    monkeypatch.setattr(Endpoint, "from_environ", lambda _name, _environ, **_: releases.runtime)
    required = {"model_name": "sample", "model_bucket": "none", "endpoint_name": "an-endpoint", "job_bucket": BUCKET if later else ""}
    app = App(GatewaySettings(**{"service": fresh(), **required, **settings}), {})
    app.start()
    return app


def beside(releases: Releases, app: App, monkeypatch: pytest.MonkeyPatch) -> apps.App:
    """The predict function for the same version, with the same settings."""
    shared = {name: value for name, value in vars(app._settings).items() if name not in {"endpoint_name", "job_bucket"}}
    shared.pop("model_name"), shared.pop("model_bucket")
    return apps.started(releases.store, monkeypatch, **shared)


def asked(app: App, event: Any, context: Context | None = None) -> Answer:
    return Answer(app.handler(event, context or Context()))
