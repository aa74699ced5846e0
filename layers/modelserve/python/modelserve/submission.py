"""Jobs as they come in: each is checked as /infer would check it, then kept in S3, a table and a queue, and only then accepted."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from math import inf

import orjson

from ._typing import TYPE_CHECKING, Any
from .aws import JsonService
from .dataplane import DataPlane, check_elements
from .endpoints import Request, Response, content_of, json_response
from .errors import IdempotencyKeyReused, InvalidRequest, JobsNotTaken, ObjectNotFound, PayloadTooLarge, UploadNotFound
from .jobs import NOBODY, RETRY_SECONDS, Job, JobTable, Priority, check_json, is_id, job_key, send, status_url, upload_key
from .protocol import parse
from .s3 import S3Bucket

if TYPE_CHECKING:
    from .settings import PredictSettings
    from .tensors import Data

__all__ = ["Submissions", "job_id", "priority_of"]

_DAY = 86_400
_LONGEST_POINTER = 4096
_KEY = re.compile(r"[ -~]{1,255}")


class _Asked:
    """What a job is to run: a body that came with it, or an upload, which has a header of `header_length` bytes, or none."""

    def __init__(self, parameters: Mapping[str, Any], header_length: int | None, upload: str | None = None) -> None:
        self.parameters = parameters
        self.header_length = header_length
        self.upload = upload


class Submissions:
    """Takes the jobs of one model."""

    def __init__(
        self,
        settings: PredictSettings,
        plane: DataPlane,
        bucket: S3Bucket,
        table: JobTable,
        sqs: JsonService,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._plane = plane
        self._bucket = bucket
        self._table = table
        self._sqs = sqs
        self._clock = clock

    @classmethod
    def from_environ(
        cls, settings: PredictSettings, plane: DataPlane, environ: Mapping[str, str], *, remaining: Callable[[], float] = lambda: inf
    ) -> Submissions:
        """With clients as Lambda and the AWS SDKs name them. Raises `JobsNotTaken` where `settings` name no queue."""
        if not (settings.job_bucket and settings.job_table and settings.high_queue_url and settings.low_queue_url):
            advice = "its function knows no queue of jobs; deploy the stacks again, or POST the request to infer"
            raise JobsNotTaken(settings.model_name, advice)
        dynamodb, sqs = (JsonService.from_environ(name, environ, remaining=remaining) for name in ("dynamodb", "sqs"))
        bucket = S3Bucket.from_environ(settings.job_bucket, environ, remaining=remaining)
        return cls(settings, plane, bucket, JobTable(dynamodb, settings.job_table), sqs)

    def submit(self, version: str | None, request: Request) -> Response:
        """Where to ask for the answer to `request`, which will be run for certain. Raises `ServeError`, and then it may be sent again."""
        body, header_length = content_of(request, limit=self._settings.max_body_bytes)
        asked = self._checked(version, body, header_length, request.client or NOBODY)
        job = self._job(version, request, asked, body)
        known = self._table.read(job.id, now=job.created) if "idempotency-key" in request.headers else None
        kept = known or self._kept(job, None if asked.upload else body)
        if kept.digest != job.digest:
            raise IdempotencyKeyReused
        if kept.status == "queued":  # also one that was there: whoever kept it may not have come to tell the queue
            send(self._sqs, self._settings.high_queue_url if kept.priority == "high" else self._settings.low_queue_url, kept)
        return _accepted(kept, request.path)

    def _checked(self, version: str | None, body: Data, header_length: int | None, client: str) -> _Asked:
        if header_length is None and (pointer := _pointer(body)) is not None:
            self._plane.find(version)
            return self._uploaded(pointer, client)
        check_json(memoryview(body).nbytes, header_length, self._settings.max_json_bytes)  # who runs jobs may have less memory than we
        request = parse(body, header_length)
        self._plane.checked(version, request)
        check_elements(request.inputs, refuse_nan=self._settings.nan_inputs == "refuse")
        return _Asked(request.parameters, header_length)

    def _uploaded(self, pointer: Mapping[str, Any], client: str) -> _Asked:
        """An upload of the client's own, which is there; what is in it is checked when the job runs. Raises `UploadNotFound`."""
        upload, parameters = pointer["upload"], pointer.get("parameters")
        if type(parameters) not in {dict, type(None)}:
            raise InvalidRequest('\'parameters\' of the job is no object; expected one such as {"priority": "low"}, or none')
        if type(upload) is not str or not is_id(upload):
            raise InvalidRequest("'upload' is no id; expected the 32 hex digits that POST /v2/uploads answers with")
        try:
            size = self._bucket.size(upload_key(client, upload))
        except ObjectNotFound:
            raise UploadNotFound(upload) from None
        if not size:
            raise InvalidRequest(f"upload {upload} is empty; PUT the request to the URL that POST /v2/uploads answered with")
        if size > (most := self._settings.upload_megabytes * 2**20):
            raise PayloadTooLarge("the upload", most, "send fewer rows in a job, or all of them as a data set")
        header_length = _header_length(parameters or {}, size)
        check_json(size, header_length, self._settings.max_json_bytes)
        return _Asked(parameters or {}, header_length, upload)

    def _job(self, version: str | None, request: Request, asked: _Asked, body: Data) -> Job:
        client, name, now = request.client or NOBODY, self._settings.model_name, int(self._clock())
        digest = _digest(version, asked.header_length, body)
        job = job_id(client, name, request.headers.get("idempotency-key"))
        return Job(
            id=job,
            client=client,
            model=name,
            version=version,
            priority=priority_of(asked.parameters.get("priority"), request.plan, self._settings.high_plans),
            created=now,
            updated=now,
            expiration=now + self._settings.job_days * _DAY,
            # The name tells what is in it: two requests at once under one key don't write over each other.
            request=upload_key(client, asked.upload) if asked.upload else job_key(name, client, job, f"request-{digest[:16]}"),
            header_length=asked.header_length,
            digest=digest,
        )

    def _kept(self, job: Job, body: Data | None) -> Job:
        """The job as the table has it, which may be one that somebody else has just sent."""
        if body is not None:
            self._bucket.replace(job.request, bytes(body))
        return self._table.create(job)


