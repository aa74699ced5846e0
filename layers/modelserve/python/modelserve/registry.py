"""Publishes versions and moves aliases; the same format module serves writer and reader, so that it cannot fork."""

from __future__ import annotations

import calendar
import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

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
    MANIFEST_FILE,
    SCHEMA,
    SIGNATURE_FILE,
    SIGNED_SCHEMA,
    VERSION_NAME,
    Alias,
    File,
    Manifest,
    Reader,
    alias_key,
    dump,
    model_prefix,
    parse,
    parse_alias,
    read_alias,
    read_manifest,
    version_prefix,
)
from .record import Record, replace

__all__ = ["Event", "Registry", "Signer", "Writer"]

_SECOND = "%Y%m%dT%H%M%SZ"
_DAY = 86_400.0  # seconds
_SECONDS_TO_TRY = 10
"""Names that a publisher tries for its version before it gives up."""


class Writer(Reader, Protocol):
    """What publishing needs besides."""

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        """Writes a new object, or over the state `if_etag`; returns its VersionId. Raises `PreconditionFailed`."""

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes what exists of `keys`."""


class Signer(Protocol):
    """What publishing needs where manifests are signed; a SHA-256 is in hex, a signature in base64."""

    def sign(self, sha256: str) -> str:
        """The signature."""

    def signed(self, sha256: str, signature: str) -> bool:
        """Whether it is this signer's."""


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


