"""What the server says of itself as a whole."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from modelserve.errors import ObjectNotFound, StoreUnavailable
from modelserve.manifest import Alias, File, Object, alias_key
from modelserve.settings import CatalogSettings
from tests.unit.invocations import Context, lines, logged

VERSION = "20261120T174100Z-1a2b3c4d"


@pytest.fixture(scope="module")
def make_handler():
    """The module reads its environment when it is imported, as Lambda does."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MODEL_NAMES", "fruit")
        environment.setenv("MODEL_BUCKET", "models")
        from functions.catalog import handler

    return handler.make_handler


class FakeStore:
    """An object store in memory, which counts how many reads are under way at once."""

    def __init__(self, *promoted: str, broken: bool = False, together: int = 1) -> None:
        self._objects = {alias_key(name, "production"): an_alias(name) for name in promoted}
        self._broken = broken
        self._barrier = threading.Barrier(together, timeout=10)

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object:
        self._barrier.wait()
        if self._broken:
            raise StoreUnavailable(key, "HTTP 403 AccessDenied")
        if key not in self._objects:
            raise ObjectNotFound(key)
        return Object(self._objects[key], '"etag"', None)


def an_alias(name: str) -> bytes:
    model = File(path=f"models/{name}/versions/{VERSION}/model.onnx", size=1, sha256="0" * 64)
    return Alias(name=name, alias="production", version=VERSION, manifest_sha256="0" * 64, model=model).to_json()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


@pytest.fixture
def call(make_handler):
    """Sends an event as a REST API would and reads the answer as a client would."""

    def send(
        method: str,
        path: str,
        body: str = "",
        *,
        models: tuple[str, ...] = ("fruit", "tumour"),
        store: FakeStore | None = None,
        cors_origin: str = "",
        headers: dict[str, str] | None = None,
        caller: dict[str, str] | None = None,
    ) -> Answer:
        settings = CatalogSettings(model_names=models, model_bucket="models", cors_origin=cors_origin)
        handler = make_handler(settings, store or FakeStore("fruit", "tumour"), version="7")
        event = {
            "httpMethod": method,
            "path": path,
            "headers": headers or {},
            "multiValueHeaders": {},
            "requestContext": {"stage": "dev", "requestId": "a-request"} | ({"authorizer": caller} if caller else {}),
            "body": base64.b64encode(body.encode()).decode() if body else None,
            "isBase64Encoded": bool(body),
        }
        answer = handler(event, Context())
        assert answer["isBase64Encoded"] is False
        assert all(isinstance(value, str) for values in answer["multiValueHeaders"].values() for value in values)
        return Answer(answer["statusCode"], {name: values[0] for name, values in answer["multiValueHeaders"].items()}, answer["body"])

    return send


