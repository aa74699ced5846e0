"""What the function of every model does with an event, whatever runs the model: answer it within its time, and tell what became of it."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import inf

import orjson

from ._typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar
from .dataplane import DataPlane, Model
from .endpoints import Endpoints, Request, Response, error_response
from .errors import InsufficientMemory, InvalidRequest, ServeError, Unexpected, frames
from .loader import Loader, Version
from .protocol import parse_document, status_of
from .proxy import authorized, from_event, preflight, to_proxy, within_limit
from .upstream import INIT_SECONDS, Upstream
from .usual import Usual

if TYPE_CHECKING:
    from .async_jobs import AsyncJobs
    from .fetch import Verifier
    from .manifest import Alias
    from .s3 import S3Reader
    from .settings import GatewaySettings, PredictSettings

__all__ = ["App", "Observer", "Served", "Source"]

_AHEAD_SECONDS = 100.0  # of the 130 that it gives to an INIT that nobody waits for: before a snapshot, or for provisioned concurrency
_RESTORE_SECONDS = 8.0  # of the 10 that it gives to a restore
_MARGIN_SECONDS = 0.5  # kept to write the answer in


class Observer(Protocol):
    """Where log lines and metrics go; a payload never reaches it."""

    def log(self, level: str, message: str, *, location: str, context: Any = None, cold_start: bool = False, **keys: Any) -> None:
        """One line, without the keys that are None; `context` is Lambda's, None outside of an invocation."""

    def count(self, metrics: dict[str, float], *, model: str, version: str, by_service: bool = False) -> None:
        """Counts, and times in milliseconds; `by_service` also for the service as a whole, which one alarm can watch."""


class RequestObserver(Observer, Protocol):
    """One that is told of every request besides."""

    def request(self, level: str, keys: dict[str, Any], metrics: dict[str, list[float]], context: Any) -> None:
        """As `log` of "request" and then `count`, for the model and the version in `keys`, which are the observer's from then on.

        No key is None; a version is there if one answered. A cold start is one that `metrics` count, whose values stand in lists, as EMF
        has them.
        """


class Served(Model, Version, Protocol):
    """A version of a model as a function keeps it."""

    load_seconds: float
    """What it took to have it."""


_M = TypeVar("_M", bound=Served)
_M_co = TypeVar("_M_co", bound=Served, covariant=True)


class Source(Protocol[_M_co]):
    """Makes the version that an alias names: `fetch.Fetcher`, or `endpoint.Manifests`."""

    def __call__(self, alias: Alias) -> _M_co:
        """Raises `ServeError`."""

    def prefetch(self) -> None:
        """Begins with what a call will need."""