def job_id(client: str, model: str, key: str | None) -> str:
    """The same id for the same Idempotency-Key of one client and model, another one each time for None. Raises `InvalidRequest`."""
    if key is None:
        return os.urandom(16).hex()
    if not _KEY.fullmatch(key):
        raise InvalidRequest(f"Idempotency-Key has {len(key)} characters, or some that are no printable ASCII; expected 1 to 255 that are")
    return hashlib.sha256(f"{client}\0{model}\0{key}".encode()).hexdigest()[:32]


def priority_of(asked: Any, plan: str | None, high_plans: tuple[str, ...]) -> Priority:
    """The queue of a job whose parameter `priority` is `asked`, a word or Triton's number, None where there is none.

    0 and None leave it to the client's plan. Raises `InvalidRequest`.
    """
    high = plan in high_plans
    if asked is None or (type(asked) is int and asked == 0):
        return "high" if high else "low"
    if asked == "low" or (type(asked) is int and asked > 1):
        return "low"
    if asked != "high" and not (type(asked) is int and asked == 1):
        raise InvalidRequest('parameter \'priority\' is neither "high" nor "low", nor 0 (as the plan says), 1 (high) or more (low)')
    if not high:
        raise InvalidRequest("this client's plan has no jobs of high priority; leave out the parameter 'priority', or send \"low\"")
    return "high"


def _pointer(body: Data) -> dict[str, Any] | None:
    """The object that names an upload; None where the body is a request itself."""
    text = memoryview(body)
    if text.nbytes > _LONGEST_POINTER or b'"upload"' not in bytes(text):
        return None
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None  # the parser says what is wrong
    return document if type(document) is dict and "upload" in document and "inputs" not in document else None


def _header_length(parameters: Mapping[str, Any], size: int) -> int | None:
    length = parameters.get("inference_header_content_length")
    if length is not None and (type(length) is not int or not 0 <= length <= size):
        raise InvalidRequest(
            f"parameter 'inference_header_content_length' is no number from 0 to {size}, the size of the upload; expected the bytes of "
            f"the JSON object before its binary data, or none where all of it is JSON"
        )
    return length


def _digest(version: str | None, header_length: int | None, body: Data) -> str:
    digest = hashlib.sha256(orjson.dumps([version, header_length]))
    digest.update(body)
    return digest.hexdigest()


def _accepted(job: Job, path: str) -> Response:
    document = {"id": job.id, "status": job.status, "model_name": job.model, "status_url": status_url(job.id)}
    response = json_response(document, 202)
    response.headers["Retry-After"] = str(RETRY_SECONDS)
    response.headers["Location"] = "../" * (path.count("/") - 2) + f"jobs/{job.id}"  # whatever stands before /v2
    return response
