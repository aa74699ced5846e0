"""Fixed requests whose path, method, header or framing is hostile; the body is a valid one."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from tests.hostile.case import Case
from tests.hostile.draft import HEADER_LENGTH, valid
from tests.hostile.strings import TEXTS
from tests.hostile.targets import NUMBERS

__all__ = ["authorizations", "framings", "routes"]

_RIGHT = valid(NUMBERS)
_MODEL = f"/v2/models/{NUMBERS.name}"
_INFER = NUMBERS.infer
_JOB = f"/v2/jobs/{'0123456789abcdef' * 2}"
"""Of a job that never was."""
_BY_METHOD = ("/v2", _JOB, f"{_JOB}/result", "/v2/uploads")
"""Paths that a client's policy names with their methods, and OPTIONS, which browsers send without a key, is none of them."""


def routes() -> Iterator[Case]:
    """Paths and methods."""
    for name, path, status in _PATHS:
        method = "POST" if path.endswith("infer") else "GET"
        yield _RIGHT.case("path", name, status, method=method, path=path)
    for name, text in TEXTS.items():
        part = quote(text[:1025], safe="")[:6000].rpartition("%")[0] or quote(text[:1025], safe="")
        yield _RIGHT.case("path", f"{name} as a model", 404, path=f"/v2/models/{part}/infer")
        yield _RIGHT.case("path", f"{name} as a version", 404, path=f"{_MODEL}/versions/{part}/infer")
        yield _RIGHT.case("path", f"{name} behind the route", 404, path=f"{_INFER}/{part}")
        yield _RIGHT.case("path", f"{name} as a job", 404, method="GET", path=f"/v2/jobs/{part}/result")
        yield _RIGHT.case("path", f"{name} in the query", 200, path=f"{_INFER}?{part}={part}")
    for path, allowed in (
        (_INFER, {"POST"}),
        (_MODEL, {"GET", "HEAD"}),
        (f"{_MODEL}/ready", {"GET", "HEAD"}),
        ("/v2", {"GET", "HEAD"}),
        ("/v2/health/live", {"GET", "HEAD"}),
        ("/v2/models", {"GET", "HEAD"}),
        (_JOB, {"GET", "HEAD", "DELETE"}),
        (f"{_JOB}/result", {"GET", "HEAD"}),
        ("/v2/uploads", {"POST"}),
    ):
        for method in sorted({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} - allowed):
            status = 403 if method == "OPTIONS" and path in _BY_METHOD else 405
            yield _RIGHT.case("method", f"{method} {path}", status, method=method, path=path)
    for name, body in {"half a list": b"[", "a number": b'{"ready": 1}', "a list": b"[]", "UTF-16": "{}".encode("utf-16"),
                       "a million lists": b"[" * 10**6, "no UTF-8": b"\xff"}.items():  # fmt: skip
        yield _RIGHT.case("path", f"an index of {name}", 400, path="/v2/repository/index", body=body)
    for name, body in _SIZES.items():
        yield _RIGHT.case("path", f"an upload of {name}", 413 if name == "2 TB" else 400, path="/v2/uploads", body=body)
    for method in ("GET", "HEAD", "DELETE"):
        yield _RIGHT.case("path", f"{method} of a job that never was", 404, method=method, path=_JOB)
    for action in ("load", "unload"):
        yield _RIGHT.case("path", f"{action} at a caller's whim", 400, path=f"/v2/repository/models/{NUMBERS.name}/{action}")


_SIZES = {
    "no size": b"{}",
    "no bytes": b'{"size": 0}',
    "fewer": b'{"size": -1}',
    "half a byte": b'{"size": 0.5}',
    "a word": b'{"size": "1"}',
    "NaN": b'{"size": NaN}',
    "5,000 digits": b'{"size": %b}' % (b"9" * 5000),
    "2 TB": b'{"size": 2199023255552}',
    "a million lists": b"[" * 10**6,
    "UTF-16": '{"size": 1}'.encode("utf-16"),
    "no JSON": b"\xff",
}
_PATHS = (
    ("up and out of a job", f"{_JOB}/../../uploads", 404),
    ("another client's job, escaped", "/v2/jobs/%2e%2e%2f_uploads%2flocal", 404),
    ("a key for a job", "/v2/jobs/numbers%2flocal%2f0123/result", 404),
    ("a job behind another model", "/v2/models/nobody/v2/jobs/0123456789abcdef0123456789abcdef", 404),
    ("all jobs", "/v2/jobs", 403),
    ("up and out", f"{_MODEL}/../../../etc/passwd", 404),
    ("up and out, escaped", f"{_MODEL}/versions/%2e%2e%2f%2e%2e/ready", 404),
    ("an alias outside", f"{_MODEL}/versions/..%2f..%2fwords%2faliases%2fproduction/ready", 404),
    ("another model's alias", f"{_MODEL}/versions/..%2fwords/infer", 404),
    ("a zero byte", f"{_MODEL}%00/ready", 404),
    ("no UTF-8", "/v2/models/%ff%fe/ready", 404),
    ("a header", f"{_MODEL}%0d%0aX-Injected:%20yes/ready", 404),
    ("a slash in the name", "/v2/models/a%2fb/infer", 404),
    ("escaped twice", f"{_MODEL}/versions/%252e%252e%252f/infer", 404),
    ("half an escape", f"{_MODEL}/versions/%2/infer", 404),
    ("a device", "/v2/models/con/infer", 404),
    ("1,025 characters", f"/v2/models/{'k' * 1025}/infer", 404),
    ("8,000 characters", f"{_MODEL}/versions/{'a' * 8000}/infer", 404),
    ("a version that never was", f"{_MODEL}/versions/20990101T000000Z-00000000/infer", 404),
    ("a bucket", "/v2/models/s3:%2f%2fbucket%2fkey/infer", 404),
    ("another model", "/v2/models/nobody/infer", 404),
    ("another case", f"/v2/models/{NUMBERS.name.upper()}/infer", 404),
    ("the protocol's first version", f"/v1/models/{NUMBERS.name}:predict", 403),
    ("no path of ours", "/elsewhere", 403),
    ("a configuration file", "/.env", 403),
    ("a repository's file", "/v2/.git/config", 403),
    ("the metadata service", "/latest/meta-data/iam/security-credentials/", 403),
)


