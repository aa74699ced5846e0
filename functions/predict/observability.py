"""Log lines and EMF metrics with the keys that Powertools writes, without its import (1.5x of the cold start) or its time per call."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import orjson

from modelserve._typing import Any

__all__ = ["Observer"]

_LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
_UNITS = {"Latency": "Milliseconds", "LoadTime": "Milliseconds"}


class Observer:
    """Writes for one function; a payload never reaches it."""

    def __init__(self, *, service: str, namespace: str, level: str, environ: Mapping[str, str]) -> None:
        self._service = service
        self._namespace = namespace
        self._level = _LEVELS.get(level, 20)
        self._environ = environ
        self._directives: dict[tuple[str | bool, ...], orjson.Fragment] = {}
        self._second = -1
        self._text = ""
        """The second of the last line, and how it is written."""

    def log(self, level: str, message: str, *, location: str, context: Any = None, cold_start: bool = False, **keys: Any) -> None:
        """One JSON line; `context` is Lambda's, None outside of an invocation."""
        if _LEVELS[level] >= self._level:
            entry = self._entry(level, message, location, _milliseconds())
            if context is not None:
                _add_invocation(entry, context, cold_start=cold_start)
            entry.update((key, value) for key, value in keys.items() if value is not None)
            _write(_line(entry))

    def count(self, metrics: dict[str, float], *, model: str, version: str, by_service: bool = False) -> None:
        """One EMF object; `Latency` and `LoadTime` are in milliseconds, everything else is a count.

        `by_service` counts for the service as a whole besides, which one alarm can watch whatever its models are called.
        """
        _write(_line(self._blob(metrics, model, version, by_service, _milliseconds())))

    def request(
        self, level: str, keys: dict[str, Any], metrics: dict[str, float], *, context: Any, cold_start: bool, model: str, version: str
    ) -> None:
        """As `log` of "request" and then `count`, in one write: the runtime flushes each. No key of `keys` is None."""
        now = _milliseconds()
        lines = _line(self._blob(metrics, model, version, False, now))
        if _LEVELS[level] >= self._level:
            entry = self._entry(level, "request", "handler", now)
            _add_invocation(entry, context, cold_start=cold_start)
            entry |= keys
            lines = _line(entry) + lines
        _write(lines)

    def _entry(self, level: str, message: str, location: str, now: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "level": level,
            "location": location,
            "message": message,
            "timestamp": self._timestamp(now),
            "service": self._service,
        }
        trace = self._environ.get("_X_AMZN_TRACE_ID")
        if trace:
            entry["xray_trace_id"] = trace.partition(";")[0].removeprefix("Root=")
        return entry

    def _blob(self, metrics: dict[str, float], model: str, version: str, by_service: bool, now: int) -> dict[str, Any]:
        names: tuple[str | bool, ...] = (*metrics, by_service)
        directive = self._directives.get(names) or self._directive(names)
        blob: dict[str, Any] = {
            "_aws": {"Timestamp": now, "CloudWatchMetrics": directive},
            "service": self._service,
            "model": model,
            "version": version,
        }
        for name, value in metrics.items():
            blob[name] = [value]
        return blob

    def _directive(self, names: tuple[str | bool, ...]) -> orjson.Fragment:
        """Written once for each set of metrics, which are few: 1 us of each request otherwise."""
        *metrics, by_service = names
        document = {
            "Namespace": self._namespace,
            "Dimensions": [["service", "model", "version"], *([["service"]] if by_service else [])],
            "Metrics": [{"Name": name, "Unit": _UNITS.get(str(name), "Count")} for name in metrics],
        }
        known = self._directives[names] = orjson.Fragment(orjson.dumps([document]))
        return known

    def _timestamp(self, now: int) -> str:
        second, rest = divmod(now, 1000)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second))
        return f"{self._text},{rest:03}+0000"


def _add_invocation(entry: dict[str, Any], context: Any, *, cold_start: bool) -> None:
    entry["cold_start"] = cold_start
    entry["function_name"] = context.function_name
    entry["function_memory_size"] = context.memory_limit_in_mb
    entry["function_arn"] = context.invoked_function_arn
    entry["function_request_id"] = context.aws_request_id


def _milliseconds() -> int:
    return int(1000 * time.time())


def _line(document: dict[str, Any]) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _write(lines: bytes) -> None:
    sys.stdout.write(lines.decode())
