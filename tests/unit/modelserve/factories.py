"""A model, a request and an answer, with only what a test says being other than usual."""

import json
from typing import Any

from modelserve.dataplane import DataPlane
from modelserve.endpoints import Endpoints, Request, Response
from modelserve.fetch import LoadedModel
from modelserve.manifest import Manifest
from modelserve.session import Session

from .graphs import identity, session

NAME, VERSION = "sample", "20261120T174100Z-1a2b3c4d"
INFER = f"/v2/models/{NAME}/infer"


def manifest(*, name: str = NAME, version: str = VERSION, labels: tuple[str, ...] = ()) -> Manifest:
    return Manifest(
        name=name, version=version, created="", task="regression", inputs=(), outputs=(), files=(), opset={"": 21}, ir=10, labels=labels
    )


def loaded(ran: Session, *, labels: tuple[str, ...] = ()) -> LoadedModel:
    return LoadedModel(manifest(labels=labels), ran, load_seconds=0.0)


def server(model: bytes | Session | None = None, *, labels: tuple[str, ...] = (), limit: int = 2**20) -> Endpoints:
    """The routes of one model, which is [rows, 3] of FP32 in `x` and the same in `y` unless told otherwise."""
    ran = session(model or identity()) if model is None or isinstance(model, bytes) else model
    answering = loaded(ran, labels=labels)
    return Endpoints(NAME, DataPlane(lambda _version: answering), server_version="1", max_body_bytes=limit)


def tensor(data: Any, *, name: str = "x", datatype: str = "FP32", shape: Any = (1, 3), **keys: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data": data, **keys}


def document(*inputs: dict[str, Any], **keys: Any) -> dict[str, Any]:
    return {"inputs": list(inputs or (tensor([1.0, 2.0, 3.0]),)), **keys}


def post(endpoints: Endpoints, body: Any, *, header_length: object = None, path: str = INFER, **headers: str) -> Response:
    """The answer to a POST; a body that is not bytes is sent as JSON, a header `content_encoding=` as Content-Encoding."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): text for name, text in headers.items()}
    if header_length is not None:
        sent["inference-header-content-length"] = str(header_length)
    return endpoints.answer(Request("POST", path, sent, content), seconds=20)


def get(endpoints: Endpoints, path: str, *, method: str = "GET") -> Response:
    return endpoints.answer(Request(method, path, {}, b""), seconds=20)


def strict(body: bytes | str) -> Any:
    """JSON, and none of what only Python reads."""

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is not JSON")

    return json.loads(body, parse_constant=refuse)


def error_of(response: Response, status: int = 400) -> str:
    """The text of an error that is in the protocol's form."""
    assert (response.status, response.headers["Content-Type"]) == (status, "application/json"), response.body
    body = strict(response.body)
    assert list(body) == ["error"]
    text: str = body["error"]
    assert text
    return text


def answered_or_refused(response: Response) -> None:
    """Any request is answered, or is the caller's mistake and told so."""
    if response.status == 200:
        length = response.headers.get("Inference-Header-Content-Length")
        strict(response.body[: int(length)] if length else response.body)
    else:
        assert 400 <= response.status < 500, response.body
        error_of(response, response.status)


def dumped_binary(name: str, shape: tuple[int, ...], data: bytes) -> tuple[bytes, int]:
    """A request for one FP32 tensor whose answer is binary too, and the length of its JSON object."""
    parameters = {"binary_data_size": len(data)}
    item = {"name": name, "datatype": "FP32", "shape": list(shape), "parameters": parameters}
    header = json.dumps({"inputs": [item], "parameters": {"binary_data_output": True}}).encode()
    return header + data, len(header)
