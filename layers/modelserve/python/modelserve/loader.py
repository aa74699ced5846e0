"""From an alias to the version that answers for it: loaded beside the old one, swapped when it is ready, and never half of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from ._typing import Generic, Protocol, TypeVar
from .errors import AliasNotFound, ModelNotReady, ObjectNotFound, RegistryError, ServeError, Unavailable, VersionNotFound
from .manifest import ALIAS_NAME, VERSION_NAME, Alias, Reader, alias_key, model_prefix, parse_alias

__all__ = ["Loader", "Version"]

_RETRY_SECONDS = 1.0


class Version(Protocol):
    """What the loader needs of a model: `fetch.LoadedModel`, or `endpoint.EndpointModel`."""

    version: str

    def warm_up(self, *, seconds: float) -> None:
        """One run on made input. Raises `ServeError` when the model doesn't answer within `seconds`."""


_M = TypeVar("_M", bound=Version)


class _Known:
    """What is known of an alias, and since when."""

    __slots__ = ("alias", "checked", "etag", "failure")

    def __init__(self) -> None:
        self.alias: Alias | None = None
        self.etag: str | None = None
        self.checked = float("-inf")
        self.failure: ServeError | None = None


class Loader(Generic[_M]):
    """Keeps the versions of one model that its aliases name; meant for one request at a time, as a function has it."""

    def __init__(
        self,
        store: Reader,
        name: str,
        load: Callable[[Alias], _M],
        *,
        alias: str,
        check_seconds: float,
        warm_up_seconds: float,
        max_others: int,
        on_load: Callable[[_M], None],
        on_failure: Callable[[ServeError], None],
        prefetch: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`load` makes the version that an alias names, or raises `ServeError`; `prefetch` begins with what it will need.

        `on_failure` hears once of each attempt that failed, whether an older version goes on answering or nothing does; of an alias
        that was never set only the caller hears.
        """
        self.name = name
        self.default = alias
        self._store = store
        self._check_seconds = check_seconds
        self._warm_up_seconds = warm_up_seconds
        self._max_others = max_others
        self._load = load
        self._prefetch = prefetch
        self._clock = clock
        self._on_load = on_load
        self._on_failure = on_failure
        self._known: dict[str, _Known] = {}
        self._serving: dict[str, _M] = {}
        """Alias to the version that answers for it, which may be older than the alias says."""

    def start(self) -> None:
        """Loads what the default alias names; keeps the error instead of raising it, so that INIT always ends well."""
        try:
            self.find(None)
        except ServeError:
            return  # kept in `_known`, and answered to whoever asks

    def expire(self) -> None:
        """Makes what is known of every alias too old: the next that asks for one checks it, and meanwhile loses nothing that is loaded."""
        for known in self._known.values():
            known.checked = float("-inf")

    def find(self, version: str | None) -> _M:
        """The model that answers for a version or an alias, the default alias for None.

        Raises `ModelNotReady` with what to do, or `VersionNotFound` for what no alias names.
        """
        if version is None or version == self.default:
            return self._of_alias(self.default)
        if VERSION_NAME.fullmatch(version):
            return self._of_alias(self._alias_of(version))
        if not ALIAS_NAME.fullmatch(version):
            raise VersionNotFound(self.name, version)
        try:
            return self._of_alias(version)
        except AliasNotFound:
            raise VersionNotFound(self.name, version) from None

    def _of_alias(self, alias: str) -> _M:
        """What answers for `alias` now: checked if the last check is too old, the older version if the new one fails."""
        known = self._known.get(alias) or _Known()
        serving = self._serving.get(alias)
        wait = self._check_seconds if serving is not None else _RETRY_SECONDS
        if self._clock() - known.checked >= wait:
            self._known[alias] = known
            try:
                serving = self._refresh(alias, known)
                known.failure = None
            except Exception as error:  # noqa: BLE001 - whatever it was, an older version goes on answering
                known.failure = error if isinstance(error, ServeError) else RegistryError(f"{type(error).__name__} in loading it: {error}")
                if serving is not None or not isinstance(error, AliasNotFound):  # which callers may make up
                    self._on_failure(known.failure)
            known.checked = self._clock()
        if serving is not None:
            return serving
        failure = known.failure
        if alias != self.default and known.alias is None:
            del self._known[alias]  # names that callers make up are not remembered
        if alias != self.default and isinstance(failure, AliasNotFound):
            raise failure
        raise ModelNotReady(self.name, str(failure))

    def _refresh(self, alias: str, known: _Known) -> _M:
        self._prefetch()
        try:
            found = self._store.get(alias_key(self.name, alias), unless_etag=known.etag)
        except ObjectNotFound:
            raise AliasNotFound(self.name, alias) from None
        if found is not None:
            known.alias, known.etag = parse_alias(found.body, self.name, alias), found.etag
        wanted = known.alias
        assert wanted is not None  # an ETag is kept only together with its alias
        model = next((model for model in self._serving.values() if model.version == wanted.version), None)
        if model is None:
            model = self._load(wanted)
            if self._serving:
                model.warm_up(seconds=self._warm_up_seconds)
            self._on_load(model)
        self._serving.pop(alias, None)
        self._serving[alias] = model
        self._evict(keep=alias)
        return model

    def _alias_of(self, version: str) -> str:
        """An alias that names `version`. Raises `VersionNotFound`: loading old versions at a caller's whim is a memory attack."""
        for alias, model in list(self._serving.items()):  # a check may move it
            if model.version == version and self._of_alias(alias).version == version:
                return alias
        for key in self._store.list(f"{model_prefix(self.name)}aliases/"):
            alias = key.rpartition("/")[2].removesuffix(".json")
            try:
                found = self._store.get(key)
                if found is not None and parse_alias(found.body, self.name, alias).version == version:
                    return alias
            except Unavailable:
                raise
            except RegistryError:  # of another alias, which is nobody's business here
                continue
        raise VersionNotFound(self.name, version)

    def _evict(self, *, keep: str) -> None:
        """Forgets the least recently loaded aliases beyond the bound, never the default one."""
        others = [alias for alias in self._serving if alias not in {self.default, keep}]
        for alias in others[: max(0, len(others) + (keep != self.default) - self._max_others)]:
            del self._serving[alias]
            del self._known[alias]
