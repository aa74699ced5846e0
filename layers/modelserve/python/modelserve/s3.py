"""A lean read-only S3 client: a function that loads boto3 for one GET spends more time importing it than downloading."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from typing import BinaryIO, TypeVar

from ._http import HttpResponse, get
from .errors import ObjectNotFound, StoreUnavailable, UnverifiedModel
from .manifest import Object

__all__ = ["Credentials", "S3Reader"]

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_ATTEMPTS = 3
_PATIENCE = 3.0  # seconds for a small object, all attempts together
_FIRST_PAUSE = 0.05  # seconds, doubled and jittered at each attempt
_TIMEOUT = 2.5  # seconds without a byte
_T = TypeVar("_T")
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PASSING = frozenset({429, 500, 502, 503, 504})


class Credentials:
    """What signs a request; looked up anew each time, because a long-lived environment's may be replaced."""

    __slots__ = ("access_key", "secret_key", "token")

    def __init__(self, access_key: str, secret_key: str, token: str | None) -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.token = token

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Credentials:
        """From the variables Lambda sets, or the container endpoint that takes their place under SnapStart."""
        uri = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        if "AWS_ACCESS_KEY_ID" in environ:
            return cls(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN"))
        if uri:
            return cls._from_container(uri, environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""))
        raise StoreUnavailable("any request", "there are no AWS credentials in the environment")

    @classmethod
    def _from_container(cls, uri: str, authorization: str) -> Credentials:
        import json  # noqa: PLC0415 - only under SnapStart

        secure, host, target = _address(uri)
        headers = {"Host": host, "Authorization": authorization}
        try:
            with get(host, target, headers, secure=secure, timeout=_TIMEOUT) as response:
                answer = json.loads(response.read())
            return cls(answer["AccessKeyId"], answer["SecretAccessKey"], answer.get("Token"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable("any request", f"the credentials endpoint did not answer ({error!r})") from None


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
        self._remaining = remaining
        self._region = region
        self._credentials = credentials
        self._sleep = sleep
        if endpoint:
            self._secure, self._host, _ = _address(endpoint)
            self._base = f"/{bucket}/"
        else:
            domain = f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
            # A certificate covers one label before the domain: a bucket with dots goes into the path.
            self._secure, self._host, self._base = (True, domain, f"/{bucket}/") if "." in bucket else (True, f"{bucket}.{domain}", "/")

    @classmethod
    def from_environ(cls, bucket: str, environ: Mapping[str, str], *, remaining: Callable[[], float] = lambda: inf) -> S3Reader:
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
        headers = {"If-None-Match": unless_etag} if unless_etag else {}

        def read(response: HttpResponse, ends: float) -> Object | None:
            body = b"".join(_until(ends, response.chunks()))
            if response.status == 304:
                return None
            return Object(body, response.headers.get("etag", ""), response.headers.get("x-amz-version-id"))

        return self._retried(key, _version(version_id), headers, read, patience=_PATIENCE)

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:
        """Raises `UnverifiedModel`, and leaves no file, unless the bytes are the ones named."""
        partial = f"{to}.partial"

        def save(response: HttpResponse, ends: float) -> tuple[str, int]:
            digest = hashlib.sha256()
            with open(partial, "wb") as file:
                for chunk in _until(ends, response.chunks()):
                    digest.update(chunk)
                    _write(file, chunk)
                return digest.hexdigest(), file.tell()

        try:
            found = self._retried(key, _version(version_id), {}, save, patience=inf)
            if found != (sha256, size):
                raise UnverifiedModel(key, "SHA-256 {} of {} bytes".format(*found), f"{sha256} of {size} bytes")
            os.rename(partial, to)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)

    def list(self, prefix: str) -> list[str]:
        """Every key under `prefix`, sorted."""
        from xml.etree import ElementTree  # noqa: PLC0415 - only a version named by its number needs a listing

        def read(response: HttpResponse, ends: float) -> bytes:
            return b"".join(_until(ends, response.chunks()))

        keys: list[str] = []
        query = {"list-type": "2", "prefix": prefix}
        while True:
            # S3 answers over TLS to a signed request: not the untrusted XML that S314 warns of.
            root = ElementTree.fromstring(self._retried("", query, {}, read, patience=_PATIENCE))  # noqa: S314
            keys += [element.text or "" for element in root.iterfind("{*}Contents/{*}Key")]
            token = root.findtext("{*}NextContinuationToken")
            if not token:
                return sorted(keys)
            query["continuation-token"] = token

    def _retried(
        self, key: str, query: dict[str, str], headers: dict[str, str], read: Callable[[HttpResponse, float], _T], *, patience: float
    ) -> _T:
        """What `read` makes of the answer before its end; a passing fault is tried again, also one in the middle of the body."""
        ends = time.monotonic() + min(patience, self._remaining())
        pause = _FIRST_PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._request(key, query, headers, timeout=max(0.001, min(_TIMEOUT, ends - time.monotonic()))) as response:
                    if response.status in _PASSING:
                        raise _PassingFault(f"HTTP {response.status} {_code(response.read())}")
                    self._refuse(key, response)
                    return read(response, ends)
            except (_PassingFault, OSError) as error:
                if attempt == _ATTEMPTS or time.monotonic() + pause >= ends:
                    raise StoreUnavailable(key, f"{error or type(error).__name__} ({attempt} attempts)") from None
            self._sleep(pause * (0.5 + os.urandom(1)[0] / 256))
            pause *= 2
        raise AssertionError  # the last attempt returns or raises

    @contextmanager
    def _request(self, key: str, query: dict[str, str], headers: dict[str, str], *, timeout: float) -> Iterator[HttpResponse]:
        path = self._base + _quote(key, "/")
        arguments = "&".join(f"{name}={_quote(value)}" for name, value in sorted(query.items()))
        signed = _sign(self._credentials(), self._region, self._host, path, arguments)
        target = f"{path}?{arguments}" if arguments else path
        with get(self._host, target, headers | signed, secure=self._secure, timeout=timeout) as response:
            yield response

    @staticmethod
    def _refuse(key: str, response: HttpResponse) -> None:
        if response.status in {200, 304}:
            return
        code = _code(response.read())
        if response.status == 404 and code != "NoSuchBucket":
            raise ObjectNotFound(key)
        raise StoreUnavailable(key, f"HTTP {response.status} {code}")


class _PassingFault(Exception):
    """An answer that may be another one soon."""


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise StoreUnavailable(file.name, f"{error.strerror} while writing; raise ephemeral_storage in model.toml") from None


def _until(ends: float, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """A peer that sends a byte now and then must not hold a request for good."""
    for chunk in chunks:
        if time.monotonic() > ends:
            raise TimeoutError("the answer did not end in time")
        yield chunk


def _code(body: bytes) -> str:
    match = re.search(rb"<Code>([A-Za-z.]{1,64})</Code>", body)
    return match[1].decode() if match else ""


def _version(version_id: str | None) -> dict[str, str]:
    return {"versionId": version_id} if version_id else {}


def _quote(text: str, safe: str = "") -> str:
    """As the signature wants it: all but letters, digits and `-._~` as percent and two digits."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED + safe else f"%{byte:02X}" for byte in text.encode())


def _address(url: str) -> tuple[bool, str, str]:
    """Whether it is https, the host with its port, and the target behind it."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme == "https", host, slash + path


def _sign(credentials: Credentials, region: str, host: str, path: str, query: str) -> dict[str, str]:
    """The headers of AWS Signature Version 4 for a GET without a body."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {"host": host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": stamp}
    if credentials.token:
        headers["x-amz-security-token"] = credentials.token
    names = ";".join(headers)  # already in the order the signature wants
    canonical = "\n".join(["GET", path, query, *(f"{name}:{value}" for name, value in headers.items()), "", names, _EMPTY_SHA256])
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers
