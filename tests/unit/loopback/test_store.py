"""The store behind a bench is one that the registry and the functions' own client can use."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from modelserve.aws import Credentials
from modelserve.errors import ObjectNotFound, PreconditionFailed
from modelserve.registry import Registry
from modelserve.s3 import S3Reader
from tests.unit.modelctl.factories import published
from tools.loopback.store import BUCKET, MemoryStore


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    with MemoryStore() as entered:
        yield entered


@pytest.fixture
def reader(store: MemoryStore) -> S3Reader:
    """The client of the functions."""
    return S3Reader(BUCKET, region="us-east-1", endpoint=store.endpoint, credentials=lambda: Credentials("local", "local", None))


def test_a_version_is_published_and_promoted(store: MemoryStore, reader: S3Reader, tmp_path: Path) -> None:
    registry = Registry(store)
    version = published(registry, tmp_path)
    registry.promote("fruit", version, alias="production", by="ann", reason="")
    alias = registry.alias("fruit", "production")
    assert alias.version == version
    fetched = tmp_path / "fetched"
    reader.download(alias.model.path, version_id=alias.model.version_id, size=5, sha256=alias.model.sha256, to=str(fetched))
    assert fetched.read_bytes() == b"model"


def test_what_is_not_there_is_not_found_here_and_over_http(store: MemoryStore, reader: S3Reader) -> None:
    for each in (store, reader):
        with pytest.raises(ObjectNotFound):
            each.get("models/none")


def test_an_object_that_has_not_changed_is_not_sent_again(store: MemoryStore, reader: S3Reader) -> None:
    store.put("models/a b", b"one")
    found = reader.get("models/a b")
    assert found is not None
    assert found.body == b"one"
    for each in (store, reader):
        assert each.get("models/a b", unless_etag=found.etag) is None
    store.put("models/a b", b"two", if_etag=found.etag)
    changed = reader.get("models/a b", unless_etag=found.etag)
    assert changed is not None
    assert changed.body == b"two"


def test_a_range_of_an_object_is_sent_by_itself(store: MemoryStore) -> None:
    """As the functions' client asks for a large model, on several connections."""
    store.put("models/a", b"0123456789")
    found = []
    for header in ("bytes=2-4", "bytes=8-100", "lines=1-2"):
        with urlopen(Request(f"{store.endpoint}/{BUCKET}/models/a", headers={"Range": header})) as answer:
            found.append((answer.status, answer.headers["Content-Range"], answer.headers["ETag"], answer.read()))
    etag = found[0][2]
    assert found == [
        (206, "bytes 2-4/10", etag, b"234"),
        (206, "bytes 8-9/10", etag, b"89"),
        (200, None, etag, b"0123456789"),
    ]


def test_writes_are_conditional(store: MemoryStore) -> None:
    store.put("key", b"one")
    for etag in (None, '"another"'):
        with pytest.raises(PreconditionFailed):
            store.put("key", b"two", if_etag=etag)


def test_deleting_and_listing(store: MemoryStore) -> None:
    for key in ("b/2", "b/1", "a"):
        store.put(key, b"")
    store.delete(["b/2", "never there"])
    assert store.list("b/") == ["b/1"]
