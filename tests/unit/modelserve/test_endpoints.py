"""Paths, methods and headers."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelserve.dataplane import DataPlane
from modelserve.endpoints import Endpoints, Request, error_response
from modelserve.errors import (
    AliasNotFound,
    DeadlineExceeded,
    InvalidInput,
    MethodNotAllowed,
    ModelFailed,
    ModelNotFound,
    ModelNotReady,
    PayloadTooLarge,
    RouteNotFound,
    ServeError,
    StoreUnavailable,
    Unexpected,
    UnverifiedModel,
    VersionNotFound,
)

from .factories import INFER, NAME, VERSION, document, error_of, get, loaded, post, server, strict
from .graphs import identity, session

SERVER = server()
MODEL = f"/v2/models/{NAME}"
NOT_READY = ModelNotReady(NAME, "nothing is promoted; run: modelctl promote")


def versions(found: dict[str | None, str]) -> Endpoints:
    """Routes that answer 404 for a version that `found` doesn't hold."""
    model = loaded(session(identity()))

    def find(version: str | None):
        if version not in found:
            raise VersionNotFound(NAME, str(version))
        return model

    return Endpoints(NAME, DataPlane(find), server_version="1", max_body_bytes=1000)


def unready() -> Endpoints:
    def find(_version: str | None):
        raise NOT_READY

    return Endpoints(NAME, DataPlane(find), server_version="1", max_body_bytes=1000)


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_describes_itself(path):
    body = strict(get(SERVER, path).body)

    assert (body["name"], body["version"]) == ("serverless-onnx", "1")
    assert {"binary_tensor_data", "classification"} <= set(body["extensions"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        (f"{MODEL}/ready", {"name": NAME, "ready": True}),
        (f"{MODEL}/versions/production/ready", {"name": NAME, "ready": True}),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_is_answered_in_the_words_of_the_protocol(path, body, slash, method):
    response = get(SERVER, path + slash, method=method)

    assert (response.status, response.headers, strict(response.body)) == (200, {"Content-Type": "application/json"}, body)


@pytest.mark.parametrize("path", [MODEL, f"{MODEL}/", f"{MODEL}/versions/{VERSION}", f"{MODEL}/versions/production/"])
def test_metadata_is_the_signature_of_the_graph(path):
    assert strict(get(SERVER, path).body) == {
        "name": NAME,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }


@pytest.mark.parametrize("path", [INFER, f"{INFER}/", f"{MODEL}/versions/production/infer", "/v2/models/s%61mple/infer"])
def test_inference_is_answered_at_every_form_of_its_path(path):
    assert post(SERVER, document(), path=path).status == 200


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "application/octet-stream", "x"])
def test_json_is_read_under_any_content_type(content_type):
    headers = {"content_type": content_type} if content_type else {}

    assert post(SERVER, document(), **headers).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v1",
        "/v2x",
        "v2",
        "/v2/models",
        "/v2/health",
        "/v2/health/lively",
        "/v2/repository",
        "/v2//health/live",
        f"{MODEL}/infe",
        f"{MODEL}/infer/more",
        f"{MODEL}/versions",
        f"{MODEL}/versions/production/more",
        "/v2/models/other",
        "/v2/models//infer",
    ],
)
def test_other_paths_are_not_found(path):
    assert get(SERVER, path).status == 404
    error_of(post(SERVER, document(), path=path), 404)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_behind_a_function_url_the_index_is_of_this_model(method):
    assert strict(get(SERVER, "/v2/repository/index", method=method).body) == [{"name": NAME, "version": VERSION, "state": "READY"}]

    (state,) = strict(get(unready(), "/v2/repository/index", method=method).body)
    assert state["state"] == "UNAVAILABLE"
    assert "modelctl promote" in state["reason"]


def test_another_model_is_not_found_and_this_one_is_named():
    assert "no model 'other' is served here; served: sample" in error_of(get(SERVER, "/v2/models/other"), 404)


def test_a_version_is_named_by_what_stands_in_the_path():
    found = versions({None: VERSION, "canary": VERSION})

    assert get(found, f"{MODEL}/versions/canary").status == 200
    assert "serves no version 'a/b'" in error_of(get(found, f"{MODEL}/versions/a%2Fb/ready"), 404)


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "post", "", "\ud800"])
def test_inference_takes_only_post(method):
    response = get(SERVER, INFER, method=method)

    assert "use POST" in error_of(response, 405)
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("path", ["/v2", "/v2/health/ready", MODEL, f"{MODEL}/ready"])
def test_what_describes_takes_only_get(path):
    response = post(SERVER, document(), path=path)

    assert "use GET" in error_of(response, 405)
    assert response.headers["Allow"] == "GET"


@pytest.mark.parametrize("path", ["/v2/health/ready", f"{MODEL}/ready", MODEL])
def test_a_model_that_is_not_there_says_what_to_do_and_when_to_come_back(path):
    response = get(unready(), path)

    assert "modelctl promote" in error_of(response, 503)
    assert response.headers["Retry-After"] == "1"


def test_a_server_without_a_model_is_alive():
    assert get(unready(), "/v2/health/live").status == 200


@given(st.text() | st.lists(st.sampled_from(["v2", "models", NAME, "versions", "infer", "..", "%", "%ff", "", "\x00"])).map("/".join))
@example("/v2/models/%f0%28%8c/infer")
@example("/v2/models/\ud800")
def test_any_path_is_answered_or_not_found(path):
    for method in ("GET", "POST"):
        response = SERVER.answer(Request(method, path, {}, b""), seconds=5)
        assert response.status in {200, 400, 404, 405}


def test_an_answer_tells_the_log_its_version_and_rows():
    response = post(SERVER, document({"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [1] * 6}))

    assert (response.version, response.rows, response.error) == (VERSION, 2, None)


def test_a_refusal_tells_the_log_its_kind():
    error = post(SERVER, b"{").error

    assert error is not None
    assert error.kind == "InvalidRequest"


def test_a_body_over_the_limit_after_decompression_is_too_large():
    import gzip

    assert "larger than 1,000 bytes" in error_of(post(server(limit=1000), gzip.compress(bytes(1001)), content_encoding="gzip"), 413)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("x"), 400),
        (ModelFailed("m", "x"), 400),
        (RouteNotFound("/"), 404),
        (ModelNotFound("m"), 404),
        (VersionNotFound("m", "v"), 404),
        (MethodNotAllowed("PUT", "/", "GET"), 405),
        (PayloadTooLarge("it", 1, "less"), 413),
        (Unexpected("id"), 500),
        (ServeError("x"), 500),
        (NOT_READY, 503),
        (AliasNotFound("m", "production"), 503),
        (StoreUnavailable("k", "x"), 503),
        (UnverifiedModel("k", "a", "b"), 503),
        (DeadlineExceeded("m", 1), 504),
    ],
)
def test_each_error_has_its_status(error, status):
    error_of(error_response(error), status)
