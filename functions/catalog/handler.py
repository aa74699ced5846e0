"""What is asked of the server as a whole: what it is, whether it is ready, which models it has; unknown models end here too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast
from urllib.parse import unquote

import orjson
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver, CORSConfig, Response
from aws_lambda_powertools.metrics import MetricUnit

from modelserve.clients import ALL_MODELS
from modelserve.endpoints import BEFORE_V2, EXTENSIONS, SERVER_NAME, error_response
from modelserve.errors import InvalidRequest, MethodNotAllowed, ModelNotFound, RegistryError, RouteNotFound, ServeError, Unexpected, frames
from modelserve.manifest import Reader, read_alias
from modelserve.s3 import S3Reader
from modelserve.settings import CatalogSettings

__all__ = ["Catalog", "handler", "make_handler"]

_READERS = 32
"""Aliases read at once: where the store hangs, the seconds that each read takes to give up must not add up to this function's timeout."""
_State = dict[str, str]
_Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class ServerNotReady(RegistryError):
    """At least one deployed model has nothing to serve."""

    retry_after = 1

    def __init__(self, unavailable: list[_State]) -> None:
        reasons = "; ".join(state["reason"] for state in unavailable)
        super().__init__(f"{len(unavailable)} of the deployed models can't answer: {reasons}")


class Catalog:
    """The answers, without any event; a caller hears of its own `models` only."""

    def __init__(self, settings: CatalogSettings, store: Reader, *, version: str) -> None:
        self._settings = settings
        self._store = store
        self._version = version

    def metadata(self) -> dict[str, Any]:
        return {"name": SERVER_NAME, "version": self._version, "extensions": list(EXTENSIONS)}

    def live(self) -> dict[str, bool]:
        return {"live": True}

    def ready(self, models: Sequence[str]) -> dict[str, bool]:
        """Raises `ServerNotReady` unless every one of them has the alias that answers."""
        if unavailable := [state for state in self.index(models) if state["state"] != "READY"]:
            raise ServerNotReady(unavailable)
        return {"ready": True}

    def names(self, models: Sequence[str]) -> dict[str, list[str]]:
        return {"models": list(models)}

    def index(self, models: Sequence[str], *, only_ready: bool = False) -> list[_State]:
        """The state of each, as Triton's repository index gives it."""
        with ThreadPoolExecutor(_READERS) as readers:
            states = list(readers.map(self._state, models))
        return [state for state in states if not only_ready or state["state"] == "READY"]

    def _state(self, name: str) -> _State:
        try:
            alias, _ = read_alias(self._store, name, self._settings.model_alias)
        except ServeError as error:
            return {"name": name, "state": "UNAVAILABLE", "reason": str(error)}
        return {"name": name, "version": alias.version, "state": "READY"}


def make_handler(settings: CatalogSettings, store: Reader, *, version: str = "") -> _Handler:
    """The Lambda handler of this catalog."""
    logger = Logger(service=settings.service)
    metrics = Metrics(namespace=settings.metrics_namespace, service=settings.service)
    app = _resolver(Catalog(settings, store, version=version), settings, logger, metrics)

    @logger.inject_lambda_context(log_event=False)  # whatever the environment says: an event holds a key
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        begun = time.perf_counter()
        answer = app.resolve(event, context)
        latency = 1000 * (time.perf_counter() - begun)
        metrics.add_metric("Latency", MetricUnit.Milliseconds, latency)
        caller = _caller(event)
        client = {"client": caller["client"]} if "client" in caller else {}
        logger.info("request", extra={"status": answer["statusCode"], "latency_ms": round(latency, 3), **client})
        return answer

    return cast("_Handler", handle)  # the decorators forget the type


