"""What can go wrong, as facts; `protocol.STATUS` says what each means on the wire."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

__all__ = [
    "AliasConflict",
    "AliasNotFound",
    "DeadlineExceeded",
    "EndpointUnavailable",
    "IdempotencyKeyReused",
    "InsufficientMemory",
    "InvalidInput",
    "InvalidRequest",
    "JobExpired",
    "JobNotFound",
    "JobsNotTaken",
    "MethodNotAllowed",
    "ModelFailed",
    "ModelLoading",
    "ModelNotFound",
    "ModelNotReady",
    "ObjectNotFound",
    "PayloadTooLarge",
    "PreconditionFailed",
    "RegistryError",
    "RouteNotFound",
    "ServeError",
    "StoreUnavailable",
    "Unavailable",
    "Unexpected",
    "UnexpectedAnswer",
    "UnsupportedDatatype",
    "UnverifiedModel",
    "UploadNotFound",
    "VersionNotFound",
    "frames",
    "is_no_memory",
    "onnx_reason",
]


class ServeError(Exception):
    """Base of every error this library raises on purpose; its text is safe to show to a caller."""

    retry_after: int | None = None
    """Seconds after which the same call may succeed; None when it never will."""

    @property
    def kind(self) -> str:
        """The name under which logs and metrics count it."""
        return type(self).__name__


class InvalidRequest(ServeError):
    """The bytes are not a request of the Open Inference Protocol."""


class InvalidInput(ServeError):
    """A well-formed request that doesn't fit the model's signature."""


class UnsupportedDatatype(InvalidRequest):
    """A datatype that JSON can't carry, or that the protocol doesn't know."""


class PayloadTooLarge(ServeError):
    """A body or an answer over its limit."""

    def __init__(self, what: str, limit: int, advice: str) -> None:
        super().__init__(f"{what} is larger than {limit:,} bytes; {advice}")


class RouteNotFound(ServeError):
    """No such path."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no route {path!r}; the routes are those of the Open Inference Protocol, such as POST /v2/models/<name>/infer")


class MethodNotAllowed(ServeError):
    """The path exists, but not for this method."""

    def __init__(self, method: str, path: str, allowed: str) -> None:
        super().__init__(f"{method!r} is not answered at {path!r}; use {allowed}")
        self.allowed = allowed


class ModelNotFound(ServeError):
    """No model of that name is served here."""

    def __init__(self, name: str, served: Iterable[str] = ()) -> None:
        names = ", ".join(served)
        super().__init__(
            f"no model {name!r} is served here; " + (f"served: {names}" if names else "POST /v2/repository/index lists the models")
        )


class VersionNotFound(ServeError):
    """The model has no such alias, nor a version that an alias names."""

    def __init__(self, name: str, version: str) -> None:
        super().__init__(
            f"model {name!r} serves no version {version!r}; expected an alias such as 'production', or a version that an alias names; "
            f"`modelctl list` shows them"
        )


class JobNotFound(ServeError):
    """No job of that id, or none of this caller's."""

    def __init__(self, name: str, job: str) -> None:
        advice = "a job and its answer are kept for some days, after which the request is to be sent again"
        super().__init__(f"model {name!r} has no job {job!r:.60} of this caller; {advice}")


class JobsNotTaken(ServeError):
    """Requests of this model are not run later."""

    def __init__(self, name: str, advice: str) -> None:
        super().__init__(f"model {name!r} takes no jobs: {advice}")


class UploadNotFound(ServeError):
    """No upload of that id, or none of this caller's."""

    def __init__(self, upload: str) -> None:
        super().__init__(
            f"there is no upload {upload!r:.60} of this caller; POST /v2/uploads, PUT the request to the URL that it answers with, "
            f"then send the job; uploads are kept for some days"
        )


class IdempotencyKeyReused(ServeError):
    """An Idempotency-Key that this caller sent with another request before."""

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key came with another request before; send that one again, or this one under a key of its own")


class ModelNotReady(ServeError):
    """The model can't answer yet: nothing is promoted, or it could not be loaded."""

    retry_after = 1

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"model {name!r} is not ready: {reason}")


class ModelLoading(ModelNotReady):
    """The endpoint has not finished fetching or loading the version."""

    retry_after = 5

    def __init__(self, name: str) -> None:
        super().__init__(name, "its endpoint is still loading it, which takes up to some minutes; call again")


