"""Log lines and EMF metrics with the keys that Powertools writes, without its import (1.5x of the cold start) or its time per call."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import orjson

__all__ = ["Observer"]

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_UNITS = {"Latency": "Milliseconds", "LoadTime": "Milliseconds"}


class Observer:
    """Writes for one function; a payload never reaches it."""

    def __init__(self, *, service: str, namespace: str, level: str, environ: Mapping[str, str]) -> None:
        self._service = service
        self._namespace = namespace
        self._level = _LEVELS.get(level, 20)
        self._function = environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self._environ = environ

    def log(self, level: str, message: str, *, location: str, context: Any = None, cold_start: bool = False, **keys: Any) -> None:
        """One JSON line; `context` is Lambda's, None outside of an invocation."""
        if _LEVELS[level] < self._level:
            return
        entry: dict[str, Any] = {
            "level": level,
            "location": location,
            "message": message,
            "timestamp": _timestamp(time.time()),
            "service": self._service,
        }
        if context is not None:
            entry["cold_start"] = cold_start
            entry["function_name"] = context.function_name
            entry["function_memory_size"] = context.memory_limit_in_mb
            entry["function_arn"] = context.invoked_function_arn
            entry["function_request_id"] = context.aws_request_id
        trace = self._environ.get("_X_AMZN_TRACE_ID")
        if trace:
            entry["xray_trace_id"] = trace.partition(";")[0].removeprefix("Root=")
        entry.update((key, value) for key, value in keys.items() if value is not None)
        _write(entry)

    def count(self, metrics: dict[str, float], *, model: str, version: str, by_service: bool = False) -> None:
        """One EMF object; `Latency` and `LoadTime` are in milliseconds, everything else is a count.

        `by_service` counts for the service as a whole besides, which one alarm can watch whatever its models are called.
        """
        dimensions = [["service", "model", "version"]]
        if by_service:
            dimensions.append(["service"])
        directive = {
            "Namespace": self._namespace,
            "Dimensions": dimensions,
            "Metrics": [{"Name": name, "Unit": _UNITS.get(name, "Count")} for name in metrics],
        }
        blob: dict[str, Any] = {"_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}}
        blob.update(service=self._service, model=model, version=version)
        blob.update({name: [value] for name, value in metrics.items()})
        _write(blob)


def _timestamp(now: float) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))},{int(now % 1 * 1000):03d}+0000"


def _write(document: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(document).decode() + "\n")
