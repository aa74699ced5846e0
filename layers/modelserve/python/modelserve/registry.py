"""Moves aliases, and keeps for good who moved which and why."""

from __future__ import annotations

import time

from .errors import (
    AliasConflict,
    AliasNotFound,
    ObjectNotFound,
    PreconditionFailed,
    RegistryError,
    StoreUnavailable,
    UnverifiedModel,
    VersionNotFound,
)
from .manifest import (
    ALIAS_NAME,
    LOAD_SCHEMA,
    MANIFEST_FILE,
    SCHEMA,
    SIGNED_SCHEMA,
    VERSION_NAME,
    Alias,
    Manifest,
    alias_key,
    dump,
    model_prefix,
    parse,
    parse_alias,
    read_alias,
    version_prefix,
)
from .record import Record
from .versions import Versions, published_at

__all__ = ["ANYTHING", "Event", "Registry"]

ANYTHING = "*"
"""As in If-Match: whatever an alias names."""
_DAY = 86_400.0  # seconds


class Event(Record):
    """One move of an alias, kept for good."""

    time: str
    event: str
    """`promote`, `rollback` or `prune`."""
    alias: str | None
    from_version: str | None
    to_version: str | None
    by: str
    reason: str


class Registry(Versions):
    """The versions of models in one object store, and the aliases that name them."""

    def aliases(self, name: str) -> dict[str, Alias]:
        """Every alias of `name` that can be read; `damaged` tells of the others."""
        found = {}
        for alias in self._alias_names(name):
            try:
                found[alias] = self.alias(name, alias)
            except StoreUnavailable:
                raise
            except RegistryError:
                continue
        return found

    def damaged(self, name: str) -> dict[str, RegistryError]:
        """Every alias of `name` that is not what `promote` writes, and why; whose a signature is, isn't looked at."""
        found: dict[str, RegistryError] = {}
        for alias in self._alias_names(name):
            try:
                self._check_written(self.alias(name, alias))
            except StoreUnavailable:
                raise
            except RegistryError as error:
                found[alias] = error
        return found

    def alias(self, name: str, alias: str) -> Alias:
        """Raises `AliasNotFound`, `UnverifiedModel`."""
        return read_alias(self._store, name, alias)[0]

    def promotion(self, name: str, version: str, *, alias: str) -> Alias:
        """What `promote` would write. Raises `VersionNotFound`; `RegistryError` when the signature that this store asks for is missing."""
        manifest, digest = self._read_manifest(name, version)
        return _alias(alias, manifest, digest, self._signature(name, version, digest))

    def promote(
        self, name: str, version: str, *, alias: str, by: str, reason: str, event: str = "promote", expected: str | None = ANYTHING
    ) -> Alias:
        """Points `alias` at `version`, whatever is in its place but an alias of a newer release.

        `expected` is the version that the caller saw there, None where it saw none that can be read. Raises as `promotion`;
        `AliasConflict` when the alias names another one, or somebody else moves it meanwhile.
        """
        if not ALIAS_NAME.fullmatch(alias):
            raise RegistryError(f"{alias!r} can't be an alias; expected lower-case letters, digits, - and _, a letter first, 32 at most")
        moved = self.promotion(name, version, alias=alias)
        before, etag = self._before(name, alias)
        if expected not in (ANYTHING, before):
            raise AliasConflict(name, alias)
        try:
            self._put_once(alias_key(name, alias), moved.to_json(), if_etag=etag)
        except (PreconditionFailed, ObjectNotFound):
            raise AliasConflict(name, alias) from None
        self._record(name, event, alias=alias, before=before, after=version, by=by, reason=reason)
        return moved

    def rollback(self, name: str, *, alias: str, by: str, reason: str, to: str | None = None) -> Alias:
        """Points `alias` at what it named before; once more goes one further back, never forth again.

        Raises as `before` and `promote`; `AliasConflict` where it would not name `to`, which `before` said a while ago.
        """
        current, _ = self._before(name, alias)
        version = self.before(name, alias=alias)
        if to not in (None, version):
            raise AliasConflict(name, alias)
        return self.promote(name, version, alias=alias, by=by, reason=reason, event="rollback", expected=current)

    def before(self, name: str, *, alias: str) -> str:
        """The version that `rollback` would name.

        Versions that were pruned meanwhile are passed over; what a damaged alias named, the history says. Raises
        `AliasNotFound`, and `RegistryError` when there is nothing before.
        """
        current, etag = self._before(name, alias)
        if etag is None:
            raise AliasNotFound(name, alias)
        trail = self._trail(name, alias)
        current = current or (trail[-1] if trail else "now")
        existing = set(self.versions(name))
        for version in reversed(trail):
            if version in existing and version != current:
                return version
        raise RegistryError(
            f"alias {alias!r} of {name!r} named no version before {current} that still exists; "
            f"`modelctl history {name}` shows its moves, and `modelctl promote {name} VERSION` names any version"
        )

    def history(self, name: str) -> list[Event]:
        """Every move of an alias of `name`, oldest first."""
        events = []
        for key in self._store.list(f"{model_prefix(name)}history/"):
            found = self._store.get(key)
            assert found is not None  # only a conditional read answers None
            events.append(parse(found.body, key, lambda document: Event(**document)))
        return events

    def prune(self, name: str, *, keep: int, by: str) -> list[str]:
        """Deletes all but the newest `keep` versions, never one that an alias names; returns what it deleted.

        Files without a manifest go with them once they are a day old: nobody will finish that upload or deletion.
        Raises `UnverifiedModel` while an alias can't be read, which may name any version.
        """
        versions = self.versions(name)
        deleted = []
        for version in versions[: max(0, len(versions) - keep)]:
            if version in self._aliased(name):  # read each time: a promotion may come between
                continue
            # The manifest goes first: from then on the version does not exist, whatever is left of it.
            self._store.delete([version_prefix(name, version) + MANIFEST_FILE])
            self._store.delete(self._store.list(version_prefix(name, version)))
            self._record(name, "prune", alias=None, before=version, after=None, by=by, reason=f"keep {keep}")
            deleted.append(version)
        for version in self._unfinished(name):
            self._store.delete(self._store.list(version_prefix(name, version)))
        return deleted

    def _alias_names(self, name: str) -> list[str]:
        """Those that a function would look for; whatever else lies there is no alias."""
        prefix = f"{model_prefix(name)}aliases/"
        names = (key.removeprefix(prefix).removesuffix(".json") for key in self._store.list(prefix) if key.endswith(".json"))
        return [alias for alias in names if ALIAS_NAME.fullmatch(alias)]

    def _aliased(self, name: str) -> set[str]:
        """Raises `UnverifiedModel` for an alias that can't be read."""
        return {self.alias(name, alias).version for alias in self._alias_names(name)}

    def _check_written(self, alias: Alias) -> None:
        """Raises `UnverifiedModel` unless `promote` writes `alias` so; with a signature that is no more than the one stored."""
        key, advice = alias_key(alias.name, alias.alias), f"run: modelctl promote {alias.name} VERSION --alias {alias.alias}"
        try:
            manifest, digest = self._read_manifest(alias.name, alias.version)
        except VersionNotFound:
            raise UnverifiedModel(key, "a version that is not there", "one that is", advice) from None
        stored = self._stored_signature(alias.name, alias.version)
        signatures = [stored] if self._signer else [stored, None]
        if alias not in [_alias(alias.alias, manifest, digest, signature) for signature in signatures]:
            raise UnverifiedModel(key, "other values", f"what promoting {alias.version} writes", advice)

    def _before(self, name: str, alias: str) -> tuple[str | None, str | None]:
        """What `alias` names, None when that can't be read, and its ETag, None when it was never set."""
        try:
            found = self._store.get(alias_key(name, alias))
        except ObjectNotFound:
            return None, None
        assert found is not None  # only a conditional read answers None
        try:
            return parse_alias(found.body, name, alias).version, found.etag
        except UnverifiedModel:  # damaged; one of a newer release is another error, and not to be written over
            return None, found.etag

    def _unfinished(self, name: str) -> set[str]:
        """What has files but no manifest, and was begun more than a day ago."""
        begun = {key.split("/")[3] for key in self._store.list(f"{model_prefix(name)}versions/")}
        yesterday = self._clock() - _DAY
        old = {version for version in begun if VERSION_NAME.fullmatch(version) and published_at(version) < yesterday}
        return old - set(self.versions(name)) - self._aliased(name)

    def _trail(self, name: str, alias: str) -> list[str]:
        """What `alias` was made to name, oldest first; a rollback takes back the moves that it undid."""
        trail: list[str] = []
        for event in self.history(name):
            if event.alias != alias or event.to_version is None:
                continue
            if event.event == "rollback" and event.to_version in trail:
                while trail[-1] != event.to_version:
                    trail.pop()
            elif trail[-1:] != [event.to_version]:
                trail.append(event.to_version)
        return trail

    def _record(self, name: str, event: str, *, alias: str | None, before: str | None, after: str | None, by: str, reason: str) -> None:
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
        entry = Event(time=stamp, event=event, alias=alias, from_version=before, to_version=after, by=by, reason=reason)
        key = f"{model_prefix(name)}history/{stamp.replace('-', '').replace(':', '')}-{event}.json"
        self._put_once(key, dump(entry))


def _alias(alias: str, manifest: Manifest, digest: str, signature: str | None) -> Alias:
    return Alias(
        name=manifest.name,
        alias=alias,
        version=manifest.version,
        manifest_sha256=digest,
        model=manifest.model_object,
        signature=signature,
        load=manifest.load_object,
        schema=LOAD_SCHEMA if manifest.load else SIGNED_SCHEMA if signature else SCHEMA,
    )
