"""The model store's writing side, on boto3; functions read with the lean `modelserve.s3`."""

from __future__ import annotations

import hashlib
import itertools
import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from modelserve.errors import ObjectNotFound, PreconditionFailed, StoreUnavailable, UnverifiedModel
from modelserve.manifest import Object

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

__all__ = ["S3Store"]

PART = 64 * 2**20
"""Bytes of a part; S3 takes 10,000 of them, so that a file may be 625 GiB."""
_CHUNK = 2**20
_CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "404"}


class S3Store:
    """A bucket as `modelserve.versions.Writer`; `progress` is told the bytes of each piece sent or received."""

    def __init__(self, client: S3Client, bucket: str, *, progress: Callable[[int], None] | None = None, part_size: int = PART) -> None:
        self._client = client
        self._bucket = bucket
        self._progress = progress or (lambda _: None)
        self._part_size = part_size

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        """None when the object still has `unless_etag`. Raises `ObjectNotFound`, `StoreUnavailable`."""
        conditions: Any = _given(VersionId=version_id, IfNoneMatch=unless_etag)
        try:
            with self._errors(key):
                found = self._client.get_object(Bucket=self._bucket, Key=key, **conditions)
                return Object(found["Body"].read(), found["ETag"], found.get("VersionId"))
        except _NotModified:
            return None

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:
        """Raises `UnverifiedModel`, and leaves no file, unless the bytes are the ones named."""
        part = Path(f"{to}.part")
        try:
            with self._errors(key), part.open("wb") as file:
                found = self._client.get_object(Bucket=self._bucket, Key=key, **_given(VersionId=version_id))
                self._receive(found["Body"].iter_chunks(_CHUNK), file, key, size, sha256)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)

    def list(self, prefix: str) -> list[str]:
        """Every key under `prefix`, sorted."""
        with self._errors(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
            return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        """Writes a new object, or over the state `if_etag`; returns its VersionId. Raises `PreconditionFailed`, `StoreUnavailable`."""
        condition: Any = {"IfMatch": if_etag} if if_etag else {"IfNoneMatch": "*"}
        try:
            with self._errors(key):
                if isinstance(body, Path):
                    return self._put_file(key, body, condition)
                return self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **condition).get("VersionId")
        except ObjectNotFound:  # If-Match on an object that is gone
            raise PreconditionFailed(key) from None

    def verify(self, key: str, *, size: int, sha256: str) -> str | None:
        """The VersionId of what lies there. Raises `ObjectNotFound`; `UnverifiedModel` unless the bytes are the ones named.

        S3's own SHA-256 of the whole is proof; an object without one, such as one that went up in parts, is read.
        """
        with self._errors(key):
            found = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
            version = found.get("VersionId")
            if found["ContentLength"] != size:
                raise UnverifiedModel(key, f"{found['ContentLength']:,} bytes", f"{size:,} bytes with SHA-256 {sha256}")
            if found.get("ChecksumSHA256") != b64encode(bytes.fromhex(sha256)).decode():
                body = self._client.get_object(Bucket=self._bucket, Key=key, **_given(VersionId=version))["Body"]
                with Path(os.devnull).open("wb") as nowhere:
                    self._receive(body.iter_chunks(_CHUNK), nowhere, key, size, sha256)
            else:
                self._progress(size)
        return version

    def delete(self, keys: Iterable[str]) -> None:
        """Deletes what exists of `keys`. Raises `StoreUnavailable` when one of them is refused."""
        remaining = iter(keys)
        while batch := list(itertools.islice(remaining, 1000)):  # as many as S3 takes at once
            with self._errors(batch[0]):
                objects: Any = [{"Key": key} for key in batch]
                answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise StoreUnavailable(error.get("Key", batch[0]), f"{error.get('Code')}: {error.get('Message')}")

    def _receive(self, chunks: Iterator[bytes], file: BinaryIO, key: str, size: int, sha256: str) -> None:
        digest, received = hashlib.sha256(), 0
        for chunk in chunks:
            received += len(chunk)
            if received > size:
                raise UnverifiedModel(key, f"more than {size:,} bytes", f"{size:,} bytes")
            digest.update(chunk)
            file.write(chunk)
            self._progress(len(chunk))
        if received != size or digest.hexdigest() != sha256:
            raise UnverifiedModel(key, f"{received:,} bytes with SHA-256 {digest.hexdigest()}", f"{size:,} bytes with SHA-256 {sha256}")

    def _put_file(self, key: str, path: Path, condition: Any) -> str | None:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size > self._part_size:
                return self._put_parts(key, file, condition)
            # `verify` asks for it; of parts S3 keeps no SHA-256 of the whole.
            answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=file, ChecksumAlgorithm="SHA256", **condition)
        self._progress(size)
        return answer.get("VersionId")

    def _put_parts(self, key: str, file: BinaryIO, condition: Any) -> str | None:
        # boto3's upload_file takes no If-None-Match.
        target: Any = {"Bucket": self._bucket, "Key": key}
        target["UploadId"] = self._client.create_multipart_upload(**target)["UploadId"]
        parts: Any = []
        try:
            while body := file.read(self._part_size):
                number = len(parts) + 1
                parts.append({"PartNumber": number, "ETag": self._client.upload_part(**target, PartNumber=number, Body=body)["ETag"]})
                self._progress(len(body))
            return self._client.complete_multipart_upload(**target, MultipartUpload={"Parts": parts}, **condition).get("VersionId")
        except BaseException:  # Ctrl-C too: parts of an upload that nobody finishes are invisible, and cost money
            self._client.abort_multipart_upload(**target)
            raise

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            raise _meaning(error, key) from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"s3://{self._bucket}/{key}", str(error)) from error


class _NotModified(Exception):
    """The object still has the ETag that the caller knows."""


def _meaning(error: ClientError, key: str) -> Exception:
    details = error.response.get("Error", {})
    code = details.get("Code", "")
    if code in {"304", "NotModified"}:
        return _NotModified()
    if code in _MISSING:
        return ObjectNotFound(key)
    if code in _CHANGED:
        return PreconditionFailed(key)
    return StoreUnavailable(key, f"{code}: {details.get('Message', '')}")


def _given(**parameters: str | None) -> Any:
    return {name: value for name, value in parameters.items() if value is not None}
