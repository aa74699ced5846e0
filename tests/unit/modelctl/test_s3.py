"""The writing side of the model store on moto's S3."""

import hashlib
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.s3.models import s3_backends
from types_boto3_s3.client import S3Client

from modelserve.errors import ObjectNotFound, PreconditionFailed, StoreUnavailable, UnverifiedModel
from tests.unit.modelctl.conftest import BUCKET
from tools.modelctl.s3 import S3Store

MIB = 2**20
LARGE = bytes(range(256)) * (12 * MIB // 256)


@pytest.fixture
def parts(s3: S3Client) -> S3Store:
    """A store that splits what is larger than the smallest part that S3 takes."""
    return S3Store(s3, BUCKET, part_size=5 * MIB)


def uploads(s3: S3Client) -> list[Any]:
    return list(s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_put_answers_the_version_that_get_reads_back(store: S3Store) -> None:
    version = store.put("a", b"one")
    found = store.get("a", version_id=version)
    assert found is not None
    assert (found.body, found.version_id) == (b"one", version)


def test_put_refuses_to_replace_what_it_was_not_told_of(store: S3Store) -> None:
    store.put("a", b"one")
    with pytest.raises(PreconditionFailed):
        store.put("a", b"two")


def test_put_replaces_only_the_state_that_it_names(store: S3Store) -> None:
    store.put("a", b"one")
    before = store.get("a")
    assert before is not None
    store.put("a", b"two", if_etag=before.etag)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"three", if_etag=before.etag)


def test_put_over_an_object_that_is_gone_is_a_failed_precondition(store: S3Store) -> None:
    with pytest.raises(PreconditionFailed):
        store.put("a", b"one", if_etag='"0123"')


def test_get_answers_none_while_nothing_changed(store: S3Store) -> None:
    store.put("a", b"one")
    found = store.get("a")
    assert found is not None
    assert store.get("a", unless_etag=found.etag) is None


def test_get_of_nothing_names_the_key(store: S3Store) -> None:
    with pytest.raises(ObjectNotFound, match="models/none"):
        store.get("models/none")


def test_a_large_file_goes_up_in_parts_and_comes_back_whole(parts: S3Store, s3: S3Client, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(LARGE)
    version = parts.put("large", source)
    assert "-3" in s3.head_object(Bucket=BUCKET, Key="large")["ETag"]  # S3 marks the number of parts
    parts.download("large", version_id=version, size=len(LARGE), sha256=digest(LARGE), to=str(target))
    assert target.read_bytes() == LARGE


def test_a_large_file_does_not_replace_another(parts: S3Store, s3: S3Client, tmp_path: Path) -> None:
    parts.put("large", b"first")
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    with pytest.raises(PreconditionFailed):
        parts.put("large", source)
    assert s3.get_object(Bucket=BUCKET, Key="large")["Body"].read() == b"first"
    assert uploads(s3) == []


def test_an_interrupted_upload_leaves_neither_object_nor_parts(s3: S3Client, tmp_path: Path) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    source = tmp_path / "source"
    source.write_bytes(LARGE)
    with pytest.raises(KeyboardInterrupt):
        S3Store(s3, BUCKET, part_size=5 * MIB, progress=interrupt).put("large", source)
    assert S3Store(s3, BUCKET).list("") == []
    assert uploads(s3) == []


def test_progress_adds_up_to_the_size(s3: S3Client, tmp_path: Path) -> None:
    moved: list[int] = []
    source = tmp_path / "source"
    source.write_bytes(LARGE)
    S3Store(s3, BUCKET, part_size=5 * MIB, progress=moved.append).put("large", source)
    assert sum(moved) == len(LARGE)
    assert len(moved) == 3


@pytest.mark.parametrize(
    ("size", "sha256"),
    [(5, digest(b"other")), (4, digest(b"model")), (6, digest(b"model"))],
    ids=["altered", "longer", "truncated"],
)
def test_a_download_of_other_bytes_leaves_no_file(store: S3Store, tmp_path: Path, size: int, sha256: str) -> None:
    store.put("a", b"model")
    folder = tmp_path / "into"
    folder.mkdir()
    with pytest.raises(UnverifiedModel):
        store.download("a", version_id=None, size=size, sha256=sha256, to=str(folder / "model"))
    assert list(folder.iterdir()) == []


def test_a_failed_download_leaves_the_file_that_was_there(store: S3Store, tmp_path: Path) -> None:
    store.put("a", b"model")
    target = tmp_path / "model"
    target.write_bytes(b"before")
    with pytest.raises(UnverifiedModel):
        store.download("a", version_id=None, size=5, sha256=digest(b"other"), to=str(target))
    assert target.read_bytes() == b"before"


def test_list_reads_every_page(s3: S3Client, store: S3Store) -> None:
    kept: Any = s3_backends["123456789012"]["aws"]  # moto's account; a request for each would take seconds
    for number in range(1001):  # a page holds 1,000
        kept.put_object(BUCKET, f"p/{number:04}", b"")
    assert store.list("p/") == [f"p/{number:04}" for number in range(1001)]
    store.delete(store.list("p/"))
    assert store.list("p/") == []


def test_a_missing_bucket_is_unavailable_and_not_empty(s3: S3Client) -> None:
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        S3Store(s3, "elsewhere").get("a")


def test_an_unreachable_store_says_where_to_look(aws_environment: None) -> None:
    client: Any = boto3.client("s3", endpoint_url="http://127.0.0.1:9", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(StoreUnavailable, match="modelctl doctor"):
        S3Store(client, BUCKET).get("a")
