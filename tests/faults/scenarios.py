"""Every fault that is tried, and what the function is to do about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from tests.faults.proxy import Fault
from tests.faults.world import SIZE, padded
from tests.unit.modelserve.servers import failure, response

__all__ = ["SCENARIOS", "Expected", "Scenario", "Start"]

Start = Literal["cold", "warm"]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a caller gets of the request that meets the fault, and the kind of error that the log `counts`, if any.

    `answers`: by what was promoted last. `keeps`: by the version before. `refuses`: 503 and Retry-After 1, with `says` in the error.
    """

    outcome: Literal["answers", "keeps", "refuses"]
    says: str = ""
    counts: str = ""

    def __str__(self) -> str:
        if self.outcome == "refuses":
            return f"an error: “{self.says}”"
        return "the answer" if self.outcome == "answers" else "the answer of the version before"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A fault, and what becomes of a function that starts in it, and of one that has a version and is to load the next."""

    name: str
    faults: tuple[Fault, ...] = ()
    cold: Expected
    warm: Expected | None = None
    callers: int = 1
    """At once; each gets an execution environment of its own."""
    moves: bool = False
    """The alias moves on while the model is on its way."""
    disk: int | None = None
    """Bytes that a file may have."""
    container: bool = False
    """Credentials come from the container endpoint, as under SnapStart, and not from variables."""

    @property
    def starts(self) -> tuple[Start, ...]:
        """Which of the two are tried."""
        return ("cold", "warm") if self.warm else ("cold",)

    def expected(self, start: Start) -> Expected:
        return self.warm if start == "warm" and self.warm else self.cold


ALIAS, MANIFEST, MODEL = "/aliases/", "/manifest.json", "/model.onnx"
_HALF = SIZE // 2
_SLOW_DOWN = failure(503, "SlowDown")
_ELSEWHERE = "http://127.0.0.1:9/"  # nothing listens there: whoever follows finds out
_WRONG = padded(666.0)  # of no version: an answer of it would be a wrong one
_ANSWERS = Expected(outcome="answers")


def _passes(name: str, *faults: Fault) -> Scenario:
    return Scenario(name=name, faults=faults, cold=_ANSWERS, warm=_ANSWERS)


def _lasts(name: str, says: str, *faults: Fault, counts: str = "StoreUnavailable", **more: Any) -> Scenario:
    cold = Expected(outcome="refuses", says=says, counts=counts)
    return Scenario(name=name, faults=faults, cold=cold, warm=Expected(outcome="keeps", counts=counts), **more)


def _refused(status: int, code: str, on: str = "") -> Scenario:
    """S3's own answer, which no second attempt would change."""
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return _lasts(f"{status} {code}", f"HTTP {status} {code}", Fault(on=on, instead=response(status, body, Location=_ELSEWHERE)))


def _untrue(name: str, fault: Fault) -> Scenario:
    return _lasts(name, "is not what was published", fault, counts="UnverifiedModel")


def _token(text: str) -> bytes:
    return response(200, json.dumps({"AccessKeyId": "local", "SecretAccessKey": "local", "Token": text}).encode())