class App(ABC, Generic[_M]):
    """All that one execution environment of a model's function holds."""

    def __init__(
        self,
        settings: PredictSettings | GatewaySettings,
        environ: Mapping[str, str],
        observer: RequestObserver,
        upstream: Upstream | None = None,
    ) -> None:
        """`upstream` may have begun to be asked; without it one is made."""
        self._settings = settings
        self._observer = observer
        kind = environ.get("AWS_LAMBDA_INITIALIZATION_TYPE")
        self._frozen = kind == "snap-start"
        """Whether INIT ends in a snapshot."""
        self._provisioned = kind == "provisioned-concurrency"
        """Whether this environment was started before anybody asked."""
        self._cold_start = not self._provisioned
        self._load_seconds = inf
        """That the last version took to load."""
        self._upstream = upstream or Upstream(settings, environ, seconds=INIT_SECONDS)
        store = self._upstream.store
        source = self._source(store, self._upstream.verifier, environ)
        self._loader: Loader[_M] = Loader(
            store,
            settings.model_name,
            source,
            alias=settings.model_alias,
            check_seconds=settings.alias_check_seconds,
            warm_up_seconds=settings.deadline_seconds / 2,  # the rest is for the request that waits for it
            max_others=settings.max_loaded_versions,
            on_load=self._on_load,
            on_failure=self._on_failure,
            prefetch=source.prefetch,
        )
        self._plane = self._made_plane()
        jobs = self._jobs(environ)
        self._usual = Usual(settings.model_name, self._plane, max_body_bytes=settings.max_body_bytes) if jobs is None else None
        self._endpoints = Endpoints(
            settings.model_name,
            self._plane,
            server_version=environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            max_body_bytes=settings.max_body_bytes,
            jobs=jobs,
            submit=self._submit,
        )

    @abstractmethod
    def _source(self, store: S3Reader, verifier: Verifier | None, environ: Mapping[str, str]) -> Source[_M]:
        """What makes the versions that answer; without a `verifier` no signature is asked for."""

    def _made_plane(self) -> DataPlane:
        """Answers for every alias."""
        return DataPlane(self._loader.find)

    def _jobs(self, _environ: Mapping[str, str]) -> AsyncJobs | None:
        """None where a request is answered at once."""
        return None

    @abstractmethod
    def _submit(self, version: str | None, request: Request) -> Response:
        """Takes a request that is to be run later. Raises `ServeError`."""

    def start(self) -> None:
        """Loads the model; what goes wrong is answered to the first request."""
        gc.disable()  # nothing that an import makes is garbage
        self._loader.start()
        gc.freeze()
        gc.enable()
        if self._frozen:
            from .snapshots import register  # noqa: PLC0415 - most functions are never frozen

            register(self)
        elif self._provisioned:
            self._prepare()

    def suspend(self) -> None:
        """Loads the model if INIT could not, and runs it once, so that no restored environment has to; then nothing stays connected.

        Without a model the snapshot is taken all the same: a deployment may come before the first promotion, and must not fail on a
        model of its store.
        """
        self._prepare()
        self._disconnect()

    def resume(self) -> None:
        """Checks the alias, with credentials of now: a snapshot may be weeks old. What goes wrong is answered to the first request.

        A version that takes long to load, or of which that isn't known, is left to that request as well: what takes longer than a
        restore may ends the environment.
        """
        begun = time.monotonic()
        self._upstream.ends = begun + _RESTORE_SECONDS
        self._loader.expire()
        if self._load_seconds > _RESTORE_SECONDS / 4:
            self._lifecycle("restored; the first request looks at the alias", begun)
            return
        try:
            self._loader.find(None)
        except ServeError as error:
            self._lifecycle("restored without a model", begun, error)
        else:
            self._lifecycle("restored", begun)

    def handle(self, event: Any, context: Any) -> Any:
        """The answer to an event, or to a plain inference request.

        The latter raises when it can't be answered, so that the calling service sees it fail and by which name.
        """
        begun = time.perf_counter_ns()
        remaining = context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
        now = time.monotonic()
        self._upstream.ends = now + remaining
        ends = now + min(self._settings.deadline_seconds, remaining)
        direct = type(event) is dict and "inputs" in event
        try:
            response = within_limit(self._infer(event, ends) if direct else self._answer(event, ends))
        except ServeError as error:
            response = error_response(error)
        except MemoryError:
            response = error_response(InsufficientMemory(self._settings.model_name))
        except Exception as error:  # noqa: BLE001 - the next request must still be answered
            response = self._unexpected(error, context)
        self._observe(response, authorized(event)[0], context, begun)
        if not direct:
            return to_proxy(response, self._settings.cors_origin)
        if response.error is not None:
            raise _told(response.error)
        return orjson.loads(response.body)

    def _prepare(self) -> None:
        """Takes the time that there is where nobody waits."""
        begun = time.monotonic()
        self._upstream.ends = begun + _AHEAD_SECONDS
        self._loader.expire()
        try:
            self._loader.find(None).warm_up(seconds=_AHEAD_SECONDS / 2)
        except ServeError as error:
            self._lifecycle("no model could be loaded and run ahead", begun, error)
        else:
            self._lifecycle("loaded and run ahead", begun)

    def _disconnect(self) -> None:
        """Closes what stays open between requests."""
        self._upstream.close()

    def _lifecycle(self, message: str, begun: float, error: ServeError | None = None) -> None:
        keys: dict[str, Any] = {"model": self._settings.model_name, "took_ms": round(1000 * (time.monotonic() - begun), 3)}
        if error is not None:
            keys |= {"error": error.kind, "reason": str(error)}
        self._observer.log("INFO" if error is None else "WARNING", message, location="snapshots", **keys)

    def _remaining(self) -> float:
        return self._upstream.remaining()

    def _answer(self, event: Any, ends: float) -> Response:
        answer, document = self._usual.answer(event, ends) if self._usual else (None, None)
        if answer is not None:
            return answer
        request = from_event(event, document)
        if request.method == "OPTIONS" and self._settings.cors_origin:
            return preflight()
        return self._endpoints.answer(request, seconds=ends - time.monotonic())

    def _infer(self, document: dict[str, Any], ends: float) -> Response:
        response = self._endpoints.infer(None, parse_document(document), client=None, seconds=ends - time.monotonic())
        if "Inference-Header-Content-Length" in response.headers:
            raise InvalidRequest("a direct invocation is answered in JSON; ask for outputs without binary_data, or call over HTTP")
        return response

    def _unexpected(self, error: Exception, context: Any) -> Response:
        """A bug: the log says where, without a payload; the caller learns which log line to ask for."""
        steps = frames(error)
        self._observer.log("ERROR", "unexpected error", location=steps[-1], context=context, error=type(error).__name__, frames=steps)
        return error_response(Unexpected(context.aws_request_id))

    def _observe(self, response: Response, client: str | None, context: Any, begun: int) -> None:
        latency = (time.perf_counter_ns() - begun) // 1000 / 1000
        error, version = response.error, response.version
        keys: dict[str, Any] = {"model": self._settings.model_name, "status": response.status, "latency_ms": latency}
        if client is not None:
            keys["client"] = client
        if version is not None:
            keys["version"] = version
        metrics = {"Latency": [latency]}
        if response.rows:
            metrics["BatchRows"] = [response.rows]
        if self._cold_start:
            metrics["ColdStart"] = [1]
        if error is not None:
            metrics[error.kind] = [1]
            keys["error"] = error.kind
            if response.status >= 500:
                keys["reason"] = str(error)  # of the model or the store; a caller's mistake would quote what it sent
        level = "INFO" if response.status < 500 else "ERROR"
        self._cold_start = False
        self._observer.request(level, keys, metrics, context)

    def _on_load(self, model: _M) -> None:
        self._load_seconds = model.load_seconds
        self._observer.log("INFO", "model loaded", location="loader", model=model.name, version=model.version)
        self._observer.count({"LoadTime": 1000 * model.load_seconds}, model=model.name, version=model.version)

    def _on_failure(self, error: ServeError) -> None:
        name = self._settings.model_name
        self._observer.log("ERROR", str(error), location="loader", model=name, error=error.kind)
        self._observer.count({"LoadFailure": 1, error.kind: 1}, model=name, version="none", by_service=True)


def _told(error: ServeError) -> ServeError:
    """The error as the runtime may log it, which it does with all that is raised: a caller's mistake without what the caller sent."""
    if status_of(error) >= 500:
        return error
    told = type(error).__new__(type(error))
    told.args = (f"{type(error).__doc__} The same request over HTTP is answered with what is wrong, and where.",)
    return told
