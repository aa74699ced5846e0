"""What became of a job, its result, its end, and places for uploads: asked of the server as a whole, whichever model runs the job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, cast

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from modelserve.aws import JsonService
from modelserve.endpoints import Response, error_response
from modelserve.errors import ServeError, Unexpected, frames
from modelserve.jobs import JobTable
from modelserve.proxy import authorized, from_event, preflight, to_proxy
from modelserve.s3 import S3Bucket
from modelserve.settings import JobsSettings

from .answers import Jobs

__all__ = ["handler", "make_handler"]

_Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def make_handler(settings: JobsSettings, jobs: Jobs) -> _Handler:
    """The Lambda handler of these jobs."""
    logger = Logger(service=settings.service, level=settings.log_level)
    metrics = Metrics(namespace=settings.metrics_namespace, service=settings.service)

    @logger.inject_lambda_context(log_event=False)  # whatever the environment says: an event holds a key
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        begun = time.perf_counter()
        try:
            response = _answer(jobs, event, settings.cors_origin)
        except Exception as error:  # noqa: BLE001 - its text may quote what a caller sent, and the runtime would log it
            logger.error("unexpected error", error=type(error).__name__, frames=frames(error))
            response = error_response(Unexpected(context.aws_request_id))
        latency = 1000 * (time.perf_counter() - begun)
        metrics.add_metric("Latency", MetricUnit.Milliseconds, latency)
        if response.error is not None:
            metrics.add_metric(response.error.kind, MetricUnit.Count, 1)
        _log(logger, response, authorized(event)[0], latency)
        return to_proxy(response, cors_origin=settings.cors_origin)

    return cast("_Handler", handle)  # the decorators forget the type


def _answer(jobs: Jobs, event: dict[str, Any], cors_origin: str) -> Response:
    try:
        request = from_event(event)
    except ServeError as error:
        return error_response(error)
    return preflight() if request.method == "OPTIONS" and cors_origin else jobs.answer(request)


def _log(logger: Logger, response: Response, client: str | None, latency: float) -> None:
    """A caller's mistake by its kind only: its text quotes what was sent."""
    keys: dict[str, Any] = {"status": response.status, "latency_ms": round(latency, 3)}
    if client is not None:
        keys["client"] = client
    if response.error is not None:
        keys["error"] = response.error.kind
        if response.status >= 500:
            keys["reason"] = str(response.error)
    write = logger.error if "reason" in keys else logger.info
    write("request", extra=keys, stacklevel=3)


def _from_environ() -> _Handler:
    settings = JobsSettings.from_env(os.environ)
    table = JobTable(JsonService.from_environ("dynamodb", os.environ), settings.job_table)
    return make_handler(settings, Jobs(settings, table, S3Bucket.from_environ(settings.job_bucket, os.environ)))


handler = _from_environ()
