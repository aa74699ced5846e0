"""Answers that take their time: a request waits in S3 for an asynchronous endpoint, and its caller comes back for the answer."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import orjson

from .dataplane import MOST_ANSWERED_BYTES, DataPlane, answer_too_large, finished
from .endpoints import Response, json_response
from .errors import JobExpired, JobNotFound, ObjectNotFound, PreconditionFailed, UnexpectedAnswer, VersionNotFound
from .manifest import TensorSpec
from .protocol import InferRequest, RequestedOutput, encode
from .record import Record, replace
from .sagemaker import EXPIRES_SECONDS, model_error
from .triton import decode_response

if TYPE_CHECKING:
    from .endpoint import EndpointModel
    from .s3 import S3Bucket
    from .sagemaker import Endpoint
    from .tensors import Tensor

__all__ = ["AsyncJobs", "only"]

_ID = re.compile(r"[0-9a-f]{32}")
_NOBODY = "-"  # no client has this name
_RETRY_SECONDS = 5


class _Job(Record):
    """What an answer is made with, unless another version runs the request: one that was promoted while it waited."""

    version: str
    archive: int
    """What Triton calls the version."""
    labels: tuple[str, ...]
    """Empty where the answer names no class."""
    outputs: tuple[TensorSpec, ...]
    """Those that were asked for, in the order of the answer."""
    request: InferRequest
    """As it was sent, less its inputs."""
    created: float
    """Seconds since 1970."""
    answer: str
    """The key that the answer will have."""
    failure: str
    """The key that an error will have."""


class AsyncJobs:
    """The jobs of one model."""

    def __init__(
        self, name: str, plane: DataPlane, queue: Endpoint, store: S3Bucket, bucket: str, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`store` is the bucket of the name `bucket`; the models of `plane` are `EndpointModel`s."""
        self._name = name
        self._plane = plane
        self._queue = queue
        self._store = store
        self._address = f"s3://{bucket}/"
        self._clock = clock

    def submit(self, version: str | None, request: InferRequest, *, client: str | None, seconds: float) -> Response:
        """Leaves a checked request to the endpoint; the response says where to ask for its answer. Raises `ServeError`."""
        ends = time.monotonic() + seconds
        found, names = self._plane.checked(version, request)
        model = cast("EndpointModel", found)
        content_type, body = model.request(request.inputs, names)
        job = os.urandom(16).hex()
        key = self._key(client, job, "request")
        self._put(key, body)
        places = self._queue.invoke_async(self._address + key, content_type, job, seconds=ends - time.monotonic())
        self._put(self._key(client, job, "job.json"), _dump(self._job(model, request, names, places)))
        response = self._pending(job, model.version)
        response.headers["Location"] = f"jobs/{job}"
        return response

    def answer(self, job: str, *, client: str | None) -> Response:
        """What the model answered, or that it has not yet. Raises `JobNotFound`, `JobExpired`, and what became of the request."""
        kept = self._kept(job, client)
        body = self._read(kept.answer)
        if body is None:
            return self._unanswered(job, kept)
        kept, outputs = self._answered(kept, body)
        answer = finished(outputs, kept.request, name=self._name, version=kept.version, labels=kept.labels)
        response = Response(200, *encode(answer, kept.request))
        response.version = kept.version
        return response

    def _answered(self, kept: _Job, body: bytes) -> tuple[_Job, list[Tensor]]:
        """The answer's tensors, and the job as the version has it that answered. Raises `UnexpectedAnswer`."""
        try:
            return kept, decode_response("", body, kept.outputs, archive=kept.archive)  # S3 may not tell the content type
        except UnexpectedAnswer:
            model = cast("EndpointModel", self._plane.find(None))
            if model.version == kept.version:
                raise
            specs = {spec.name: spec for spec in model.outputs}
            outputs = tuple(specs.get(spec.name, spec) for spec in kept.outputs)
            kept = replace(kept, version=model.version, labels=model.labels, outputs=outputs)
            return kept, decode_response("", body, outputs, archive=model.archive)

    def _job(self, model: EndpointModel, request: InferRequest, names: list[str], places: tuple[str, str]) -> _Job:
        specs = {spec.name: spec for spec in model.outputs}
        answer, failure = (place.removeprefix(self._address) for place in places)
        return _Job(
            version=model.version,
            archive=model.archive,
            labels=model.labels if any(output.classification for output in request.outputs or ()) else (),
            outputs=tuple(specs[name] for name in names),
            request=request,
            created=self._clock(),
            answer=answer,
            failure=failure,
        )

    def _unanswered(self, job: str, kept: _Job) -> Response:
        failure = self._read(kept.failure)
        if failure is not None:
            raise model_error(self._name, self._queue.name, failure)
        if self._clock() - kept.created > EXPIRES_SECONDS:
            raise JobExpired(self._name, job, EXPIRES_SECONDS)
        return self._pending(job, kept.version)

    def _pending(self, job: str, version: str) -> Response:
        document = {"id": job, "model_name": self._name, "model_version": version, "status_url": f"/v2/models/{self._name}/jobs/{job}"}
        response = json_response(document, 202)
        response.headers["Retry-After"] = str(_RETRY_SECONDS)
        response.version = version
        return response

    def _key(self, client: str | None, job: str, name: str) -> str:
        return f"{self._name}/{client or _NOBODY}/{job}/{name}"

    def _kept(self, job: str, client: str | None) -> _Job:
        body = self._read(self._key(client, job, "job.json")) if _ID.fullmatch(job) else None
        if body is None:
            raise JobNotFound(self._name, job)
        return _parse(body)

    def _read(self, key: str) -> bytes | None:
        """None where there is no such object. Raises `PayloadTooLarge`."""
        try:
            body = self._store.read(key, most=MOST_ANSWERED_BYTES)
        except ObjectNotFound:
            return None
        if body is None:
            raise answer_too_large()
        return body

    def _put(self, key: str, body: bytes) -> None:
        with suppress(PreconditionFailed):  # written by an attempt whose answer got lost: nobody else can have this key
            self._store.put(key, body)


def only(alias: str, find: Callable[[str | None], EndpointModel]) -> Callable[[str | None], EndpointModel]:
    """`find` for an endpoint that runs one version, the one that `alias` names. The result raises `VersionNotFound` for any other."""

    def found(version: str | None) -> EndpointModel:
        model = find(None)
        if version not in (None, alias, model.version):
            raise VersionNotFound(model.name, str(version))
        return model

    return found


def _dump(job: _Job) -> bytes:
    asked = job.request.outputs
    outputs = None if asked is None else [[output.name, output.binary, output.classification] for output in asked]
    request = {"id": job.request.id, "binary": job.request.binary, "outputs": outputs}
    return orjson.dumps({**vars(job), "request": request}, default=vars)


def _parse(body: bytes) -> _Job:
    document = orjson.loads(body)
    request = document["request"]
    outputs = request["outputs"]
    asked = None if outputs is None else [RequestedOutput(name, binary=binary, classification=count) for name, binary, count in outputs]
    document["request"] = InferRequest([], id=request["id"], outputs=asked, binary=request["binary"])
    document["labels"] = tuple(document["labels"])
    document["outputs"] = tuple(TensorSpec(**{**spec, "shape": tuple(spec["shape"])}) for spec in document["outputs"])
    return _Job(**document)
