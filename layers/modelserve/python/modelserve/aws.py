"""Signed requests to AWS over plain sockets: a function that loads boto3 for one call spends more time importing it than calling."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from math import inf

import orjson

from ._digest import hmac, sha256
from ._hosts import address, service_url
from ._http import HttpResponse, request
from ._typing import TYPE_CHECKING, Any, TypeVar
from .errors import ServeError, StoreUnavailable, Unavailable

if TYPE_CHECKING:
    from ._connections import KeptConnection

__all__ = [
    "PATIENCE",
    "ConditionFailed",
    "Credentials",
    "JsonService",
    "PassingFault",
    "Request",
    "Service",
    "ServiceUnavailable",
    "error_code",
    "presign",
    "quote",
    "sign",
]

_ATTEMPTS = 3
PATIENCE = 3.0  # seconds for a small answer, all attempts together
_FIRST_PAUSE = 0.05  # seconds, doubled and jittered at each attempt
_TIMEOUT = 2.5  # seconds without a byte
_UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_PASSING = frozenset({429, 500, 502, 503, 504})
_THROTTLED = frozenset({"ProvisionedThroughputExceededException", "RequestLimitExceeded", "RequestThrottled", "ThrottlingException"})
_ALGORITHM = "AWS4-HMAC-SHA256"
_JSON = {"dynamodb": "1.0", "events": "1.1", "kms": "1.1", "sqs": "1.0"}
_T = TypeVar("_T")


class ServiceUnavailable(Unavailable):
    """An AWS service other than the model store could not be reached, or refused."""

    def __init__(self, service: str, action: str, reason: str) -> None:
        super().__init__(f"{service} could not answer {action}: {reason}; check the function's role and the service's status")


class ConditionFailed(Exception):
    """A conditional write of DynamoDB met another item than the one it was made for, or none; `item` where it was asked for."""

    def __init__(self, item: Any) -> None:
        super().__init__("the condition of the write does not hold")
        self.item = item


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
        if environ.get("AWS_ACCESS_KEY_ID"):  # an empty one is none, as in botocore
            return cls(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"], environ.get("AWS_SESSION_TOKEN"))
        if uri:
            return cls._from_container(uri, environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", ""))
        raise StoreUnavailable("any request", "there are no AWS credentials in the environment")

    @classmethod
    def _from_container(cls, uri: str, authorization: str) -> Credentials:
        secure, host, target = address(uri)
        headers = {"Host": host, "Authorization": authorization}
        try:
            with request("GET", host, target, headers, secure=secure, timeout=_TIMEOUT, ends=time.monotonic() + _TIMEOUT) as response:
                answer = orjson.loads(response.read())
            return cls(answer["AccessKeyId"], answer["SecretAccessKey"], answer.get("Token"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable("any request", f"the credentials endpoint did not answer ({error!r})") from None


class Request:
    """What is sent; `path` is quoted as the signature wants it, names of `headers` are in lower case."""

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        self.method = method
        self.path = path
        self.query = "&".join(f"{name}={quote(value)}" for name, value in sorted((query or {}).items()))
        self.headers = headers or {}
        self.body = body


class Service:
    """One AWS service at one address; its requests are signed, and tried again while patience lasts."""

    passing: frozenset[int] = _PASSING
    """Statuses that are tried again before anything reads their answer."""
    faults: type[OSError] = OSError
    """What of a connection is tried again."""

    def __init__(
        self,
        name: str,
        *,
        region: str,
        url: str,
        credentials: Callable[[], Credentials],
        remaining: Callable[[], float] = lambda: inf,
        sleep: Callable[[float], None] = time.sleep,
        connection: KeptConnection | None = None,
    ) -> None:
        """`remaining` tells the seconds that the invocation has left; nothing here takes longer. Without a `connection` to keep, each
        request has its own."""
        self._name = name
        self._region = region
        self._secure, self._host, _ = address(url)
        self._credentials = credentials
        self._remaining = remaining
        self._sleep = sleep
        self._connection = connection

    def send(
        self,
        sent: Request,
        read: Callable[[HttpResponse], _T],
        *,
        patience: float = PATIENCE,
        failed: Callable[[str], ServeError],
    ) -> _T:
        """What `read` makes of the answer before its end; a passing fault is tried again, also one in the middle of the body.

        `read` may raise `PassingFault`. Raises what `failed` makes of the reason.
        """
        ends = time.monotonic() + min(patience, self._remaining())
        pause = _FIRST_PAUSE
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._response(sent, ends) as response:
                    if response.status in self.passing:
                        raise PassingFault(f"HTTP {response.status} {error_code(response.read())}")
                    return read(response)
            except (PassingFault, self.faults) as error:
                if attempt == _ATTEMPTS or time.monotonic() + pause >= ends:
                    raise failed(f"{error or type(error).__name__} ({attempt} attempts)") from None
            self._sleep(pause * (0.5 + os.urandom(1)[0] / 256))
            pause *= 2
        raise AssertionError  # the last attempt returns or raises

    def close(self) -> None:
        """Lets go of what is kept between requests; the next one connects anew."""
        if self._connection is not None:
            self._connection.close()

    def presigned(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], *, seconds: int) -> str:
        """The URL at which whoever has it may send this one request for `seconds`, or until our credentials end."""
        signed = presign(
            self._credentials(),
            method,
            path,
            query,
            {**headers, "host": self._host},
            region=self._region,
            service=self._name,
            seconds=seconds,
        )
        return f"http{'s' if self._secure else ''}://{self._host}{path}?{signed}"

    def _response(self, sent: Request, ends: float) -> AbstractContextManager[HttpResponse]:
        headers, target = self._signed(sent)
        ask = request if self._connection is None else self._connection.request
        return ask(sent.method, self._host, target, headers, sent.body, secure=self._secure, timeout=self._timeout(ends), ends=ends)

    @staticmethod
    def _timeout(ends: float) -> float:
        """Seconds to wait for a byte."""
        return max(0.001, min(_TIMEOUT, ends - time.monotonic()))

    def _signed(self, sent: Request) -> tuple[dict[str, str], str]:
        """Headers and target."""
        headers = sign(self._credentials(), sent, self._host, region=self._region, service=self._name)
        return headers, f"{sent.path}?{sent.query}" if sent.query else sent.path


class JsonService:
    """A service of AWS's JSON protocol: DynamoDB, EventBridge, KMS or SQS.

    Protocol: https://smithy.io/2.0/aws/protocols/aws-json-1_0-protocol.html
    """

    def __init__(self, name: str, service: Service) -> None:
        self._name = name
        self._type = f"application/x-amz-json-{_JSON[name]}"
        self._service = service

    @classmethod
    def from_environ(
        cls,
        name: str,
        environ: Mapping[str, str],
        *,
        remaining: Callable[[], float] = lambda: inf,
        connection: KeptConnection | None = None,
    ) -> JsonService:
        """`dynamodb`, `events`, `kms` or `sqs`, with region, credentials and endpoint as Lambda and the AWS SDKs name them."""
        region, url = environ.get("AWS_REGION", "us-east-1"), service_url(name, environ)
        credentials = lambda: Credentials.from_environ(environ)  # noqa: E731
        return cls(name, Service(name, region=region, url=url, credentials=credentials, remaining=remaining, connection=connection))

    def close(self) -> None:
        """Lets go of the connection that is kept, if any; the next call opens another."""
        self._service.close()

    def call(self, target: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one action, such as `DynamoDB_20120810.GetItem`. Raises `ServiceUnavailable`, `ConditionFailed`."""
        action = target.rpartition(".")[2]

        def failed(reason: str) -> ServiceUnavailable:
            return ServiceUnavailable(self._name, action, reason)

        def read(response: HttpResponse) -> dict[str, Any]:
            body = response.read()
            code = error_code(body)
            if response.status == 400 and code in _THROTTLED:
                raise PassingFault(f"HTTP 400 {code}")
            if response.status == 400 and code == "ConditionalCheckFailedException":
                raise ConditionFailed(_document(body, failed).get("Item"))
            if response.status != 200:
                raise failed(f"HTTP {response.status} {code}")
            return _document(body, failed)

        headers = {"content-type": self._type, "x-amz-target": target}
        return self._service.send(Request("POST", "/", headers=headers, body=orjson.dumps(document)), read, failed=failed)


