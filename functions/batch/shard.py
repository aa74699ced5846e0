"""The middle step of a data set: one shard of it, on the version that the plan has pinned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import scoring
from modelserve.memory import hold
from modelserve.pool import Pool
from modelserve.s3 import S3Bucket
from modelserve.settings import BatchSettings, DataSetSettings

from .observability import Observer
from .runs import Pinned, Run, file_system, path_of, refusing

__all__ = ["Scorer", "handler"]


class Scorer:
    """Writes a shard's part and its report; one that is there already is left as it is."""

    def __init__(self, settings: BatchSettings, data: DataSetSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._data = data
        self._bucket = S3Bucket.from_environ(data.data_bucket, environ)
        self._files = file_system(environ)
        self._observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level)
        self._pool = Pool(settings, environ, self._observer)
        self._known: tuple[str, Pinned, scoring.Plan] | None = None
        self.handler = self._observer.logger.inject_lambda_context(log_event=False)(self.handle)

    def handle(self, event: dict[str, Any], context: Any = None) -> dict[str, Any]:  # noqa: ARG002 - Lambda's signature
        """`event` has the `run`, and a `shard` of the list. Raises `DataSetRefused`, and what may pass as it is."""
        begun = perf_counter()
        with refusing(*self._data.buckets):
            pinned, plan = self._read(event["run"])
            shard = scoring.Shard.from_dict(event["shard"])
            work = path_of(pinned.request.output)
            model = self._pool.pinned(pinned.alias)
            strict = model.name in self._settings.strict_models
            report = scoring.score(self._files, plan, shard, model, self._files, work, refuse_nan=strict)
        self._count(pinned, report, perf_counter() - begun)
        return report.to_dict()

    def _read(self, name: str) -> tuple[Pinned, scoring.Plan]:
        """Kept for the next shard of the run, which the same environment mostly gets."""
        if self._known is None or self._known[0] != name:
            self._known = name, *Run(self._bucket, name).kept()
        return self._known[1:]

    def _count(self, pinned: Pinned, report: scoring.ShardReport, seconds: float) -> None:
        """A shard that was done already counts again; the manifest has the true count."""
        about: dict[str, Any] = {"model": pinned.alias.name, "version": pinned.alias.version}
        self._observer.count({"Rows": report.rows, "BadRows": report.bad}, **about)
        told: dict[str, Any] = {
            "run": pinned.request.run,
            "shard": report.index,
            "rows": report.rows,
            "bad": report.bad,
            "seconds": round(seconds, 3),
        }
        self._observer.log("INFO", "scored", location="shard", **about, **told)


hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")))
_scorer = Scorer(BatchSettings.from_env(os.environ), DataSetSettings.from_env(os.environ), os.environ)
handler = _scorer.handler
