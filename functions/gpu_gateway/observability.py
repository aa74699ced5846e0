"""What the predict function writes in lines of its own, written by Powertools: the same keys, metrics and dimensions."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

__all__ = ["Observer"]

_UNITS = {"Latency": MetricUnit.Milliseconds, "LoadTime": MetricUnit.Milliseconds}


class Observer:
    """Satisfies `modelserve.invocation.Observer`; a payload never reaches it."""

    def __init__(self, *, service: str, namespace: str, level: str) -> None:
        self.logger = Logger(service=service, level=level)
        # One object for each call: `Metrics` would share its dimensions between the version that was loaded and the one that answers.
        self._metrics = EphemeralMetrics(service=service, namespace=namespace)

    def log(self, level: str, message: str, *, location: str, context: Any = None, cold_start: bool = False, **keys: Any) -> None:  # noqa: ARG002
        """One line; Powertools itself knows its caller, and by its decorator the context."""
        getattr(self.logger, level.lower())(message, extra=keys, stacklevel=3)

    def count(self, metrics: dict[str, float], *, model: str, version: str, by_service: bool = False) -> None:
        """One EMF object; `by_service` counts for the service as a whole besides."""
        self._metrics.add_dimension("model", model)
        self._metrics.add_dimension("version", version)
        if by_service:
            self._metrics.add_dimensions(service=self._metrics.service)
        for name, value in metrics.items():
            self._metrics.add_metric(name, _UNITS.get(name, MetricUnit.Count), value)
        self._metrics.flush_metrics()

    def request(self, level: str, keys: dict[str, Any], metrics: dict[str, list[float]], context: Any) -> None:
        """As `log` and then `count`."""
        self.log(level, "request", location="handler", context=context, **keys)
        self.count({name: value for name, (value,) in metrics.items()}, model=keys["model"], version=keys.get("version", "none"))
