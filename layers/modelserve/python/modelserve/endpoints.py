"""The routes of the Open Inference Protocol: a method, a path and a body to a status and a body; no sockets, no events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import orjson

from ._typing import TYPE_CHECKING, Any
from .compression import decompress
from .dataplane import DataPlane
from .errors import InvalidRequest, MethodNotAllowed, ModelNotFound, RouteNotFound, ServeError
from .protocol import InferRequest, encode, may_hold_booleans, parse, parse_document, status_of

if TYPE_CHECKING:
    from .async_jobs import AsyncJobs
    from .tensors import Data

__all__ = [
    "BEFORE_V2",
    "CONTENT_ENCODING",
    "EXTENSIONS",
    "HEADER_LENGTH",
    "SERVER_NAME",
    "Endpoints",
    "Request",
    "Response",
    "content_of",
    "error_response",
    "json_response",
]

BEFORE_V2 = re.compile(r"^.*?(?=/v2(?:/|$))")
"""A stage or a custom domain may stand before the protocol's own path."""
CONTENT_ENCODING, HEADER_LENGTH = "content-encoding", "inference-header-content-length"
"""Headers by which a body is something else than JSON."""
SERVER_NAME = "serverless-onnx"
EXTENSIONS = ("binary_tensor_data", "classification", "model_repository")


class Request:
    """An HTTP request; header names in lower case. `client` is who sent it, on which `plan`; None where nobody asked.

    `document` is the body's JSON where it has been read; then no header says that the body is something else.
    """

    __slots__ = ("body", "client", "document", "headers", "method", "path", "plan")

    def __init__(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        client: str | None = None,
        *,
        plan: str | None = None,
        document: Any = None,
    ) -> None:
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.client = client
        self.plan = plan
        self.document = document


class Response:
    """An HTTP response. For logs: `version` that answered, `rows` of the first input, `error` where there is one."""

    __slots__ = ("body", "error", "headers", "rows", "status", "version")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.version: str | None = None
        self.rows = 0
        self.error: ServeError | None = None


