"""Publishes versions, which never change: the same format module serves writer and reader, so that it cannot fork."""

from __future__ import annotations

import calendar
import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ._typing import Protocol
from .errors import ObjectNotFound, PreconditionFailed, RegistryError, UnverifiedModel, VersionNotFound
from .manifest import MANIFEST_FILE, SIGNATURE_FILE, VERSION_NAME, File, Manifest, Reader, model_prefix, read_manifest, version_prefix
from .record import replace

__all__ = ["Signer", "Versions", "Writer", "published_at", "sha256"]

_SECOND = "%Y%m%dT%H%M%SZ"
_ISO = "%Y-%m-%dT%H:%M:%SZ"
_FIELDS = ((0, 4), (4, 2), (6, 2), (9, 2), (11, 2), (13, 2))
"""Where year to second stand in it, and their digits."""
_CREATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_SECONDS_TO_TRY = 10
"""New names that a publisher tries for its version before it gives up."""
_TAKEN_UP = 43_200
"""Seconds for which an upload that never ended is taken up again; `Registry.prune` deletes it after twice as many."""


class Writer(Reader, Protocol):
    """What publishing needs besides."""

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        """Writes a new object, or over the state `if_etag`; returns its VersionId. Raises `PreconditionFailed`."""

    def verify(self, key: str, *, size: int, sha256: str) -> str | None:
        """The VersionId of what lies there. Raises `ObjectNotFound`; `UnverifiedModel` unless the bytes are the ones named."""

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes what exists of `keys`."""


class Signer(Protocol):
    """What publishing needs where manifests are signed; a SHA-256 is in hex, a signature in base64."""

    def sign(self, sha256: str) -> str:
        """The signature."""

    def signed(self, sha256: str, signature: str) -> bool:
        """Whether it is this signer's."""


