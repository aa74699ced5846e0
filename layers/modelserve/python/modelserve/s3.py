"""A lean S3 client: a function that loads boto3 for one GET spends more time importing it than downloading."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from math import inf

from ._background import Background
from ._connections import Connections
from ._digest import hasher
from ._disk import write
from ._hosts import bucket_address, s3_of
from ._http import HttpResponse
from ._typing import Self, TypeVar
from .aws import PATIENCE, Credentials, PassingFault, Request, Service, error_code, quote
from .errors import ObjectNotFound, PreconditionFailed, StoreUnavailable, UnverifiedModel
from .manifest import File, Object

__all__ = ["S3Bucket", "S3Reader"]

_RANGED = 16 * 2**20  # bytes from which a file comes in ranges over several connections
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
        connections: Connections | None = None,
    ) -> None:
        """`remaining` tells the seconds that the invocation has left; nothing here takes longer. `connections` may have been opened."""
        url, self._base = bucket_address(bucket, region=region, endpoint=endpoint)
        self._service = _Objects("s3", region=region, url=url, credentials=credentials, remaining=remaining, sleep=sleep)
        self._service.connections = connections or Connections.to(url)
        self._begun: dict[str, Background[Object | None]] = {}

    @classmethod
    def from_environ(
        cls,
        bucket: str,
        environ: Mapping[str, str],
        *,
        remaining: Callable[[], float] = lambda: inf,
        connections: Connections | None = None,
    ) -> Self:
        """With region, credentials and endpoint as Lambda and the AWS SDKs name them."""
        region, endpoint = s3_of(environ)
        credentials = lambda: Credentials.from_environ(environ)  # noqa: E731
        return cls(bucket, region=region, endpoint=endpoint, credentials=credentials, remaining=remaining, connections=connections)

    def begin(self, key: str) -> None:
        """Begins to read an object, beside what the caller does next: the first `get` of it is given the answer, or raises for it.

        A second connection is opened meanwhile, for whatever comes next.
        """
        self._service.connections.open(2)
        self._begun[key] = Background(lambda: self._get(key, None, None))

    def close(self) -> None:
        """Lets go of every connection; the next request opens another."""
        self._service.close()

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        """None when the object still has `unless_etag`. Raises `ObjectNotFound`, `StoreUnavailable`."""
        begun = self._begun.pop(key, None)
        if begun is not None and version_id is unless_etag is None:
            return begun.result()
        return self._get(key, version_id, unless_etag)

    def _get(self, key: str, version_id: str | None, unless_etag: str | None) -> Object | None:
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
        wanted = File(path=key, size=size, sha256=sha256, version_id=version_id)
        ends = time.monotonic() + PATIENCE + size / _SLOWEST
        try:
            if size < _RANGED or not self._in_ranges(wanted, unverified, ends):
                self._whole(wanted, unverified, ends)
            os.rename(unverified, to)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(unverified)

    def _whole(self, wanted: File, to: str, ends: float) -> None:
        def save(response: HttpResponse) -> tuple[str, int]:
            digest = hasher(wanted.size)
            with open(to, "wb", 0) as file:  # what a buffer can't write it tries again when it is closed, past our error
                at = 0
                for chunk in response.chunks():
                    digest.update(chunk)
                    at = write(file.fileno(), chunk, at, name=to)
                    if at > wanted.size:  # an answer that never ends would fill the disk
                        raise UnverifiedModel(wanted.path, f"more than {wanted.size} bytes", f"{wanted.size} bytes")
                return digest.hexdigest(), at

        sent = self._object(wanted.path, wanted.version_id, {})
        _verify(wanted, *self._send(sent, wanted.path, save, patience=ends - time.monotonic()))

    def _in_ranges(self, wanted: File, to: str, ends: float) -> bool:
        """False from a server that knows no ranges."""
        from ._ranges import Ranges, Unranged  # noqa: PLC0415 - most models are small

        key = wanted.path

        def fetch(begin: int, end: int, read: Callable[[HttpResponse], None]) -> None:
            sent = self._object(key, wanted.version_id, {"range": f"bytes={begin}-{end - 1}"})
            self._service.send(sent, read, patience=ends - time.monotonic(), failed=partial(StoreUnavailable, key))

        try:
            found = Ranges(key, wanted.size, fetch, refused=partial(_refusal, Request("GET", ""), key)).save(to)
        except Unranged:
            return False
        _verify(wanted, found, wanted.size)
        return True

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


class _Objects(Service):
    """S3 of one host, whose connections are kept for what is read."""

    connections: Connections

    def close(self) -> None:
        self.connections.close()

    def _response(self, sent: Request, ends: float) -> AbstractContextManager[HttpResponse]:
        if sent.method != "GET":  # a write that is sent again meets itself
            return super()._response(sent, ends)
        headers, target = self._signed(sent)
        return self.connections.request("GET", target, headers, timeout=self._timeout(ends), ends=ends)


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


def _verify(wanted: File, sha256: str, size: int) -> None:
    if (sha256, size) != (wanted.sha256, wanted.size):
        raise UnverifiedModel(wanted.path, f"SHA-256 {sha256} of {size} bytes", f"{wanted.sha256} of {wanted.size} bytes")


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