@pytest.fixture
def log(call):
    call("GET", "/v2")  # makes the logger
    with logged() as written:
        yield written


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/dev/v2", "/a/base/path/v2/"])
def test_the_server_tells_its_name_version_and_extensions(call, path):
    answer = call("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body.keys() == {"name", "version", "extensions"}
    assert {"binary_tensor_data", "classification", "model_repository"} <= set(answer.body["extensions"])


def test_it_is_live_whatever_the_store_does(call):
    answer = call("GET", "/v2/health/live", store=FakeStore(broken=True))
    assert (answer.status, answer.body) == (200, {"live": True})


def test_it_is_ready_when_every_model_is_promoted(call):
    answer = call("GET", "/v2/health/ready")
    assert (answer.status, answer.body) == (200, {"ready": True})


def test_it_is_ready_without_models(call):
    assert call("GET", "/v2/health/ready", models=(), store=FakeStore()).status == 200


def test_until_then_it_names_the_models_and_the_command(call):
    answer = call("GET", "/v2/health/ready", store=FakeStore("fruit"))
    assert answer.status == 503
    assert "modelctl promote tumour VERSION --alias production" in answer.body["error"]
    assert "fruit" not in answer.body["error"]
    assert answer.headers["Retry-After"] == "1"


def test_an_unreachable_store_is_not_ready(call):
    answer = call("GET", "/v2/health/ready", store=FakeStore(broken=True))
    assert answer.status == 503
    assert "AccessDenied" in answer.body["error"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_index_gives_every_models_state(call, method):
    answer = call(method, "/v2/repository/index", store=FakeStore("fruit"))
    ready, unavailable = answer.body
    assert ready == {"name": "fruit", "version": VERSION, "state": "READY"}
    assert (unavailable["name"], unavailable["state"]) == ("tumour", "UNAVAILABLE")
    assert "modelctl promote tumour" in unavailable["reason"]
    assert "version" not in unavailable


@pytest.mark.parametrize(
    ("body", "names"), [('{"ready": true}', ["fruit"]), ('{"ready": false}', ["fruit", "tumour"]), ("{}", ["fruit", "tumour"])]
)
def test_the_index_can_be_asked_for_ready_models_only(call, body, names):
    assert [each["name"] for each in call("POST", "/v2/repository/index", body, store=FakeStore("fruit")).body] == names


@pytest.mark.parametrize("body", ["{", "[]", "null", '{"ready": "yes"}', '{"ready": 1}', "\N{GRINNING FACE}"])
def test_a_malformed_question_says_what_to_send(call, body):
    answer = call("POST", "/v2/repository/index", body)
    assert answer.status == 400
    assert '{"ready": true}' in answer.body["error"]


def test_bytes_that_are_no_text_are_a_clients_mistake(call, make_handler):
    settings = CatalogSettings(model_names=(), model_bucket="models")
    event = {"httpMethod": "POST", "path": "/v2/repository/index", "headers": {}, "body": base64.b64encode(b"\xff\xfe").decode()}
    answer = make_handler(settings, FakeStore())({**event, "isBase64Encoded": True, "requestContext": {}}, Context())
    assert answer["statusCode"] == 400


def test_aliases_are_read_at_the_same_time(call):
    """Each read waits for the 31 others, so fewer at once would never end."""
    names = tuple(f"model_{number}" for number in range(32))
    answer = call("GET", "/v2/health/ready", models=names, store=FakeStore(*names, together=32))
    assert answer.status == 200


def test_the_deployed_models_are_listed(call):
    assert call("GET", "/v2/models").body == {"models": ["fruit", "tumour"]}


@pytest.mark.parametrize("path", ["/v2/models/nope", "/v2/models/nope/infer", "/dev/v2/models/nope/versions/1/ready"])
def test_an_unknown_model_is_not_found_and_the_known_are_named(call, path):
    answer = call("POST", path)
    assert answer.status == 404
    assert answer.body == {"error": "no model 'nope' is served here; served: fruit, tumour"}


def whoever_may(*models: str) -> dict[str, str]:
    """What the authorizer tells of a client."""
    return {"principalId": "shop", "client": "shop", "models": ",".join(models)}


@pytest.mark.parametrize(
    ("own", "seen"),
    [
        (("fruit",), ["fruit"]),
        (("tumour", "fruit"), ["fruit", "tumour"]),
        (("*",), ["fruit", "tumour"]),
        (("frui", "fruit_2", "*x"), []),
        ((), []),
    ],
)
def test_a_client_hears_of_its_own_models_only(call, own, seen):
    caller = whoever_may(*own)

    assert call("GET", "/v2/models", caller=caller).body == {"models": seen}
    for method in ("GET", "POST"):
        assert [each["name"] for each in call(method, "/v2/repository/index", caller=caller).body] == seen


def test_a_caller_of_whom_the_authorizer_says_no_models_sees_none(call):
    assert call("GET", "/v2/models", caller={"principalId": "somebody"}).body == {"models": []}


def test_a_client_is_told_of_a_missing_promotion_of_its_own_models_only(call):
    store = FakeStore("fruit")

    assert call("GET", "/v2/health/ready", store=store, caller=whoever_may("fruit")).status == 200
    answer = call("GET", "/v2/health/ready", store=store, caller=whoever_may("tumour"))
    assert (answer.status, "tumour" in answer.body["error"], "fruit" in answer.body["error"]) == (503, True, False)


def test_an_unknown_model_names_no_model_of_others(call):
    answer = call("POST", "/v2/models/nope/infer", caller=whoever_may("fruit"))

    assert answer.body == {"error": "no model 'nope' is served here; served: fruit"}


def test_a_client_is_in_the_log_line(call, log):
    call("GET", "/v2", caller=whoever_may("fruit"))
    call("GET", "/v2")

    assert [line.get("client") for line in lines(log)] == ["shop", None]


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v2/nothing", "/v2/health", "/v2/health/ready/now"])
def test_an_unknown_path_is_not_found(call, path):
    answer = call("GET", path)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert "no route" in answer.body["error"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("DELETE", "/v2", "GET, HEAD"), ("POST", "/v2/health/ready", "GET, HEAD"), ("PUT", "/v2/repository/index/", "GET, HEAD, POST")],
)
def test_another_method_is_refused_with_the_right_one(call, method, path, allow):
    answer = call(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert allow in answer.body["error"]


@pytest.mark.parametrize("action", ["load", "unload"])
def test_loading_by_request_points_to_promotion(call, action):
    answer = call("POST", f"/v2/repository/models/fruit/{action}")
    assert answer.status == 400
    assert "modelctl promote" in answer.body["error"]


def test_a_bug_is_answered_in_the_protocols_shape_and_logged_without_its_text(call, log):
    class Broken:
        def get(self, *_: object, **__: object) -> None:
            raise LookupError("canary-5172")  # as one that quotes what the caller sent

    answer = call("GET", "/v2/health/ready", store=Broken())
    assert answer.status == 500
    assert "a-request" in answer.body["error"]
    line = lines(log)[0]
    assert line["error"] == "LookupError"
    assert "test_catalog.py" in line["frames"][-1]
    assert "canary" not in log.getvalue()


def test_no_setting_makes_it_log_its_events(make_handler, log, monkeypatch):
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    handler = make_handler(CatalogSettings(model_names=(), model_bucket="models"), FakeStore())
    handler({"httpMethod": "GET", "path": "/v2", "headers": {"Authorization": "canary-5172"}, "requestContext": {}}, Context())
    assert "request" in log.getvalue()
    assert "canary" not in log.getvalue()


def test_without_an_origin_no_cors_header_is_sent(call):
    answer = call("GET", "/v2", headers={"Origin": "https://example.org"})
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


def test_a_browsers_preflight_is_answered(call):
    answer = call("OPTIONS", "/v2/health/ready", cors_origin="https://example.org", headers={"Origin": "https://example.org"})
    assert answer.status == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert {"GET", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(","))
    assert {"Authorization", "Content-Type", "Inference-Header-Content-Length"} <= set(
        answer.headers["Access-Control-Allow-Headers"].split(",")
    )


def test_a_browser_can_read_errors_too(call):
    answer = call("GET", "/v2/models/nope", cors_origin="https://example.org", headers={"Origin": "https://example.org"})
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"


def test_a_request_leaves_a_log_line(call, log):
    call("GET", "/v2")
    (line,) = lines(log)
    assert (line["message"], line["status"], line["service"], line["function_request_id"]) == (
        "request",
        200,
        "serverless-onnx",
        "a-request",
    )


def test_a_request_leaves_a_latency(call, capsys):
    call("GET", "/v2")
    (metric,) = [each for each in map(json.loads, capsys.readouterr().out.splitlines()) if "Latency" in each]
    assert metric["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "ServerlessOnnx"


def test_errors_are_counted_by_kind(call, capsys):
    call("GET", "/v2/models/nope")
    assert [each for each in map(json.loads, capsys.readouterr().out.splitlines()) if each.get("ModelNotFound") == [1.0]]