SCENARIOS = (
    # S3 is busy or broken.
    _passes("503 SlowDown once for the alias", Fault(on=ALIAS, times=1, instead=_SLOW_DOWN)),
    _passes("503 SlowDown twice for the alias", Fault(on=ALIAS, times=2, instead=_SLOW_DOWN)),
    _lasts("503 SlowDown three times for the alias", "HTTP 503 SlowDown (3 attempts)", Fault(on=ALIAS, times=3, instead=_SLOW_DOWN)),
    _passes("503 SlowDown twice for the manifest", Fault(on=MANIFEST, times=2, instead=_SLOW_DOWN)),
    _passes("503 SlowDown twice for the model", Fault(on=MODEL, times=2, instead=_SLOW_DOWN)),
    _lasts("503 SlowDown for everything", "HTTP 503 SlowDown (3 attempts)", Fault(instead=_SLOW_DOWN)),
    _passes("500 InternalError twice for the model", Fault(on=MODEL, times=2, instead=failure(500, "InternalError"))),
    _lasts(
        "500 InternalError for the model", "HTTP 500 InternalError (3 attempts)", Fault(on=MODEL, instead=failure(500, "InternalError"))
    ),
    _passes(
        "one fault after another",
        Fault(on=ALIAS, times=1, instead=_SLOW_DOWN),
        Fault(on=MANIFEST, times=1, after=0, ends="reset"),
        Fault(on=MODEL, times=1, after=_HALF),
        Fault(on=MODEL, times=1, instead=failure(500, "InternalError")),
    ),
    # S3 refuses.
    _refused(403, "AccessDenied"),
    _refused(403, "RequestTimeTooSkewed"),
    _refused(400, "ExpiredToken"),
    _lasts(
        "expired credentials, renewed a second later",
        "HTTP 400 ExpiredToken",
        Fault(on="GET /credentials/", instead=_token("expired")),
        Fault(on="x-amz-security-token: expired", instead=failure(400, "ExpiredToken")),
        container=True,
    ),
    _lasts("403 AccessDenied by KMS for the model", "HTTP 403 AccessDenied", Fault(on=MODEL, instead=failure(403, "AccessDenied"))),
    _refused(400, "KMS.DisabledException", MODEL),
    Scenario(
        name="404 NoSuchKey for the alias",
        faults=(Fault(on=ALIAS, instead=failure(404, "NoSuchKey")),),
        cold=Expected(outcome="refuses", says="no version of"),  # as of a model that was never promoted
        warm=Expected(outcome="keeps", counts="AliasNotFound"),
    ),
    _lasts("404 NoSuchVersion for the model", "no object", Fault(on=MODEL, instead=failure(404, "NoSuchVersion")), counts="ObjectNotFound"),
    _lasts("404 NoSuchKey for the manifest", "no object", Fault(on=MANIFEST, instead=failure(404, "NoSuchKey")), counts="ObjectNotFound"),
    _refused(404, "NoSuchBucket"),
    _refused(301, "PermanentRedirect"),
    _refused(307, "TemporaryRedirect"),
    _refused(412, "PreconditionFailed", ALIAS),
    _lasts("206 with half of the model", "HTTP 206", Fault(on=MODEL, instead=response(206, _WRONG[:_HALF]))),
    Scenario(
        name="304 for the alias",
        faults=(Fault(on=ALIAS, instead=response(304)),),
        cold=Expected(outcome="refuses", says="HTTP 304", counts="StoreUnavailable"),
        warm=Expected(outcome="keeps"),
    ),
    _lasts("304 for the model", "HTTP 304", Fault(on=MODEL, instead=response(304))),
    _untrue("200 with an error document for the alias", Fault(on=ALIAS, instead=failure(200, "InternalError"))),
    _untrue("200 with an error document for the model", Fault(on=MODEL, instead=failure(200, "InternalError"))),
    # The network breaks.
    _passes("reset at byte 0 twice", Fault(times=2, after=0, ends="reset")),
    _lasts("reset at byte 0", "Connection reset by peer (3 attempts)", Fault(after=0, ends="reset")),
    _passes("reset in the head of the answer, once", Fault(times=1, after=40, ends="reset")),
    _passes("reset in the middle of the model twice", Fault(on=MODEL, times=2, after=_HALF, ends="reset")),
    _lasts("reset in the middle of the model", "(3 attempts)", Fault(on=MODEL, after=_HALF, ends="reset")),
    _passes("closed without an answer, once", Fault(times=1, after=0)),
    _passes("half closed without an answer, once", Fault(times=1, after=0, ends="half")),
    _passes("half of the model under its whole Content-Length, once", Fault(on=MODEL, times=1, after=_HALF)),
    _lasts("half of the model under its whole Content-Length", "bytes too early (3 attempts)", Fault(on=MODEL, after=_HALF)),
    _lasts("Content-Length too large", "1000 bytes too early (3 attempts)", Fault(on=MODEL, announced=1000)),
    _untrue("Content-Length too small for the model", Fault(on=MODEL, announced=-1000)),
    _untrue("Content-Length too small for the alias", Fault(on=ALIAS, announced=-100)),
    _lasts(
        "chunks that are none",
        "is not a size (3 attempts)",
        Fault(instead=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n"),
    ),
    _lasts("another protocol", "is not the start of an HTTP response (3 attempts)", Fault(instead=b"SSH-2.0-OpenSSH_9.9\r\n")),
    _lasts(
        "a status that is no number", "is not the start of an HTTP response", Fault(instead="HTTP/1.1 ²00 OK\r\n\r\n".encode("latin-1"))
    ),
    _lasts(
        "headers without end",
        "more than 100 headers",
        Fault(instead=b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(200))),
    ),
    # Other bytes arrive.
    _untrue("another model of the same size", Fault(on=MODEL, body=lambda _: _WRONG)),
    _untrue("changed in the middle of the download", Fault(on=MODEL, body=lambda body: body[:_HALF] + _WRONG[_HALF:])),
    _untrue("a model that is shorter", Fault(on=MODEL, body=lambda body: body[:-1])),
    _untrue("a model that is longer", Fault(on=MODEL, body=lambda body: body + b"\0")),
    _untrue("an empty model", Fault(on=MODEL, body=lambda _: b"")),
    _untrue("a flipped bit in the manifest", Fault(on=MANIFEST, body=lambda body: body.replace(b"regression", b"pegression"))),
    _untrue("an alias that breaks off", Fault(on=ALIAS, body=lambda body: body[:40])),
    Scenario(name="the alias moves while its model is on the way", faults=(Fault(on=MODEL, times=1, wait=0.5),), moves=True, cold=_ANSWERS),
    # It takes too long.
    _passes("1 KB/s for the alias", Fault(on=ALIAS, rate=1000)),
    _passes("200 KB/s for the model", Fault(on=MODEL, rate=200_000)),
    _lasts("1 KB/s for the model", "timed out", Fault(on=MODEL, rate=1000)),
    _lasts("an alias of 64 MiB", "larger than 16,777,216 bytes (3 attempts)", Fault(on=ALIAS, body=lambda _: b" " * 2**26)),
    _lasts("2 B/s for everything", "timed out", Fault(rate=2)),
    _lasts("503 at 2 B/s", "timed out", Fault(instead=_SLOW_DOWN, rate=2)),
    _passes("the first byte after 2 s", Fault(on=MODEL, wait=2.0)),
    _passes("the first byte after 4 s, once", Fault(on=ALIAS, times=1, wait=4.0)),
    _lasts("the first byte after 4 s", "timed out", Fault(on=ALIAS, wait=4.0)),
    _passes("the model stalls in its middle, once", Fault(on=MODEL, times=1, after=_HALF, ends="stall")),
    _lasts("the model stalls in its middle", "timed out", Fault(on=MODEL, after=_HALF, ends="stall")),
    # On this side.
    _lasts("a full disk", "while writing; raise ephemeral_storage in model.toml", disk=SIZE // 3),
    Scenario(name="two cold starts at once", callers=2, cold=_ANSWERS),
    Scenario(name="two cold starts at once while S3 is busy", callers=2, faults=(Fault(times=2, instead=_SLOW_DOWN),), cold=_ANSWERS),
    Scenario(
        name="two cold starts at once without S3",
        callers=2,
        faults=(Fault(instead=_SLOW_DOWN),),
        cold=Expected(outcome="refuses", says="HTTP 503 SlowDown (3 attempts)", counts="StoreUnavailable"),
    ),
)
