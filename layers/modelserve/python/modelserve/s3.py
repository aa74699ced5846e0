"""A lean S3 client: a function that loads boto3 for one GET spends more time importing it than downloading."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from io import FileIO
from math import inf
from typing import Self, TypeVar

from ._http import HttpResponse
from .aws import PATIENCE, Credentials, PassingFault, Request, Service, domain, error_code, quote
from .errors import ObjectNotFound, PreconditionFailed, StoreUnavailable, UnverifiedModel
from .manifest import Object

__all__ = ["S3Bucket", "S3Reader"]

_SLOWEST = 2**20  # bytes a second, without which a transfer is given up; a function of 256 MB gets many times that
_T = TypeVar("_T")


class S3Reader:
    """A bucket, read with signed requests over plain sockets; satisfies `manifest.Reader`."""

    def __init__(
        self,
        bucket: str,
        *,
        region: str,
        endpoint: str | None,
        credentials: Callable[[], Credentials],
        remaining: Callable[[], float] = lambda: inf,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`remaining` tells the seconds that the invocation has left; nothing here takes longer."""
        host = f"s3.{region}.{domain(region)}"
        # A certificate covers one label before the domain: a bucket with dots goes into the path.
        in_host = not endpoint and "." not in bucket
        self._base = "/" if in_host else f"/{bucket}/"
        url = endpoint or f"https://{bucket + '.' if in_host else ''}{host}"
        self._service = Service("s3", region=region, url=url, credentials=credentials, remaining=remaining, sleep=sleep)

    @classmethod
    def from_environ(cls, bucket: str, environ: Mapping[str, str], *, remaining: Callable[[], float] = lambda: inf) -> Self:
        """With region, credentials and endpoint as Lambda and the AWS SDKs name them."""
        return cls(
            bucket,
            region=environ.get("AWS_REGION", "us-east-1"),
            endpoint=environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL"),
            credentials=lambda: Credentials.from_environ(environ),
            remaining=remaining,
        )

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        """None when the object still has `unless_etag`. Raises `ObjectNotFound`, `StoreUnavailable`."""
        headers = {"if-none-match": unless_etag} if unless_etag else {}

        def read(response: HttpResponse) -> Object | None:
            body = response.read()
            if response.status == 304:
                return None
            return Object(body, response.headers.get("etag", ""), response.headers.get("x-amz-version-id"))

        return self._send(self._object(key, version_id, headers), key, read)

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:
        """Raises `UnverifiedModel`, and leaves no file, unless the bytes are the ones named."""
        unverified = f"{to}.partial"

        def save(response: HttpResponse) -> tuple[str, int]:
            digest = hashlib.sha256()
            with open(unverified, "wb", 0) as file:  # what a buffer can't write it tries again when it is closed, past our error
                for chunk in response.chunks():
                    digest.update(chunk)
                    _write(file, chunk)
                return digest.hexdigest(), file.tell()

        try:
            found = self._send(self._object(key, version_id, {}), key, save, patience=PATIENCE + size / _SLOWEST)
            if found != (sha256, size):
                raise UnverifiedModel(key, "SHA-256 {} of {} bytes".format(*found), f"{sha256} of {size} bytes")
            os.rename(unverified, to)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(unverified)

    def list(self, prefix: str) -> list[str]:
        """Every key under `prefix`, sorted."""
        from xml.etree import ElementTree  # noqa: PLC0415 - only a version named by its number needs a listing

        keys: list[str] = []
        query = {"list-type": "2", "prefix": prefix}
        while True:
            try:
                # S3 answers over TLS to a signed request: not the untrusted XML that S314 warns of.
                root = ElementTree.fromstring(self._send(Request("GET", self._base, query=query), prefix, HttpResponse.read))  # noqa: S314
            except ElementTree.ParseError as error:
                raise StoreUnavailable(prefix, f"its listing is no XML ({error})") from None
            keys += [element.text or "" for element in root.iterfind("{*}Contents/{*}Key")]
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return sorted(keys)
            query["continuation-token"] = token

    def _send(self, sent: Request, key: str, read: Callable[[HttpResponse], _T], *, patience: float = PATIENCE) -> _T:
        def checked(response: HttpResponse) -> _T:
            expected = 204 if sent.method == "DELETE" else 200
            if response.status != expected and not (response.status == 304 and "if-none-match" in sent.headers):
                raise _refusal(sent, key, response)
            return read(response)

        return self._service.send(sent, checked, patience=patience, failed=partial(StoreUnavailable, key))

    def _object(self, key: str, version_id: str | None, headers: Mapping[str, str]) -> Request:
        query = {"versionId": version_id} if version_id else {}
        return Request("GET", self._base + quote(key, "/"), query=query, headers=headers)


