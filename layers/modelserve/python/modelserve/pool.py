"""Several models in one process, by name: loaded when they are asked for, the least recently asked forgotten beyond a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from math import inf

from ._typing import TYPE_CHECKING
from .errors import ModelNotFound, ServeError
from .fetch import Fetcher, LoadedModel, verified_manifest, verifier
from .loader import Loader
from .manifest import Alias, Manifest, read_alias
from .memory import threads
from .s3 import S3Reader

if TYPE_CHECKING:
    from .invocation import Observer
    from .manifest import Load
    from .session import Session
    from .settings import BatchSettings

__all__ = ["Pool"]

_WARM_UP_SECONDS = 30.0
_MAX_OTHERS = 1  # versions of a model beside the one of the default alias: here the other models need the memory too


class Pool:
    """The models of `settings.model_names`, as `functions/predict` has one of them; meant for one caller at a time."""

    def __init__(
        self, settings: BatchSettings, environ: Mapping[str, str], observer: Observer, *, remaining: Callable[[], float] = lambda: inf
    ) -> None:
        """`observer` hears of each version that was loaded or couldn't be; `remaining` tells the seconds that the invocation has left."""
        self._settings = settings
        self._observer = observer
        self._threads = threads(environ)
        self._store = S3Reader.from_environ(settings.model_bucket, environ, remaining=remaining)
        self._verifier = verifier(settings.signing_key_arn, environ, remaining=remaining)
        self._loaders: dict[str, Loader[LoadedModel]] = {}
        """The most recently asked last."""
        self._pinned: LoadedModel | None = None

    def model(self, name: str, version: str | None = None) -> LoadedModel:
        """The model that answers for a version or an alias, for `settings.model_alias` where that is None.

        Raises `ModelNotFound`, `VersionNotFound` for what no alias names, `ModelNotReady` with what to do.
        """
        self._check(name)
        loader = self._loaders.pop(name, None) or self._loader(name)
        while len(self._loaders) >= self._settings.max_loaded_models:  # before the next takes its memory
            del self._loaders[next(iter(self._loaders))]
        self._loaders[name] = loader
        return loader.find(version)

    def pin(self, name: str, alias: str | None = None) -> Alias:
        """What `alias` names now, `settings.model_alias` for None: for those who must go on with it after it has moved.

        Raises `ModelNotFound`, `AliasNotFound`, `UnverifiedModel`, `StoreUnavailable`.
        """
        self._check(name)
        return read_alias(self._store, name, alias or self._settings.model_alias)[0]

    def manifest(self, pinned: Alias) -> Manifest:
        """Of what was pinned, which is not loaded for it. Raises `UnverifiedModel`, `StoreUnavailable`."""
        return verified_manifest(self._store, pinned, self._verifier)

    def pinned(self, pinned: Alias) -> LoadedModel:
        """What was pinned, whatever its alias names by now; the last one is kept. Raises `ModelNotFound`, `ServeError`."""
        self._check(pinned.name)
        if self._pinned is None or (self._pinned.name, self._pinned.version) != (pinned.name, pinned.version):
            self._pinned = None  # before the next takes its memory
            model = self._fetcher(pinned.name)(pinned)
            self._on_load(model)
            self._pinned = model
        return self._pinned

    def _check(self, name: str) -> None:
        if name not in self._settings.model_names:
            raise ModelNotFound(name, self._settings.model_names)

    def _fetcher(self, name: str) -> Fetcher:
        return Fetcher(self._store, partial(self._open_session, name), self._verifier)

    def _loader(self, name: str) -> Loader[LoadedModel]:
        fetch = self._fetcher(name)
        return Loader(
            self._store,
            name,
            fetch,
            alias=self._settings.model_alias,
            check_seconds=self._settings.alias_check_seconds,
            warm_up_seconds=_WARM_UP_SECONDS,
            max_others=_MAX_OTHERS,
            on_load=self._on_load,
            on_failure=partial(self._on_failure, name),
            prefetch=fetch.prefetch,
        )

    def _open_session(self, name: str, path: str, load: Load | None) -> Session:
        from .session import open_session  # noqa: PLC0415 - only who loads a model needs ONNX Runtime

        settings = self._settings
        strict = name in settings.strict_models
        return open_session(path, name=name, threads=self._threads, refuse_nan=strict, load=load, backend=settings.session_backend)

    def _on_load(self, model: LoadedModel) -> None:
        self._observer.log("INFO", "model loaded", location="pool", model=model.name, version=model.version)
        self._observer.count({"LoadTime": 1000 * model.load_seconds}, model=model.name, version=model.version)

    def _on_failure(self, name: str, error: ServeError) -> None:
        self._observer.log("ERROR", str(error), location="pool", model=name, error=error.kind)
        self._observer.count({"LoadFailure": 1, error.kind: 1}, model=name, version="none", by_service=True)