class Versions:
    """The versions of models in one object store."""

    def __init__(self, store: Writer, *, signer: Signer | None = None, clock: Callable[[], float] = time.time) -> None:
        """With a `signer` every manifest is signed, and no alias is pointed at one that isn't."""
        self._store = store
        self._signer = signer
        self._clock = clock

    def publish(self, draft: Manifest, files: Mapping[str, Path]) -> Manifest:
        """Stores `files` as a new version; the same model, archive, task, tensors, labels and [loading] give the version that holds them.

        Unless that has no metrics or lacks a gate of `draft`, or was forced and `draft` wasn't: this is a new version then, which can be
        promoted. `draft` holds everything but version, created and files, which are set here. An interrupted upload leaves no
        visible version, because the manifest is written last; publishing again takes that upload up, and keeps of it what is
        there byte for byte. So do two who publish the same at once: one version becomes visible, and both are told it.
        With a signer a version that holds them must be signed, or be signed now: only if it has no signature yet, and is in
        every byte what would be published. Raises `StoreUnavailable`.
        """
        digests = tuple(File(path=path, size=file.stat().st_size, sha256=sha256(file)) for path, file in files.items())
        draft = draft.holding(digests)
        for moment in self._moments(draft):
            if known := self._published(draft):
                return known
            version = f"{time.strftime(_SECOND, time.gmtime(moment))}-{draft.model_file.sha256[:8]}"
            if not VERSION_NAME.fullmatch(version):
                advice = "look at this machine's clock, and at the newest version in `modelctl list`"
                raise RegistryError(f"a new version of {draft.name!r} would be {version!r}, which no reader takes; {advice}")
            try:
                return self._write(replace(draft, version=version, created=time.strftime(_ISO, time.gmtime(moment))), files)
            except PreconditionFailed:
                continue  # other bytes lie where these were to go
        if known := self._published(draft):
            return known
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

    def download(self, name: str, version: str, *, to: Path) -> Manifest:
        """Puts a version's files into the folder `to`.

        Raises `UnverifiedModel` unless they are what the manifest names, `RegistryError` when the signature that this store asks
        for is missing.
        """
        manifest, digest = self._read_manifest(name, version)
        self._signature(name, version, digest)
        self.fetch(manifest, to)
        return manifest

    def copy(self, name: str, version: str, *, to: Versions, scratch: Path) -> Manifest:
        """Publishes `version` in another store, bytes and metadata as they are here; `scratch` is an empty folder."""
        manifest = self.download(name, version, to=scratch)
        return to.publish(manifest, {file.path: scratch / file.path for file in manifest.files})

    def fetch(self, manifest: Manifest, to: Path) -> None:
        """Puts the files that `manifest` lists into the folder `to`. Raises `UnverifiedModel` unless they are what it names."""
        name, version = manifest.name, manifest.version
        for file in manifest.files:
            if "/" in file.path or file.path in {"", ".", ".."}:
                raise UnverifiedModel(f"manifest of {name}/{version}", f"the path {file.path!r}", "file names only")
            key = version_prefix(name, version) + file.path
            self._store.download(key, version_id=file.version_id, size=file.size, sha256=file.sha256, to=str(to / file.path))

    def _moments(self, draft: Manifest) -> list[int]:
        """Seconds to name the version after: those of uploads of this model that never ended, oldest first, then new ones.

        Versions sort by their second: two in one second, or a clock that runs behind, must not swap old and new.
        """
        now, visible = int(self._clock()), self.versions(draft.name)
        newest = published_at(visible[-1]) if visible else 0
        first = max(now, newest + 1)
        last = first + _SECONDS_TO_TRY
        begun = {key.split("/")[3] for key in self._store.list(f"{model_prefix(draft.name)}versions/")}
        same = [version for version in begun if VERSION_NAME.fullmatch(version) and version.endswith(draft.model_file.sha256[:8])]
        unfinished = {moment for moment in map(published_at, same) if max(newest, now - _TAKEN_UP) < moment < last}
        return list(dict.fromkeys([*sorted(unfinished), *range(first, last)]))

    def _write(self, draft: Manifest, files: Mapping[str, Path]) -> Manifest:
        """Raises `PreconditionFailed` where other bytes lie in the place of any of it."""
        prefix = version_prefix(draft.name, draft.version)
        there = set(self._store.list(prefix))
        stored = [replace(file, version_id=self._place(prefix + file.path, files[file.path], file, there)) for file in draft.files]
        manifest = draft.holding(tuple(stored))
        body = manifest.to_json()
        if known := self._published(draft):  # by somebody who was quicker
            return known
        self._sign(draft.name, draft.version, hashlib.sha256(body).hexdigest())
        self._put_once(prefix + MANIFEST_FILE, body)
        return manifest

    def _place(self, key: str, body: Path, file: File, there: set[str]) -> str | None:
        """The VersionId of `file` at `key`, uploaded unless these bytes are there. Raises `PreconditionFailed` where others are."""
        if key not in there:
            try:
                return self._store.put(key, body)
            except PreconditionFailed:
                pass  # somebody else uploads it too, or the answer to the upload was lost
        try:
            return self._store.verify(key, size=file.size, sha256=file.sha256)
        except (ObjectNotFound, UnverifiedModel):
            raise PreconditionFailed(key) from None

    def _published(self, draft: Manifest) -> Manifest | None:
        """A version that holds `draft`, and is signed where this store asks for it."""
        content = draft.model_file.sha256
        for version in reversed(self.versions(draft.name)):
            if version.endswith(content[:8]):
                try:
                    known, digest = self._read_manifest(draft.name, version)
                    same = known.holds(draft)
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
        expected = replace(draft.holding(files), version=known.version, created=known.created)
        if not isinstance(known.created, str) or not _CREATED.fullmatch(known.created):
            return False
        if hashlib.sha256(expected.to_json()).hexdigest() != digest or not all(isinstance(file.version_id, str) for file in files):
            return False
        with tempfile.TemporaryDirectory() as scratch:
            try:
                self.fetch(known, Path(scratch))
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

    def _read_manifest(self, name: str, version: str) -> tuple[Manifest, str]:
        if not VERSION_NAME.fullmatch(version):
            raise VersionNotFound(name, version)
        try:
            return read_manifest(self._store, name, version)
        except ObjectNotFound:
            raise VersionNotFound(name, version) from None

    def _put_once(self, key: str, body: bytes, *, if_etag: str | None = None) -> None:
        """As `put`, except that meeting its own write is no conflict: a client whose answer was lost has written before."""
        try:
            self._store.put(key, body, if_etag=if_etag)
        except PreconditionFailed:
            found = self._store.get(key)
            if found is None or found.body != body:
                raise


def published_at(version: str) -> int:
    """When `version` was published, in seconds since 1970; a 31st of February, which nobody publishes on, is the 3rd of March."""
    return calendar.timegm(tuple(int(version[begin : begin + size]) for begin, size in _FIELDS))


def sha256(file: Path) -> str:
    """Of its bytes, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
