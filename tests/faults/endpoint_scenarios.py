"""Every fault of an endpoint that is tried, and what the gateway function is to do about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from tests.faults.proxy import Fault
from tests.unit.modelserve.servers import failure, response
from tests.unit.modelserve.test_sagemaker import error, failed, triton

__all__ = ["ENDPOINT_SCENARIOS", "EndpointScenario"]

_MEANS = {
    "": (200, None),
    "DeadlineExceeded": (504, None),
    "EndpointUnavailable": (503, "1"),
    "InsufficientMemory": (500, None),
    "ModelFailed": (400, None),
    "ModelLoading": (503, "5"),
    "PayloadTooLarge": (413, None),
    "StoreUnavailable": (503, "1"),
    "UnexpectedAnswer": (503, "1"),
}
"""Status and Retry-After of each kind of error."""


@dataclass(frozen=True, kw_only=True)
class EndpointScenario:
    """Faults, and what a caller gets of the request that meets them: the answer, or an error of a `kind` that `says` something."""

    name: str
    faults: tuple[Fault, ...] = ()
    kind: str = ""
    says: str = ""
    calls: int = 1
    """Requests that the runtime gets, all attempts together."""
    pause: str | None = None
    """Retry-After, where it is not that of the kind."""
    seconds: float = 25.0
    """The deadline."""
    fresh: bool = False
    """Nothing was asked before, so that no connection is kept."""
    refused: bool = False
    """Nothing listens."""
    queued: bool = False
    """The endpoint is asynchronous."""

    @property
    def status(self) -> int:
        """Of the caller's answer."""
        return 202 if self.queued and not self.kind else _MEANS[self.kind][0]

    @property
    def retry_after(self) -> str | None:
        """Of the caller's answer."""
        return self.pause or _MEANS[self.kind][1]


_RUNTIME, _REQUEST, _JOB = "POST /endpoints/", "/request HTTP", "/job.json HTTP"
_HURRIED = 1.5  # seconds
_BUSY = error(503, "ServiceUnavailable")
_THROTTLED = error(400, "ThrottlingException")
_LOADING = error(429, "ModelNotReadyException")
_MISSING = error(400, "ValidationError", "Endpoint heavy of account 123456789012 not found.")
_SLOW_DOWN = failure(503, "SlowDown")
_TIMED_OUT = "Your invocation timed out while waiting for a response from container primary."
_NO_MEMORY = "onnx runtime error 6: Non-zero status code returned while running Mul node. Failed to allocate memory for requested buffer"
_REFUSES = "onnx runtime error 2: Non-zero status code returned while running Gather node. Status Message: idx=9 is out of data bounds"


def _told(answer: bytes, *, times: float = float("inf")) -> Fault:
    """SageMaker's own answer, after which the connection stays."""
    return Fault(on=_RUNTIME, times=times, instead=answer, ends="keep")


def _broken(*, times: float = float("inf"), **how: Any) -> Fault:
    return Fault(on=_RUNTIME, times=times, **how)


def _passes(name: str, *faults: Fault, **more: Any) -> EndpointScenario:
    return EndpointScenario(name=name, faults=faults, **more)


def _fails(name: str, kind: str, says: str, *faults: Fault, **more: Any) -> EndpointScenario:
    return EndpointScenario(name=name, faults=faults, kind=kind, says=says, **more)


def _once_or_ever(name: str, answer: bytes, kind: str, says: str, **more: Any) -> tuple[EndpointScenario, ...]:
    """What is tried again."""
    return (
        _passes(f"{name}, once", _told(answer, times=1), calls=2, **more),
        _passes(f"{name}, twice", _told(answer, times=2), calls=3, **more),
        _fails(name, kind, says, _told(answer), calls=3, **more),
    )


def _answered(size: int = 12, **members: Any) -> Callable[[bytes], bytes]:
    """Of an answer one of `size` bytes of zeros, whose output has these members beside."""

    def made(body: bytes) -> bytes:
        document, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        document["outputs"][0] |= {"parameters": {"binary_data_size": size}, **members}
        return orjson.dumps(document).ljust(end) + bytes(size)  # as long as its content type says

    return made


def _untrue(name: str, says: str, body: Callable[[bytes], bytes]) -> EndpointScenario:
    return _fails(name, "UnexpectedAnswer", says, _broken(body=body, ends="keep"))


