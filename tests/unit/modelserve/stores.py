"""A model store in memory, which can be broken."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from modelserve.errors import ObjectNotFound, PreconditionFailed, StoreUnavailable, UnverifiedModel
from modelserve.manifest import MODEL_FILE, Manifest, Object, TensorSpec
from modelserve.registry import Registry
from modelserve.versions import Signer

BY = {"by": "ann", "reason": "because"}


class MemoryStore:
    """Every version of every object; `calls` are the reads, `down` makes them fail."""

    def __init__(self) -> None:
        self.objects: dict[str, list[bytes]] = {}
        self.calls: list[tuple[str, str]] = []
        self.down: str | None = None

    def close(self) -> None:
        """It has no connections."""

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        body = self._read("get", key, version_id)
        etag = hashlib.md5(body).hexdigest()
        return None if etag == unless_etag else Object(body, etag, str(len(self.objects[key]) - 1))

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:
        body = self._read("download", key, version_id)
        if (len(body), hashlib.sha256(body).hexdigest()) != (size, sha256):
            raise UnverifiedModel(key, "other bytes", sha256)
        Path(to).write_bytes(body)

    def list(self, prefix: str) -> list[str]:
        self._reach("list", prefix)
        return sorted(key for key in self.objects if key.startswith(prefix))

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        known = self.objects.setdefault(key, [])
        if (hashlib.md5(known[-1]).hexdigest() if known else None) != if_etag:
            raise PreconditionFailed(key)
        known.append(body.read_bytes() if isinstance(body, Path) else body)
        return str(len(known) - 1)

    def verify(self, key: str, *, size: int, sha256: str) -> str | None:
        body = self._read("verify", key, None)
        if (len(body), hashlib.sha256(body).hexdigest()) != (size, sha256):
            raise UnverifiedModel(key, "other bytes", sha256)
        return str(len(self.objects[key]) - 1)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def alter(self, key: str, body: bytes) -> None:
        """Puts other bytes behind every VersionId, as no S3 would."""
        self.objects[key] = [body] * len(self.objects[key])

    def _read(self, call: str, key: str, version_id: str | None) -> bytes:
        self._reach(call, key)
        if key not in self.objects:
            raise ObjectNotFound(key)
        return self.objects[key][int(version_id) if version_id else -1]

    def _reach(self, call: str, key: str) -> None:
        self.calls.append((call, key))
        if self.down is not None:
            raise StoreUnavailable(key, self.down)


class Publisher:
    """Publishes and promotes in a store, each version in a second of its own."""

    def __init__(self, store: MemoryStore, folder: Path, *, name: str = "sample", signer: Signer | None = None) -> None:
        self._now = 1_795_000_000.0
        self._folder = folder
        self.name = name
        self.registry = Registry(store, signer=signer, clock=self._tick)

    def publish(self, content: bytes, *, labels: tuple[str, ...] = ()) -> str:
        file = self._folder / "published.onnx"
        file.write_bytes(content)
        spec = (TensorSpec(name="x", datatype="FP32", shape=(-1, 3)),)
        draft = Manifest(
            name=self.name,
            version="",
            created="",
            task="regression",
            inputs=spec,
            outputs=spec,
            files=(),
            opset={"": 21},
            ir=10,
            labels=labels,
        )
        return self.registry.publish(draft, {MODEL_FILE: file}).version

    def promote(self, version: str, alias: str = "production") -> str:
        self.registry.promote(self.name, version, alias=alias, **BY)
        return version

    def release(self, content: bytes, alias: str = "production") -> str:
        return self.promote(self.publish(content), alias)

    def _tick(self) -> float:
        self._now += 1
        return self._now