class PassingFault(Exception):
    """An answer that may be another one soon."""


def _document(body: bytes, failed: Callable[[str], Unavailable]) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise failed("the answer is no JSON object")
    return document


def error_code(body: bytes) -> str:
    """The name that AWS gives an error, in XML or JSON; no other part of a body is safe to repeat."""
    match = re.search(rb'<Code>([A-Za-z.]{1,64})</Code>|"__type" *: *"(?:[^"#]*#)?([A-Za-z.]{1,64})"', body)
    return (match[1] or match[2]).decode() if match else ""


def quote(text: str, safe: str = "") -> str:
    """As the signature wants it: all but letters, digits and `-._~` as percent and two digits."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED + safe else f"%{byte:02X}" for byte in text.encode())


def sign(credentials: Credentials, sent: Request, host: str, *, region: str, service: str) -> dict[str, str]:
    """The headers of a request with those of AWS Signature Version 4, which covers them all.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
    """
    stamp = _stamp()
    content = sha256(sent.body).hexdigest()
    signed = {**sent.headers, "host": host, "x-amz-content-sha256": content, "x-amz-date": stamp}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    scope = _scope(stamp, region, service)
    signature = _signature(credentials, sent, signed, content, stamp=stamp, scope=scope)
    names = ";".join(sorted(signed))
    signed["authorization"] = f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return signed


def presign(
    credentials: Credentials,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    *,
    region: str,
    service: str,
    seconds: int,
) -> str:
    """`query` with AWS Signature Version 4, for a request of any body that has all of `headers`, `host` among them, within `seconds`.

    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    stamp = _stamp()
    scope = _scope(stamp, region, service)
    signed = {
        **query,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{credentials.access_key}/{scope}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": ";".join(sorted(headers)),
    }
    if credentials.token:
        signed["X-Amz-Security-Token"] = credentials.token
    sent = Request(method, path, query=signed)
    signature = _signature(credentials, sent, headers, "UNSIGNED-PAYLOAD", stamp=stamp, scope=scope)
    return f"{sent.query}&X-Amz-Signature={signature}"


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _scope(stamp: str, region: str, service: str) -> str:
    return f"{stamp[:8]}/{region}/{service}/aws4_request"


def _signature(credentials: Credentials, sent: Request, headers: Mapping[str, str], content: str, *, stamp: str, scope: str) -> str:
    """Covers `headers` and `content`, the body's SHA-256, and not those of `sent`."""
    names = sorted(headers)
    lines = [sent.method, sent.path, sent.query, *(f"{name}:{headers[name]}" for name in names), "", ";".join(names), content]
    canonical = sha256("\n".join(lines).encode()).hexdigest()
    key = f"AWS4{credentials.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac(key, part.encode())
    return hmac(key, f"{_ALGORITHM}\n{stamp}\n{scope}\n{canonical}".encode()).hex()
