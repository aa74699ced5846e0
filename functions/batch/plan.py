"""The first step of a data set: what runs, over which files, in which shards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import scoring
from modelserve.errors import PreconditionFailed
from modelserve.pool import Pool
from modelserve.s3 import S3Bucket
from modelserve.settings import BatchSettings, DataSetSettings

from .observability import Observer
from .runs import DataSetRefused, Pinned, Request, Run, file_system, path_of, refusing

__all__ = ["Planner", "handler"]


class Planner:
    """Answers where the shards are listed, or that there is nothing to do."""

    def __init__(self, settings: BatchSettings, data: DataSetSettings, environ: Mapping[str, str]) -> None:
        self._data = data
        self._environ = environ
        self._bucket = S3Bucket.from_environ(data.data_bucket, environ)
        self._observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level)
        self._pool = Pool(settings, environ, self._observer)
        self.handler = self._observer.logger.inject_lambda_context(log_event=False)(self.handle)

    def handle(self, event: dict[str, Any], context: Any = None) -> dict[str, Any]:  # noqa: ARG002 - Lambda's signature
        """`event` has the `input` of the execution, and its ARN. Raises `DataSetRefused`."""
        with refusing(*self._data.buckets):
            asked, execution = event["input"], event["execution"]
            if "resume" in asked:
                run = Run(self._bucket, asked["resume"])
                planned = self._plan(run, run.claimed(), execution)
                if "nothing" in planned:
                    raise DataSetRefused(f"there is nothing to go on with: {planned['nothing']}")
                return planned
            request = Request.read(asked, data_bucket=self._data.data_bucket, buckets=self._data.data_set_buckets)
            if request is None:
                return {"nothing": "it is no data"}
            run = Run(self._bucket, request.run)
            if not run.claim(request, execution):
                return {"nothing": "another execution has the run", "run": request.run}
            return self._plan(run, request, execution)

    def _plan(self, run: Run, request: Request, execution: str) -> dict[str, Any]:
        pinned = run.pinned() or run.pin(self._pinned(request))
        files = file_system(self._environ)
        plan = scoring.plan(
            files,
            path_of(request.input),
            self._pool.manifest(pinned.alias),
            shard_bytes=pinned.shard_bytes,
            columns=request.columns,
            prefix=request.prefix,
        )
        if request.etag and plan.files[0].hash != f"etag:{request.etag}":
            return {"nothing": f"{request.input} has been uploaded anew, which is another run", "run": request.run}
        scoring.begin(plan, files, path_of(request.output), create=self._create)
        run.keep(plan)
        about: dict[str, Any] = {"run": request.run, "model": request.model, "version": pinned.alias.version}
        self._observer.log("INFO", "planned", location="plan", **about, shards=len(plan.shards), batch_rows=plan.batch_rows)
        return {
            **about,
            "shards": run.shards,
            "count": len(plan.shards),
            "failures": run.failures(execution),
        }

    def _create(self, path: str, body: bytes) -> None:
        """Unless there is such a file."""
        bucket, _, key = path.partition("/")
        with suppress(PreconditionFailed):
            S3Bucket.from_environ(bucket, self._environ).put(key, body)

    def _pinned(self, request: Request) -> Pinned:
        """As it is now."""
        alias = self._pool.pin(request.model, request.alias)
        return Pinned(request=request, alias=alias, shard_bytes=self._data.data_set_shard_megabytes * 2**20)


_planner = Planner(BatchSettings.from_env(os.environ), DataSetSettings.from_env(os.environ), os.environ)
handler = _planner.handler
