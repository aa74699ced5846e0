"""One model's Lambda function: an event in, an answer of the Open Inference Protocol out."""

from __future__ import annotations

import os
from collections.abc import Mapping

from modelserve._typing import TYPE_CHECKING

from .ahead import SETTINGS, UPSTREAM  # isort: split

from modelserve import invocation
from modelserve.fetch import Fetcher, LoadedModel, Verifier
from modelserve.memory import hold, threads

from . import marshalling
from .observability import Observer

if TYPE_CHECKING:
    from modelserve.endpoints import Request, Response
    from modelserve.manifest import Load
    from modelserve.s3 import S3Reader
    from modelserve.session import Session
    from modelserve.settings import PredictSettings
    from modelserve.submission import Submissions
    from modelserve.upstream import Upstream


class App(invocation.App[LoadedModel]):
    """A model that ONNX Runtime runs within the function."""

    _settings: PredictSettings

    def __init__(self, settings: PredictSettings, environ: Mapping[str, str], upstream: Upstream | None = None) -> None:
        self._environ = environ
        self._submissions: Submissions | None = None
        self._threads = threads(environ)
        observer = Observer(service=settings.service, namespace=settings.metrics_namespace, level=settings.log_level, environ=environ)
        super().__init__(settings, environ, observer, upstream)

    def _source(self, store: S3Reader, verifier: Verifier | None, _environ: Mapping[str, str]) -> Fetcher:
        return Fetcher(store, self._open_session, verifier)

    def _submit(self, version: str | None, request: Request) -> Response:
        if self._submissions is None:
            from modelserve.submission import Submissions  # noqa: PLC0415 - most requests are answered at once, the first one too

            self._submissions = Submissions.from_environ(self._settings, self._plane, self._environ, remaining=self._remaining)
        return self._submissions.submit(version, request)

    def _open_session(self, path: str, load: Load | None) -> Session:
        from modelserve.session import open_session  # noqa: PLC0415 - by now `ahead` has imported it

        settings = self._settings
        return open_session(
            path,
            name=settings.model_name,
            threads=self._threads,
            refuse_nan=settings.nan_inputs == "refuse",
            load=load,
            backend=settings.session_backend,
        )


hold(int(os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0")))
_app = App(SETTINGS, os.environ, UPSTREAM)
_app.start()
marshalling.install()
handler = _app.handle
