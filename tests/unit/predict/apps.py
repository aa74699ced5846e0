"""The predict function as AWS runs it: its app over a store in memory, events of every kind and a context."""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

import pytest

from modelserve.s3 import S3Reader
from modelserve.settings import PredictSettings
from tests.unit.modelserve.factories import strict
from tests.unit.modelserve.stores import MemoryStore

# As in an execution environment, importing the module starts it; here, without a store.
with patch.dict(os.environ, {"MODEL_NAME": "sample", "MODEL_BUCKET": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):
    from functions.predict.handler import App as App  # noqa: PLC0414 - tests take it from here
    from functions.predict.handler import _app

STORELESS = _app
"""The app that the import started."""
INFER = "/v2/models/sample/infer"


class Context:
    """Lambda's context object."""

    function_name = "predict-sample"
    memory_limit_in_mb = "1769"
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:predict-sample"
    aws_request_id = "6f1c0a7e-0000-4000-8000-000000000000"

    def __init__(self, milliseconds: int = 20_000) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


def started(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *, environ: Mapping[str, str] | None = None, **settings: Any) -> App:
    """An app whose environment has been started on `store`."""
    monkeypatch.setattr(S3Reader, "from_environ", lambda _bucket, _environ, **_: store)
    app = App(PredictSettings(model_name="sample", model_bucket="none", **settings), environ or {})
    app.start()
    return app


def rest(method: str, path: str, body: bytes | None = None, *, text: bool = False, **headers: str) -> dict[str, Any]:
    """A REST API's event (v1)."""
    return {
        "resource": "/v2/models/sample/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": _named(headers) or None,
        "multiValueHeaders": None,
        "queryStringParameters": None,
        "requestContext": {"stage": "dev", "path": f"/dev{path}"},
        **_body(body, text=text),
    }


def http(method: str, path: str, body: bytes | None = None, *, text: bool = False, **headers: str) -> dict[str, Any]:
    """An HTTP API's or a function URL's event (v2)."""
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {name.lower(): value for name, value in _named(headers).items()},
        "requestContext": {"stage": "$default", "http": {"method": method, "path": path, "protocol": "HTTP/1.1"}},
        **_body(body, text=text),
    }
    if event["body"] is None:
        del event["body"]
    return event


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def _body(body: bytes | None, *, text: bool) -> dict[str, Any]:
    if body is None:
        return {"body": None, "isBase64Encoded": False}
    return {"body": body.decode() if text else b64encode(body).decode(), "isBase64Encoded": not text}


class Answer:
    """What a client gets of a function's answer to an HTTP event."""

    def __init__(self, answer: dict[str, Any]) -> None:
        assert set(answer) == {"statusCode", "headers", "body", "isBase64Encoded"}
        assert all(type(value) is str for value in answer["headers"].values())
        json.dumps(answer, allow_nan=False)
        self.status: int = answer["statusCode"]
        self.headers: dict[str, str] = answer["headers"]
        self.body: bytes = b64decode(answer["body"]) if answer["isBase64Encoded"] else answer["body"].encode()

    @property
    def json(self) -> Any:
        return strict(self.body)

    def error(self, status: int) -> str:
        """The text of an error that is in the protocol's form."""
        assert (self.status, self.headers["Content-Type"]) == (status, "application/json"), self.body
        assert list(self.json) == ["error"]
        text: str = self.json["error"]
        return text


def asked(app: App, event: Any, context: Context | None = None) -> Answer:
    return Answer(app.handle(event, context or Context()))