class Registry:
    """The versions and aliases of models in one object store."""

    def __init__(self, store: Writer, *, signer: Signer | None = None, clock: Callable[[], float] = time.time) -> None:
        """With a `signer` every manifest is signed, and no alias is pointed at one that isn't."""
        self._store = store
        self._signer = signer
        self._clock = clock

    def publish(self, draft: Manifest, files: Mapping[str, Path]) -> Manifest:
        """Stores `files` as a new version; the same model bytes, task, tensors and labels give the version that already holds them.

        `draft` holds everything but version, created and files, which are set here. An interrupted upload leaves no
        visible version, because the manifest is written last. With a signer a version that holds them must be signed, or
        be signed now: only if it has no signature yet, and is in every byte what would be published. Raises `StoreUnavailable`.
        """
        digests = tuple(File(path=path, size=file.stat().st_size, sha256=_sha256(file)) for path, file in files.items())
        draft = replace(draft, files=digests)
        content = draft.model_file.sha256
        now = int(self._clock())
        # Versions sort by their second: two in one second, or a clock that runs behind, must not swap old and new.
        first = max([now, *(_moment(version) + 1 for version in self.versions(draft.name)[-1:])])
        for moment in range(first, first + _SECONDS_TO_TRY):
            if known := self._published(draft):
                return known
            version = f"{time.strftime(_SECOND, time.gmtime(moment))}-{content[:8]}"
            prefix = version_prefix(draft.name, version)
            try:
                stored = tuple(replace(file, version_id=self._store.put(prefix + file.path, files[file.path])) for file in digests)
                created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
                manifest = replace(draft, version=version, created=created, files=stored)
                body = manifest.to_json()
                self._sign(draft.name, version, hashlib.sha256(body).hexdigest())
                self._store.put(prefix + MANIFEST_FILE, body)
            except PreconditionFailed:
                continue  # another upload of these bytes, interrupted or still under way, has taken this second's name
            return manifest
        raise RegistryError(f"{draft.name!r} is being published by somebody else at the same time; try again in a few seconds")

    def names(self) -> list[str]:
        """Every model that has a version or an alias."""
        return sorted({key.split("/")[1] for key in self._store.list("models/")})

    def versions(self, name: str) -> list[str]:
        """Every version of `name`, oldest first."""
        keys = self._store.list(f"{model_prefix(name)}versions/")
        versions = (key.split("/")[3] for key in keys if key.endswith(f"/{MANIFEST_FILE}"))
        return sorted(version for version in versions if VERSION_NAME.fullmatch(version))

    def manifest(self, name: str, version: str) -> Manifest:
        """Raises `VersionNotFound`."""
        return self._read_manifest(name, version)[0]

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

    def promote(self, name: str, version: str, *, alias: str, by: str, reason: str, event: str = "promote") -> Alias:
        """Points `alias` at `version`, whatever is in its place but an alias of a newer release.

        Raises as `promotion`; `AliasConflict` when somebody else moved the alias meanwhile.
        """
        if not ALIAS_NAME.fullmatch(alias):
            raise RegistryError(f"{alias!r} can't be an alias; expected lower-case letters, digits, - and _, a letter first, 32 at most")
        moved = self.promotion(name, version, alias=alias)
        before, etag = self._before(name, alias)
        try:
            self._put_once(alias_key(name, alias), moved.to_json(), if_etag=etag)
        except (PreconditionFailed, ObjectNotFound):
            raise AliasConflict(name, alias) from None
        self._record(name, event, alias=alias, before=before, after=version, by=by, reason=reason)
        return moved

    def rollback(self, name: str, *, alias: str, by: str, reason: str) -> Alias:
        """Points `alias` at what it named before; once more goes one further back, never forth again.

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
                return self.promote(name, version, alias=alias, by=by, reason=reason, event="rollback")
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

    def copy(self, name: str, version: str, *, to: Registry, scratch: Path) -> Manifest:
        """Publishes `version` in another store, bytes and metadata as they are here; `scratch` is an empty folder."""
        manifest = self.download(name, version, to=scratch)
        return to.publish(manifest, {file.path: scratch / file.path for file in manifest.files})

    def download(self, name: str, version: str, *, to: Path) -> Manifest:
        """Puts a version's files into the folder `to`.

        Raises `UnverifiedModel` unless they are what the manifest names, `RegistryError` when the signature that this store asks
        for is missing.
        """
        manifest, digest = self._read_manifest(name, version)
        self._signature(name, version, digest)
        self._fetch(manifest, to)
        return manifest

    def _fetch(self, manifest: Manifest, to: Path) -> None:
        name, version = manifest.name, manifest.version
        for file in manifest.files:
            if "/" in file.path or file.path in {"", ".", ".."}:
                raise UnverifiedModel(f"manifest of {name}/{version}", f"the path {file.path!r}", "file names only")
            key = version_prefix(name, version) + file.path
            self._store.download(key, version_id=file.version_id, size=file.size, sha256=file.sha256, to=str(to / file.path))

    def _published(self, draft: Manifest) -> Manifest | None:
        """A version that holds `draft`, and is signed where this store asks for it."""
        content = draft.model_file.sha256
        for version in self.versions(draft.name):
            if version.endswith(content[:8]):
                try:
                    known, digest = self._read_manifest(draft.name, version)
                    same = known.model_file.sha256 == content and known.answers_like(draft)
                except UnverifiedModel:
                    continue
                if same and self._signed(known, digest, draft):
                    return known
        return None

    def _signed(self, known: Manifest, digest: str, draft: Manifest) -> bool:
        """Whether `known` is signed, or could be signed now. Never replaces a signature: it may be right, and the manifest forged."""
        if self._signer is None:
            return True
        stored = self._stored_signature(known.name, known.version)
        if stored is not None:
            return self._signer.signed(digest, stored)
        if not self._made_of(known, digest, draft):
            return False
        try:
            self._sign(known.name, known.version, digest)
        except PreconditionFailed:  # somebody else was quicker, with whatever
            return False
        return True

    def _made_of(self, known: Manifest, digest: str, draft: Manifest) -> bool:
        """Whether `known`, of that SHA-256, is what publishing `draft` then would have written, and the store holds its files."""
        places = {file.path: file.version_id for file in known.files}
        files = tuple(replace(file, version_id=places.get(file.path)) for file in draft.files)
        expected = replace(draft, version=known.version, created=known.created, files=files)
        if hashlib.sha256(expected.to_json()).hexdigest() != digest or not all(isinstance(file.version_id, str) for file in files):
            return False
        with tempfile.TemporaryDirectory() as scratch:
            try:
                self._fetch(known, Path(scratch))
            except RegistryError:  # not there, other bytes, or no VersionId of this store
                return False
        return True

    def _sign(self, name: str, version: str, digest: str) -> None:
        """Raises `PreconditionFailed` where another signature is already."""
        if self._signer is not None:
            self._put_once(version_prefix(name, version) + SIGNATURE_FILE, self._signer.sign(digest).encode())

    def _signature(self, name: str, version: str, digest: str) -> str | None:
        """What an alias of `version` must hold. Raises `RegistryError` when that is missing."""
        if self._signer is None:
            return None
        known = self._stored_signature(name, version)
        if known is None or not self._signer.signed(digest, known):
            raise RegistryError(
                f"version {version} of {name!r} is not signed by this store's key, and no function would load it; "
                f"`modelctl publish {name}` signs the version that train.py makes, `modelctl copy {name}` one of another deployment"
            )
        return known

    def _stored_signature(self, name: str, version: str) -> str | None:
        try:
            found = self._store.get(version_prefix(name, version) + SIGNATURE_FILE)
        except ObjectNotFound:
            return None
        assert found is not None  # only a conditional read answers None
        return found.body.decode("ascii", "replace")

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
        old = {version for version in begun if VERSION_NAME.fullmatch(version) and _moment(version) < yesterday}
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

    def _read_manifest(self, name: str, version: str) -> tuple[Manifest, str]:
        if not VERSION_NAME.fullmatch(version):
            raise VersionNotFound(name, version)
        try:
            return read_manifest(self._store, name, version)
        except ObjectNotFound:
            raise VersionNotFound(name, version) from None

    def _record(self, name: str, event: str, *, alias: str | None, before: str | None, after: str | None, by: str, reason: str) -> None:
        now = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
        entry = Event(time=stamp, event=event, alias=alias, from_version=before, to_version=after, by=by, reason=reason)
        key = f"{model_prefix(name)}history/{stamp.replace('-', '').replace(':', '')}-{event}.json"
        self._put_once(key, dump(entry))

    def _put_once(self, key: str, body: bytes, *, if_etag: str | None = None) -> None:
        """As `put`, except that meeting its own write is no conflict: a client whose answer was lost has written before."""
        try:
            self._store.put(key, body, if_etag=if_etag)
        except PreconditionFailed:
            found = self._store.get(key)
            if found is None or found.body != body:
                raise


def _alias(alias: str, manifest: Manifest, digest: str, signature: str | None) -> Alias:
    return Alias(
        name=manifest.name,
        alias=alias,
        version=manifest.version,
        manifest_sha256=digest,
        model=manifest.model_object,
        signature=signature,
        schema=SIGNED_SCHEMA if signature else SCHEMA,
    )


def _moment(version: str) -> int:
    return calendar.timegm(time.strptime(version.partition("-")[0], _SECOND))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