class DeadlineExceeded(ServeError):
    """The graph ran longer than it may."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"model {name!r} did not answer within {seconds:.3g} s; send fewer rows, or raise `timeout` in its model.toml")


class JobExpired(ServeError):
    """The endpoint never came to the job."""

    def __init__(self, name: str, job: str, seconds: float) -> None:
        super().__init__(
            f"job {job!r} of model {name!r} was not answered within {seconds / 3600:.3g} hours and has expired; send the request again; "
            f"if that happens again, the endpoint doesn't scale up or doesn't keep up: look at its alarms"
        )


class ModelFailed(ServeError):
    """ONNX Runtime could not run the graph on an input that fits the signature."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"model {name!r} could not run on this input: {reason}")


class InsufficientMemory(ServeError):
    """More memory was asked for than the function has; what it serves goes on being served."""

    def __init__(self, name: str, purpose: str = "for this input", *, of: str = "function", advice: str = "raise `memory`") -> None:
        super().__init__(f"model {name!r} needs more memory {purpose} than its {of} has; send fewer rows, or {advice} in its model.toml")


class Unexpected(ServeError):
    """A bug of ours."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the function failed on this request for a reason of its own; its log says why under request {request_id}")


class RegistryError(ServeError):
    """Base of what the model store can answer."""


class ObjectNotFound(RegistryError):
    """The store has no object of that key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the model store has no object {key!r}; publish the model again, or promote another version with modelctl")
        self.key = key


class AliasNotFound(RegistryError):
    """The alias was never set."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(f"no version of {name!r} is promoted to {alias!r}; run: modelctl promote {name} VERSION --alias {alias}")


class Unavailable(RegistryError):
    """What answers this library's requests could not be reached, or refused."""

    retry_after = 1


class StoreUnavailable(Unavailable):
    """The model store could not be reached, or refused."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"the model store could not answer for {what}: {reason}; `modelctl doctor` says what is missing")


class EndpointUnavailable(Unavailable):
    """The SageMaker endpoint that runs the model could not be reached, or refused."""

    def __init__(self, endpoint: str, reason: str, retry_after: int = 1) -> None:
        super().__init__(f"endpoint {endpoint!r} could not answer: {reason}")
        self.retry_after = retry_after


class UnexpectedAnswer(Unavailable):
    """What runs the model answered something that is not the answer of the version asked for."""

    def __init__(self, found: str) -> None:
        advice = "while a promotion is under way ask again; else send the request again, and if that doesn't help publish the model again"
        super().__init__(f"the model's endpoint gave an answer that does not fit its manifest: {found}; {advice}")


class UnverifiedModel(RegistryError):
    """Bytes or metadata that don't match what was published; never parsed."""

    def __init__(self, what: str, found: str, expected: str, advice: str = "publish the model again") -> None:
        super().__init__(f"{what} is not what was published: found {found}, expected {expected}; {advice}")


class PreconditionFailed(RegistryError):
    """A conditional write met another state than the one it was made for."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} was changed by somebody else")


class AliasConflict(RegistryError):
    """Two moves of one alias at once; the other one won."""

    def __init__(self, name: str, alias: str) -> None:
        super().__init__(
            f"alias {alias!r} of {name!r} was moved by somebody else at the same time; look at `modelctl history {name}`, then try again"
        )


def is_no_memory(message: str) -> bool:
    """Whether ONNX Runtime, or CUDA below it, said that memory ran out."""
    return re.search(r"bad_alloc|Failed to allocate memory|out of memory|STATUS_ALLOC_FAILED", message) is not None


def onnx_reason(message: str) -> str:
    """ONNX Runtime's message without its stack, and without the file, line and signature of its build that stand before some."""
    text = message.partition("\n")[0].rpartition("Status Message: ")[2]
    return re.sub(r"/\S+:\d+ [^)]*\) ", "", text)[:300]


def frames(error: BaseException) -> list[str]:
    """Where `error` was raised, the innermost call last; nothing of its text, which may quote what a caller sent."""
    found, step = [], error.__traceback__
    while step:
        code = step.tb_frame.f_code
        found.append(f"{os.path.basename(code.co_filename)}:{step.tb_lineno} {code.co_name}")
        step = step.tb_next
    return found
