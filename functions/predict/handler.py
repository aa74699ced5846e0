"""One model's Lambda function: an event in, an answer of the Open Inference Protocol out."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import orjson

from modelserve.dataplane import DataPlane
from modelserve.endpoints import Endpoints, Response, error_response, inferred
from modelserve.errors import InsufficientMemory, InvalidRequest, ServeError, Unexpected, frames
from modelserve.fetch import Fetcher, LoadedModel, Verifier
from modelserve.loader import Loader
from modelserve.memory import hold
from modelserve.protocol import encode, parse_document, status_of
from modelserve.s3 import S3Reader
from modelserve.settings import PredictSettings

from .events import client_of, from_event, preflight, to_proxy, within_limit
from .observability import Observer

if TYPE_CHECKING:
    from modelserve.session import OnnxSession

_VCPU_MEMORY = 1769  # MB that come with one virtual CPU
_INIT_SECONDS = 8.0  # of the 10 that Lambda gives; the imports have had theirs
_MARGIN_SECONDS = 0.5  # kept to write the answer in


class App:
    """All that one execution environment holds."""

    def __init__(self, settings: PredictSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._threads = max(1, int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0)) // _VCPU_MEMORY)
        self._observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level, environ=environ)
        self._cold_start = True
        self._ends = time.monotonic() + _INIT_SECONDS
        """When this invocation, or INIT, must be over."""
        store = S3Reader.from_environ(settings.model_bucket, environ, remaining=lambda: self._ends - time.monotonic())
        fetcher = Fetcher(store, self._open_session, self._verifier(environ))
        self._loader = Loader(
            store,
            settings.model_name,
            fetcher,
            alias=settings.model_alias,
            check_seconds=settings.alias_check_seconds,
            warm_up_seconds=settings.deadline_seconds / 2,  # the rest is for the request that waits for it
            max_others=settings.max_loaded_versions,
            on_load=self._on_load,
            on_failure=self._on_failure,
            prefetch=fetcher.prefetch,
        )
        self._plane = DataPlane(self._loader.find)
        version = environ.get("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        self._endpoints = Endpoints(settings.model_name, self._plane, server_version=version, max_body_bytes=settings.max_body_bytes)

    def start(self) -> None:
        """Loads the model; what goes wrong is answered to the first request."""
        # The import waits for the CPU while the download waits for the network.
        threading.Thread(target=import_module, args=("modelserve.session",)).start()
        gc.disable()  # nothing that an import makes is garbage
        self._loader.start()
        gc.freeze()
        gc.enable()

    def handle(self, event: Any, context: Any) -> Any:
        """The answer to an event, or to a plain inference request.

        The latter raises when it can't be answered, so that the calling service sees it fail and by which name.
        """
        begun = time.perf_counter()
        remaining = context.get_remaining_time_in_millis() / 1000 - _MARGIN_SECONDS
        self._ends = time.monotonic() + remaining
        seconds = min(self._settings.deadline_seconds, remaining)
        direct = isinstance(event, dict) and "inputs" in event
        try:
            response = within_limit(self._infer(event, seconds) if direct else self._answer(event, seconds))
        except ServeError as error:
            response = error_response(error)
        except MemoryError:
            response = error_response(InsufficientMemory(self._settings.model_name))
        except Exception as error:  # noqa: BLE001 - the next request must still be answered
            response = self._unexpected(error, context)
        self._observe(response, client_of(event), context, begun)
        if not direct:
            return to_proxy(response, cors_origin=self._settings.cors_origin)
        if response.error is not None:
            raise _told(response.error)
        return orjson.loads(response.body)

    def _answer(self, event: Any, seconds: float) -> Response:
        request = from_event(event)
        if request.method == "OPTIONS" and self._settings.cors_origin:
            return preflight()
        return self._endpoints.answer(request, seconds=seconds)

    def _infer(self, document: dict[str, Any], seconds: float) -> Response:
        request = parse_document(document)
        answer = self._plane.infer(None, request, seconds=seconds)
        headers, body = encode(answer, request)
        if "Inference-Header-Content-Length" in headers:
            raise InvalidRequest("a direct invocation is answered in JSON; ask for outputs without binary_data, or call over HTTP")
        return inferred(answer, request, headers, body)

    def _unexpected(self, error: Exception, context: Any) -> Response:
        """A bug: the log says where, without a payload; the caller learns which log line to ask for."""
        steps = frames(error)
        self._observer.log("ERROR", "unexpected error", location=steps[-1], context=context, error=type(error).__name__, frames=steps)
        return error_response(Unexpected(context.aws_request_id))

    def _observe(self, response: Response, client: str | None, context: Any, begun: float) -> None:
        latency = 1000 * (time.perf_counter() - begun)
        error = response.error
        keys: dict[str, Any] = {"client": client, "model": self._settings.model_name, "version": response.version}
        keys |= {"status": response.status, "latency_ms": round(latency, 3)}
        metrics = {"Latency": latency}
        if response.rows:
            metrics["BatchRows"] = response.rows
        if self._cold_start:
            metrics["ColdStart"] = 1
        if error is not None:
            metrics[error.kind] = 1
            keys["error"] = error.kind
            if response.status >= 500:
                keys["reason"] = str(error)  # of the model or the store; a caller's mistake would quote what it sent
        level = "INFO" if response.status < 500 else "ERROR"
        self._observer.log(level, "request", location="handler", context=context, cold_start=self._cold_start, **keys)
        self._observer.count(metrics, model=self._settings.model_name, version=response.version or "none")
        self._cold_start = False

    def _open_session(self, path: str) -> OnnxSession:
        from modelserve.session import OnnxSession  # noqa: PLC0415 - by now `start` has imported it

        settings = self._settings
        return OnnxSession(path, name=settings.model_name, threads=self._threads, refuse_nan=settings.nan_inputs == "refuse")

    def _verifier(self, environ: Mapping[str, str]) -> Verifier | None:
        if not self._settings.signing_key_arn:
            return None
        from modelserve.signature import SigningKey  # noqa: PLC0415 - most deployments ask for no signature

        return SigningKey.from_environ(self._settings.signing_key_arn, environ, remaining=lambda: self._ends - time.monotonic())

    def _on_load(self, model: LoadedModel) -> None:
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


hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")))
_app = App(PredictSettings.from_env(os.environ), os.environ)
_app.start()
handler = _app.handle