class S3Bucket(S3Reader):
    """A bucket of what callers send and get: written to, read up to a size, and opened to them for one object at a time."""

    def read(self, key: str, *, most: int, version_id: str | None = None) -> bytes | None:
        """None for an object of more than `most` bytes. Raises `ObjectNotFound`, `StoreUnavailable`."""

        def read(response: HttpResponse) -> bytes | None:
            body = bytearray()
            for chunk in response.chunks():
                body += chunk
                if len(body) > most:
                    return None
            return bytes(body)

        return self._send(self._object(key, version_id, {}), key, read, patience=PATIENCE + most / _SLOWEST)

    def put(self, key: str, body: bytes) -> None:
        """Writes a new object, encrypted as the bucket says. Raises `PreconditionFailed` where there is one, `StoreUnavailable`.

        Where the answer to a first attempt gets lost, the next one meets the object that it wrote.
        """
        sent = Request("PUT", self._base + quote(key, "/"), headers={"if-none-match": "*"}, body=body)
        self._send(sent, key, HttpResponse.read, patience=PATIENCE + len(body) / _SLOWEST)

    def replace(self, key: str, body: bytes) -> None:
        """Writes an object, whether or not there is one of that key, encrypted as the bucket says. Raises `StoreUnavailable`."""
        sent = Request("PUT", self._base + quote(key, "/"), body=body)
        self._send(sent, key, HttpResponse.read, patience=PATIENCE + len(body) / _SLOWEST)

    def size(self, key: str) -> int:
        """Bytes of an object, of which no more than the first ones are sent. Raises `ObjectNotFound`, `StoreUnavailable`."""
        return self._send(self._object(key, None, {}), key, _announced)

    def delete(self, key: str) -> None:
        """Deletes an object, or nothing where there is none. Raises `StoreUnavailable`."""
        self._send(Request("DELETE", self._base + quote(key, "/")), key, HttpResponse.read)

    def presigned_get(self, key: str, *, content_type: str, seconds: int) -> str:
        """A URL that gives the object, as `content_type`, to whoever has it, for `seconds` or until our credentials end."""
        return self._presigned("GET", key, {"response-content-type": content_type}, {}, seconds)

    def presigned_put(self, key: str, *, size: int, seconds: int) -> str:
        """A URL that takes an object of `size` bytes, no more and no less, for `seconds` or until our credentials end."""
        return self._presigned("PUT", key, {}, {"content-length": str(size)}, seconds)

    def _presigned(self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], seconds: int) -> str:
        return self._service.presigned(method, self._base + quote(key, "/"), query, headers, seconds=seconds)


def _announced(response: HttpResponse) -> int:
    """As a GET has it: the error that answers a HEAD has no body, and tells nothing of it."""
    text = response.headers.get("content-length", "")
    if not text.isdecimal():
        raise PassingFault(f"{text[:20]!r} is not a size")
    return int(text)


def _refusal(sent: Request, key: str, response: HttpResponse) -> Exception:
    code = error_code(response.read())
    if response.status == 404 and code != "NoSuchBucket":
        return ObjectNotFound(key)
    if response.status == 412 and sent.method == "PUT":
        return PreconditionFailed(key)
    if response.status == 409:  # another attempt is being written
        return PassingFault(f"HTTP 409 {code}")
    return StoreUnavailable(key, f"HTTP {response.status} {code}")


def _write(file: FileIO, chunk: bytes) -> None:
    left = memoryview(chunk)
    try:
        while left:
            left = left[file.write(left) :]
    except OSError as error:
        raise StoreUnavailable(file.name, f"{error.strerror} while writing; raise ephemeral_storage in model.toml") from None
