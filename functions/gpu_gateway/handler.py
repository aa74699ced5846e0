"""One heavy model's Lambda function: an event in, an answer of its SageMaker endpoint out, as `functions/predict` gives it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelserve import invocation
from modelserve.dataplane import DataPlane
from modelserve.endpoint import EndpointModel, Manifests
from modelserve.errors import JobsNotTaken
from modelserve.fetch import Verifier
from modelserve.memory import hold
from modelserve.sagemaker import Endpoint
from modelserve.settings import GatewaySettings

from .observability import Observer

if TYPE_CHECKING:
    from modelserve.async_jobs import AsyncJobs
    from modelserve.endpoints import Request, Response
    from modelserve.s3 import S3Reader


class App(invocation.App[EndpointModel]):
    """A model that Triton runs behind an endpoint; with a bucket for jobs the endpoint is asynchronous."""

    _settings: GatewaySettings

    def __init__(self, settings: GatewaySettings, environ: Mapping[str, str]) -> None:
        observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level)
        # Whatever the environment says of events: one holds a key and a payload.
        self.handler = observer.logger.inject_lambda_context(log_event=False)(self.handle)
        super().__init__(settings, environ, observer)

    def _source(self, store: S3Reader, verifier: Verifier | None, environ: Mapping[str, str]) -> Manifests:
        settings = self._settings
        self._endpoint = Endpoint.from_environ(settings.endpoint_name, environ, model=settings.model_name, remaining=self._remaining)
        return Manifests(store, self._endpoint, verifier, queued=bool(settings.job_bucket), refuse_nan=settings.nan_inputs == "refuse")

    def _made_plane(self) -> DataPlane:
        if not self._settings.job_bucket:
            return super()._made_plane()
        from modelserve.async_jobs import only  # noqa: PLC0415 - most models answer at once

        return DataPlane(only(self._settings.model_alias, self._loader.find))

    def _submit(self, _version: str | None, _request: Request) -> Response:
        name = self._settings.model_name
        advice = f'its endpoint answers at once; POST to /v2/models/{name}/infer, or set mode = "async" under [gpu] in its model.toml'
        raise JobsNotTaken(name, advice)

    def _disconnect(self) -> None:
        super()._disconnect()
        self._endpoint.close()

    def _jobs(self, environ: Mapping[str, str]) -> AsyncJobs | None:
        bucket = self._settings.job_bucket
        if not bucket:
            return None
        from modelserve.async_jobs import AsyncJobs  # noqa: PLC0415 - as above
        from modelserve.s3 import S3Bucket  # noqa: PLC0415

        store = S3Bucket.from_environ(bucket, environ, remaining=self._remaining)
        return AsyncJobs(self._settings.model_name, self._plane, self._endpoint, store, bucket)


hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")))
_app = App(GatewaySettings.from_env(os.environ), os.environ)
_app.start()
handler = _app.handler