class Endpoints:
    """The routes of one model's function."""

    def __init__(
        self,
        name: str,
        plane: DataPlane,
        *,
        server_version: str,
        max_body_bytes: int,
        jobs: AsyncJobs | None = None,
        submit: Callable[[str | None, Request], Response] | None = None,
    ) -> None:
        """With `jobs` any request is answered with where its answer will be; `submit` takes one for a version that is to be run later."""
        self._name = name
        self._plane = plane
        self._jobs = jobs
        self._submit = submit
        self._max_body_bytes = max_body_bytes
        self._server = {"name": SERVER_NAME, "version": server_version, "extensions": list(EXTENSIONS)}

    def answer(self, request: Request, *, seconds: float) -> Response:
        """The answer to `request`, an error's too; a run of the graph may take `seconds`."""
        try:
            return self._route(request, seconds)
        except ServeError as error:
            return error_response(error)

    def infer(self, version: str | None, request: InferRequest, *, client: str | None, seconds: float) -> Response:
        """The model's answer to a parsed request, or where it will be. Raises `ServeError`."""
        if self._jobs is not None:
            response = self._jobs.submit(version, request, client=client, seconds=seconds)
        else:
            answer = self._plane.infer(version, request, seconds=seconds)
            response = Response(200, *encode(answer, request))
            response.version = answer.version
        shape = request.inputs[0].shape
        response.rows = shape[0] if shape else 1
        return response

    def _route(self, request: Request, seconds: float) -> Response:
        parts = request.path.rstrip("/").split("/")
        if parts[:2] != ["", "v2"]:
            raise RouteNotFound(request.path)
        if parts[2:3] != ["models"]:
            return self._server_route(request, parts[2:], seconds)
        name, rest = _unquote(parts[3]) if len(parts) > 3 else "", parts[4:]
        if name != self._name:
            raise ModelNotFound(name, (self._name,))
        version = None
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = _unquote(rest[1]), rest[2:]
        return self._model_route(request, version, rest, seconds)

    def _model_route(self, request: Request, version: str | None, rest: list[str], seconds: float) -> Response:
        match rest:
            case []:
                _allow(request, "GET")
                return json_response(self._plane.metadata(version))
            case ["ready"]:
                _allow(request, "GET")
                self._plane.ready(version, seconds=seconds)
                return json_response({"name": self._name, "ready": True})
            case ["jobs"] if self._jobs is None and self._submit is not None:
                _allow(request, "POST")
                return self._submit(version, request)
            case ["infer"] | ["jobs"] if rest == ["infer"] or self._jobs is not None:
                _allow(request, "POST")
                if rest == ["jobs"] and "idempotency-key" in request.headers:  # on /infer it means nothing, here it would promise
                    raise InvalidRequest(f"the endpoint of model {self._name!r} remembers no Idempotency-Key; send the job without one")
                response = self.infer(version, self._parsed(request), client=request.client, seconds=seconds)
                if "Location" in response.headers:  # as seen from the model's own path
                    response.headers["Location"] = "../" * (request.path.count("/") - 4) + response.headers["Location"]
                return response
            case ["jobs", job] if self._jobs is not None and version is None:
                _allow(request, "GET")
                return self._jobs.answer(_unquote(job), client=request.client)
        raise RouteNotFound(request.path)

    def _parsed(self, request: Request) -> InferRequest:
        if request.document is not None:
            return parse_document(request.document, booleans=may_hold_booleans(request.body))
        return parse(*content_of(request, limit=self._max_body_bytes))

    def _server_route(self, request: Request, parts: list[str], seconds: float) -> Response:
        """What a client asks of a server; here a function URL makes the function the server."""
        routes: dict[tuple[str, ...], Callable[[], Any]] = {
            (): lambda: self._server,
            ("health", "live"): lambda: {"live": True},
            ("health", "ready"): lambda: self._ready(seconds),
        }
        if parts == ["repository", "index"]:
            _allow(request, "GET", "POST")
            return json_response([self._state()])
        route = routes.get(tuple(parts))
        if route is None:
            raise RouteNotFound(request.path)
        _allow(request, "GET")
        return json_response(route())

    def _ready(self, seconds: float) -> dict[str, bool]:
        self._plane.ready(None, seconds=seconds)
        return {"ready": True}

    def _state(self) -> dict[str, str]:
        """As Triton's repository index gives it."""
        try:
            version = self._plane.metadata(None)["versions"][0]
        except ServeError as error:
            return {"name": self._name, "state": "UNAVAILABLE", "reason": str(error)}
        return {"name": self._name, "version": version, "state": "READY"}


def content_of(request: Request, *, limit: int) -> tuple[Data, int | None]:
    """Its body, decompressed, and Inference-Header-Content-Length, None where there is none. Raises `PayloadTooLarge`, `InvalidRequest`."""
    return decompress(request.body, request.headers.get(CONTENT_ENCODING), limit=limit), _header_length(request.headers)


def json_response(document: Any, status: int = 200) -> Response:
    """A response with a JSON body."""
    return Response(status, {"Content-Type": "application/json"}, orjson.dumps(document))


def error_response(error: ServeError) -> Response:
    """An error as the protocol answers it."""
    response = json_response({"error": str(error)}, status_of(error))
    # Its frames lead back to this response: a cycle that would keep the request, and the model's answer to it, in memory.
    error.__traceback__ = error.__context__ = None
    response.error = error
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = error.allowed
    return response


def _unquote(part: str) -> str:
    if "%" not in part:
        return part
    from urllib.parse import unquote  # noqa: PLC0415 - no name that is served needs it

    return unquote(part)


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods and not ("GET" in methods and request.method == "HEAD"):
        raise MethodNotAllowed(request.method, request.path, ", ".join(methods))


def _header_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidRequest(f"Inference-Header-Content-Length is {text!r:.60}; expected the number of bytes of the JSON object")
    return int(text)