_MORE = 100 * response(200, bytes(300))  # beyond what a reader buffers

_REALTIME = (
    # SageMaker refuses.
    _fails("no endpoint", "EndpointUnavailable", "-c gpu=on", _told(_MISSING), pause="60"),
    _fails("no archive", "EndpointUnavailable", "no archive of this version", _told(error(400, "ValidationError", "Failed to download"))),
    _fails("403 AccessDeniedException", "EndpointUnavailable", "role may not invoke", _told(error(403, "AccessDeniedException"))),
    _fails("403 ExpiredTokenException", "EndpointUnavailable", "HTTP 403 ExpiredToken", _told(error(403, "ExpiredTokenException"))),
    _fails("307 elsewhere", "EndpointUnavailable", "HTTP 307", _told(response(307, Location="http://127.0.0.1:9/"))),
    _fails("504 of a gateway", "EndpointUnavailable", "HTTP 504", _told(response(504))),
    # SageMaker is busy or broken.
    *_once_or_ever("400 ThrottlingException", _THROTTLED, "EndpointUnavailable", "HTTP 400 ThrottlingException (3 attempts)"),
    *_once_or_ever("503 ServiceUnavailable", _BUSY, "EndpointUnavailable", "HTTP 503 ServiceUnavailable (3 attempts)"),
    *_once_or_ever("429 ModelNotReadyException", _LOADING, "ModelLoading", "still loading it"),
    _fails(
        "500 InternalFailure", "EndpointUnavailable", "HTTP 500 InternalFailure (3 attempts)", _told(error(500, "InternalFailure")), calls=3
    ),
    _fails("503 on a slow connection", "DeadlineExceeded", "within 1.5 s", _broken(instead=_BUSY, rate=20), seconds=_HURRIED),
    # The container fails.
    _fails("424 with 400: the graph fails", "ModelFailed", "out of data bounds", _told(triton(400, _REFUSES))),
    _fails("424 with 500", "EndpointUnavailable", "failed with status 500", _told(triton(500, "Internal error"))),
    _fails("424 with 500: out of memory", "InsufficientMemory", "gpu_instance_type", _told(triton(500, _NO_MEMORY))),
    _fails("424 with 507: no room to load", "InsufficientMemory", "gpu_instance_type", _told(triton(507, "out of memory"))),
    _fails("424: does not load", "EndpointUnavailable", "could not load this version", _told(triton(400, "failed to load 'm'"))),
    _fails("424: timed out", "DeadlineExceeded", "did not answer within", _told(failed(0, _TIMED_OUT))),
    _fails("424 that says nothing", "EndpointUnavailable", "failed with status 500", _told(response(424, b"<html>"))),
    # The network breaks.
    _fails("connection refused", "EndpointUnavailable", "Connection refused", calls=0, fresh=True, refused=True),
    _passes("reset before the answer, once", _broken(times=1, after=0, ends="reset"), calls=2, fresh=True),
    _fails("reset before the answer", "EndpointUnavailable", "(3 attempts)", _broken(after=0, ends="reset"), calls=3, fresh=True),
    _passes("a kept connection is reset, once", _broken(times=1, after=0, ends="reset"), calls=2),
    _fails("a kept connection is reset, and every other", "EndpointUnavailable", "(3 attempts)", _broken(after=0, ends="reset"), calls=4),
    _passes("a kept connection is closed without an answer, once", _broken(times=1, after=0), calls=2),
    _passes("a kept connection is closed behind an answer", _broken(times=1)),
    _fails("reset within the answer's head", "EndpointUnavailable", "the connection broke", _broken(after=40, ends="reset")),
    _fails("reset in the middle of the answer", "EndpointUnavailable", "the connection broke", _broken(after=-6, ends="reset")),
    _fails("half an answer", "EndpointUnavailable", "bytes too early", _broken(after=-6)),
    _fails("half an answer, half closed", "EndpointUnavailable", "bytes too early", _broken(after=-6, ends="half")),
    _fails("an answer that is no HTTP", "EndpointUnavailable", "is not the start of an HTTP response", _told(b"SSH-2.0-OpenSSH_9.9\r\n")),
    _fails(
        "headers without end",
        "EndpointUnavailable",
        "100 headers",
        _told(b"HTTP/1.1 200 OK\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(200))),
    ),
    _passes("a hundred answers more than requests", _broken(times=1, body=lambda body: body + _MORE, announced=-len(_MORE), ends="keep")),
    # It takes too long.
    _passes("an answer after half a second", _broken(wait=0.5, ends="keep")),
    _fails("no answer in time", "DeadlineExceeded", "within 1.5 s", _broken(after=0, ends="stall"), seconds=_HURRIED),
    _fails("an answer after the deadline", "DeadlineExceeded", "within 1.5 s", _broken(wait=2.0, ends="keep"), seconds=_HURRIED),
    _fails("an answer that stops in its middle", "DeadlineExceeded", "within 1.5 s", _broken(after=-6, ends="stall"), seconds=_HURRIED),
    _fails("20 B/s", "DeadlineExceeded", "within 1.5 s", _broken(rate=20, ends="keep"), seconds=_HURRIED),
    _fails(
        "a long answer at 1 KB/s",
        "DeadlineExceeded",
        "within 1.5 s",
        _broken(body=lambda body: 50 * body, rate=1000, ends="keep"),
        seconds=_HURRIED,
    ),
    _passes("1 KB/s", _broken(rate=1000, ends="keep")),
    # Other bytes arrive.
    _untrue("another version", "of it answered", lambda body: re.sub(rb'("model_version":")\d', rb"\g<1>x", body)),
    _untrue("another output", "an output is named 'z'", _answered(name="z")),
    _untrue("another datatype", "datatype 'FP64'", _answered(24, datatype="FP64")),
    _untrue("another shape", "has shape [1, 4]", _answered(16, shape=[1, 4])),
    _untrue("more rows than were asked", "other rows than the 1", _answered(24, shape=[2, 3])),
    _untrue("no rows", "other rows than the 1", _answered(0, shape=[0, 3])),
    _untrue("fewer bytes than the shape has", "has 8 bytes", _answered(8)),
    _untrue("an empty answer", "do not begin with a JSON object", lambda _: b""),
    _untrue("an answer of garbage", "do not begin with a JSON object", lambda _: bytes(range(256))),
    _untrue("a page of HTML", "do not begin with a JSON object", lambda _: b"<html>"),
    _fails("an answer of 17 MiB", "PayloadTooLarge", "larger than 6,291,456 bytes", _broken(body=lambda _: bytes(17 * 2**20), ends="keep")),
)


def _later(name: str, *faults: Fault, kind: str = "", says: str = "", **more: Any) -> EndpointScenario:
    return EndpointScenario(name=f"job: {name}", faults=faults, kind=kind, says=says, queued=True, **more)


_QUEUED = (
    _later("no endpoint", _told(_MISSING), kind="EndpointUnavailable", says="modelctl promote", pause="60"),
    _later("400 ThrottlingException, once", _told(_THROTTLED, times=1), calls=2),
    _later("503 ServiceUnavailable", _told(_BUSY), kind="EndpointUnavailable", says="(3 attempts)", calls=3),
    _later("403 AccessDeniedException", _told(error(403, "AccessDeniedException")), kind="EndpointUnavailable", says="role may not invoke"),
    _later("reset in the middle of the answer", _broken(after=-6, ends="reset"), kind="EndpointUnavailable", says="the connection broke"),
    _later("no answer in time", _broken(after=0, ends="stall"), kind="DeadlineExceeded", says="did not answer within", seconds=_HURRIED),
    _later("an answer that names no places", _told(response(202, b"{}")), kind="EndpointUnavailable", says="names no places"),
    _later("S3 is busy for the request, twice", Fault(on=_REQUEST, times=2, instead=_SLOW_DOWN)),
    _later("S3 is busy for the request", Fault(on=_REQUEST, instead=_SLOW_DOWN), kind="StoreUnavailable", says="SlowDown", calls=0),
    _later(
        "S3 refuses the request", Fault(on=_REQUEST, instead=failure(403, "AccessDenied")), kind="StoreUnavailable", says="403", calls=0
    ),
    _later("S3's answer for the request gets lost", Fault(on=_REQUEST, times=1, after=0, ends="reset")),
    _later("S3 is busy for the job", Fault(on=_JOB, instead=_SLOW_DOWN), kind="StoreUnavailable", says="SlowDown"),
    _later("S3's answer for the job gets lost", Fault(on=_JOB, times=1, after=0, ends="reset")),
)

ENDPOINT_SCENARIOS = (*_REALTIME, *_QUEUED)