def framings() -> Iterator[Case]:
    """Where one server's end of a request is another one's beginning: refused as a whole, and nothing of it is answered."""
    body = _RIGHT.body()
    smuggled = b"GET /v2 HTTP/1.1\r\nHost: test\r\n\r\n"
    length = b"Content-Length: %d" % len(body)
    chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for name, headers, sent in (
        ("two lengths", [length, b"Content-Length: 5"], body),
        ("two lengths in one", [b"Content-Length: %d, 5" % len(body)], body),
        ("a length and chunks", [length, b"Transfer-Encoding: chunked"], chunk + smuggled),
        ("chunks and a length", [b"Transfer-Encoding: chunked", b"Content-Length: 0"], chunk + smuggled),
        ("chunks by another name", [b"Transfer-Encoding: xchunked"], chunk),
        ("chunks twice", [b"Transfer-Encoding: chunked, chunked"], chunk),
        ("chunks under gzip", [b"Transfer-Encoding: gzip, chunked"], chunk),
        ("a negative length", [b"Content-Length: -1"], body),
        ("a length with a sign", [b"Content-Length: +%d" % len(body)], body),
        ("a length in words", [b"Content-Length: many"], body),
        ("a length in hexadecimal", [b"Content-Length: 0x10"], body),
        ("a chunk of a negative size", [b"Transfer-Encoding: chunked"], b"-5\r\n" + body),
        ("a chunk of no size", [b"Transfer-Encoding: chunked"], b"zz\r\n" + body),
        ("a chunk longer than it says", [b"Transfer-Encoding: chunked"], b"3\r\n" + body + b"\r\n0\r\n\r\n"),
        ("a space before the colon", [b"Content-Length : %d" % len(body), length], body),
    ):
        head = b"\r\n".join([b"POST %b%b HTTP/1.1" % (b"{stage}", _INFER.encode()), b"Host: test", b"{key}", *headers, b"", b""])
        yield _RIGHT.case("framing", name, 400, wire=head + sent)
    for name, line in {
        "no request": b"\0\1\2",
        "another protocol": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "half a line": b"POST",
    }.items():
        yield _RIGHT.case("framing", name, 400, wire=line + b"\r\n\r\n")
    for value in ("-1", "text", str(2**31), str(2**63), "", " ", "1e3", "\u00b2"):
        binary = valid(NUMBERS, binary=True)
        yield binary.case("framing", f"a header length of {value!r}", 400, headers=((HEADER_LENGTH, value),))


def authorizations() -> Iterator[Case]:
    """Keys that are none; each is refused before a function of a model runs."""
    secret = "A" * 43
    for name, values in {
        "none": [],
        "empty": [""],
        "a scheme alone": ["Bearer"],
        "a scheme and a space": ["Bearer "],
        "Basic": ["Basic bG9jYWw6c2VjcmV0"],
        "Digest": ['Digest username="local", realm="x"'],
        "AWS": ["AWS4-HMAC-SHA256 Credential=AKIA/20261121/us-east-1/execute-api/aws4_request, SignedHeaders=host, Signature=00"],
        "a client that is none": [f"Bearer sox.nobody.{secret}"],
        "another client's name": [f"Bearer sox.local.{secret}"],
        "a secret that is too short": ["Bearer sox.local.abc"],
        "a secret that is too long": [f"Bearer sox.local.{'A' * 44}"],
        "no client": [f"Bearer sox..{secret}"],
        "8 KB": [f"Bearer sox.local.{'A' * 8000}"],
        "Unicode": ["Bearer sox.l\u00f6cal.\u00fc"],
        "a wildcard": [f"Bearer sox.*.{secret}"],
        "a path": [f"Bearer sox.../../local.{secret}"],
        "a JSON web token": ["Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJsb2NhbCJ9."],
        "SQL": ["Bearer sox.local.' OR '1'='1"],
        "two that are none": [f"Bearer sox.a.{secret}", f"Bearer sox.b.{secret}"],
        "lower case": [f"bearer sox.local.{secret}"],
        "a tab": [f"Bearer\tsox.local.{secret}"],
    }.items():
        for method, path in (("POST", _INFER), ("GET", "/v2"), ("GET", "/v2/models/nobody/ready")):
            headers = tuple(("Authorization", value) for value in values)
            yield _RIGHT.case("authorization", f"{name}, {method} {path}", 401, method=method, path=path, headers=headers, keyless=True)