def _resolver(catalog: Catalog, settings: CatalogSettings, logger: Logger, metrics: Metrics) -> APIGatewayRestResolver:
    app = APIGatewayRestResolver(cors=_cors(settings), serializer=_dump, strip_prefixes=[BEFORE_V2])

    def models() -> list[str]:
        return _visible(settings.model_names, _caller(app.current_event.raw_event))

    def index() -> list[_State]:
        return catalog.index(models(), only_ready=_only_ready(lambda: app.current_event.decoded_body))

    routes: dict[str, tuple[list[str], Callable[[], Any]]] = {
        "/v2": (["GET", "HEAD"], catalog.metadata),
        "/v2/health/live": (["GET", "HEAD"], catalog.live),
        "/v2/health/ready": (["GET", "HEAD"], lambda: catalog.ready(models())),
        "/v2/models": (["GET", "HEAD"], lambda: catalog.names(models())),
        "/v2/repository/index": (["GET", "HEAD", "POST"], index),
    }
    for path, (methods, answer) in routes.items():
        app.route(path, method=methods)(answer)
    _answer_errors(app, {path: methods for path, (methods, _) in routes.items()}, models, logger, metrics)
    return app


def _answer_errors(
    app: APIGatewayRestResolver, routes: Mapping[str, list[str]], models: Callable[[], list[str]], logger: Logger, metrics: Metrics
) -> None:
    """`routes` has the methods of each path; `models` are those that whoever calls may hear of."""

    def refuse(error: ServeError) -> Response[str]:
        metrics.add_metric(error.kind, MetricUnit.Count, 1)
        return _error(error)

    def fail(error: Exception) -> Response[str]:
        logger.error("unexpected error", error=type(error).__name__, frames=frames(error))
        return refuse(Unexpected(app.lambda_context.aws_request_id))

    def unmatched(_: Exception) -> Response[str]:
        event = app.current_event
        return refuse(_unmatched(event.http_method, BEFORE_V2.sub("", event.path), routes, models()))

    app.exception_handler(ServeError)(refuse)
    app.exception_handler(Exception)(fail)
    app.not_found(unmatched)


def _caller(event: Mapping[str, Any]) -> Mapping[str, str]:
    """What the authorizer said of who calls; nothing of a function's own invocation."""
    return (event.get("requestContext") or {}).get("authorizer") or {}


def _visible(deployed: Sequence[str], caller: Mapping[str, str]) -> list[str]:
    """The deployed models that `caller` may call; whoever may invoke the function itself sees them all."""
    own = caller.get("models", "").split(",") if caller else [ALL_MODELS]
    return [name for name in deployed if name in own or ALL_MODELS in own]


def _unmatched(method: str, path: str, routes: Mapping[str, list[str]], served: Sequence[str]) -> ServeError:
    """Why nothing answers `method` at `path`."""
    if allowed := routes.get(path.rstrip("/")):
        return MethodNotAllowed(method, path, ", ".join(allowed))
    match path.split("/"):
        case ["", "v2", "models", name, *_]:
            return ModelNotFound(unquote(name), served)
        case ["", "v2", "repository", "models", *_]:
            return InvalidRequest("models are loaded and unloaded by promoting a version; run: modelctl promote NAME VERSION")
    return RouteNotFound(path)


def _only_ready(read_body: Callable[[], str | None]) -> bool:
    """Whether the request asks for models that can answer only. Raises `InvalidRequest`."""
    try:
        document = orjson.loads(read_body() or "{}")
    except ValueError as error:  # not JSON, not UTF-8 or not base64
        raise InvalidRequest(f'the body is not JSON: {error}; send nothing, or {{"ready": true}}') from None
    ready = document.get("ready", False) if isinstance(document, dict) else None
    if not isinstance(ready, bool):
        raise InvalidRequest('the body is not an object whose "ready" is true or false; send nothing, or {"ready": true}')
    return ready


def _error(error: ServeError) -> Response[str]:
    answer = error_response(error)
    return Response(answer.status, headers=dict(answer.headers), body=answer.body.decode())


def _cors(settings: CatalogSettings) -> CORSConfig | None:
    if not settings.cors_origin:
        return None
    return CORSConfig(
        allow_origin=settings.cors_origin,
        allow_headers=["Content-Encoding", "Inference-Header-Content-Length"],
        expose_headers=["Inference-Header-Content-Length", "Retry-After"],
        max_age=600,
    )


def _dump(document: Any) -> str:
    return orjson.dumps(document).decode()


def _from_environ() -> _Handler:
    settings = CatalogSettings.from_env(os.environ)
    store = S3Reader.from_environ(settings.model_bucket, os.environ)
    return make_handler(settings, store, version=os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"))


handler = _from_environ()
