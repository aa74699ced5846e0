"""A version's bytes: downloaded beside the check of its manifest, opened once both are what was published, and deleted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from ._background import Background
from ._typing import TYPE_CHECKING, Protocol
from .cpu import has
from .errors import UnverifiedModel
from .manifest import Alias, Manifest, Reader, alias_key, read_manifest

if TYPE_CHECKING:
    from ._connections import KeptConnection
    from .manifest import File, Load
    from .session import Session

__all__ = ["Fetcher", "LoadedModel", "Verifier", "verified_manifest", "verifier"]


class Verifier(Protocol):
    """What a fetcher needs of `modelserve.signature.SigningKey`, where manifests are signed."""

    def prefetch(self) -> None:
        """Begins with what `check` will need, and doesn't wait for it."""

    def check(self, alias: Alias) -> None:
        """Raises `UnverifiedModel` unless the manifest that `alias` names is signed, `Unavailable` when that can't be known."""


def verifier(
    key_arn: str, environ: Mapping[str, str], *, remaining: Callable[[], float], connection: KeptConnection | None = None
) -> Verifier | None:
    """What asks for signatures by the KMS key; None for an empty `key_arn`. `remaining` tells the seconds that the invocation has left;
    a `connection` to KMS may have been opened."""
    if not key_arn:
        return None
    from .signature import SigningKey  # noqa: PLC0415 - most deployments ask for no signature

    return SigningKey.from_environ(key_arn, environ, remaining=remaining, connection=connection)


class LoadedModel:
    """A version in memory; satisfies `dataplane.Model`."""

    platform = "onnxruntime_onnx"

    def __init__(self, manifest: Manifest, session: Session, *, load_seconds: float) -> None:
        self.name = manifest.name
        self.version = manifest.version
        self.labels = manifest.labels
        self.row_wise = bool(manifest.row_wise)
        """Whether rows of several requests may run together: each was seen to be answered alone as among others."""
        self.inputs = session.inputs
        self.outputs = session.outputs
        self.run = session.run
        self.warm_up = session.warm_up
        self.load_seconds = load_seconds
        """From the first byte asked for to a session."""

    def ready(self, *, seconds: float) -> None:
        """A session that exists can answer."""


class Fetcher:
    """Makes a model in memory of what an alias names."""

    def __init__(self, store: Reader, open_session: Callable[[str, Load | None], Session], verifier: Verifier | None = None) -> None:
        """`open_session` makes a session of a file's path and how to load it; without a `verifier` no signature is asked for."""
        self._store = store
        self._open_session = open_session
        self._verifier = verifier

    def prefetch(self) -> None:
        """Begins with what a call will need of the verifier."""
        if self._verifier is not None:
            self._verifier.prefetch()

    def __call__(self, alias: Alias) -> LoadedModel:
        """Raises `UnverifiedModel`, and opens nothing, unless manifest and bytes are the ones published; `RegistryError`."""
        begun = time.monotonic()
        load = alias.load if alias.load is not None and has(alias.load.cpu) else None
        with _folder() as folder:
            manifest = self._download(alias, (alias.model,) if load is None else load.files, folder)
            session = self._plain(alias, folder) if load is None else self._loaded(alias, load, folder)
        return LoadedModel(manifest, session, load_seconds=time.monotonic() - begun)

    def _plain(self, alias: Alias, folder: str) -> Session:
        return self._open_session(f"{folder}/{_name(alias.model.path)}", None)

    def _loaded(self, alias: Alias, load: Load, folder: str) -> Session:
        path = f"{folder}/{_name(load.files[0].path)}"
        if load.zstd:
            from ._zstd import expand  # noqa: PLC0415 - most models are not compressed

            expand(f"{folder}/{_name(load.zstd)}")
        try:
            return self._open_session(path.removesuffix(".zst"), load)
        except UnverifiedModel:  # by another ONNX Runtime than the one that it was made with
            self._save(alias.model, folder)
            return self._plain(alias, folder)

    def _download(self, alias: Alias, files: tuple[File, ...], folder: str) -> Manifest:
        """Every file beside the manifest and the signature's key: one after the other they would wait for the network each time."""
        downloads: list[Background[None]] = []
        try:
            for file in files:
                downloads.append(Background(partial(self._save, file, folder)))  # noqa: PERF401 - those that have begun are waited for
            manifest = verified_manifest(self._store, alias, self._verifier)
        finally:
            for download in downloads:
                download.wait()
        for download in downloads:
            download.result()
        return manifest

    def _save(self, file: File, folder: str) -> None:
        to = f"{folder}/{_name(file.path)}"
        self._store.download(file.path, version_id=file.version_id, size=file.size, sha256=file.sha256, to=to)


def verified_manifest(store: Reader, alias: Alias, verifier: Verifier | None) -> Manifest:
    """The manifest that `alias` names, signed where a `verifier` asks for it. Raises `UnverifiedModel`, `RegistryError`."""
    check = (lambda: None) if verifier is None else partial(verifier.check, alias)  # what it waits for may come later than the manifest
    manifest, _ = read_manifest(store, alias.name, alias.version, sha256=alias.manifest_sha256, check=check)
    if alias.model != manifest.model_object:  # else an alias could put any bytes under a manifest
        found = f"{alias.model.path} of SHA-256 {alias.model.sha256}"
        raise UnverifiedModel(alias_key(alias.name, alias.alias), found, f"that of SHA-256 {manifest.model_file.sha256} in its manifest")
    if alias.load != manifest.load_object:
        raise UnverifiedModel(alias_key(alias.name, alias.alias), "another way to load it", "that of its manifest")
    return manifest


@contextmanager
def _folder() -> Iterator[str]:
    """One that nobody else reads, and nothing is left of."""
    folder = f"{os.environ.get('TMPDIR', '/tmp')}/model-{os.getpid()}-{time.monotonic_ns()}"  # noqa: S108 - a function's own
    os.mkdir(folder, 0o700)
    try:
        yield folder
    finally:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)


def _name(key: str) -> str:
    return key.rpartition("/")[2]
