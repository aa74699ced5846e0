"""What a message of a queue asks for, and where its answer goes: a client's job, or a prediction that another service waits for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import orjson

from ._typing import Any, Protocol
from .aws import ServiceUnavailable
from .errors import InvalidRequest, ObjectNotFound, PayloadTooLarge
from .events import FAILED, MADE, MAX_EVENT_BYTES, Event, EventBus
from .jobs import NOBODY, Job, JobTable, check_json, is_id, job_key, status_url
from .protocol import InferRequest, InferResponse, encode, parse, parse_document
from .s3 import S3Bucket

__all__ = ["JOB_FAILED", "JOB_SUCCEEDED", "Places", "UnreadableMessage", "Work", "read_work"]

JOB_SUCCEEDED, JOB_FAILED = "Job Succeeded", "Job Failed"
"""Detail types of what became of a client's job."""


class UnreadableMessage(Exception):
    """A message that asks for nothing that is done here."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f'the message {found}; expected {{"job": id, "client": …, "model": …}}, or {{"id": …, "model": …}} with "request" or "object"'
        )


class Places:
    """Where work is read from and told: the table of jobs, their bucket, any other bucket, and the event bus."""

    __slots__ = ("bucket", "bucket_name", "bus", "clock", "most", "most_json", "opened", "table")

    def __init__(
        self,
        table: JobTable,
        bucket_name: str,
        bus: EventBus,
        *,
        opened: Callable[[str], S3Bucket],
        most: int,
        most_json: int,
        clock: Callable[[], float],
    ) -> None:
        """`opened` gives the bucket of a name; `most` is the size of the largest request, `most_json` that of its JSON, in bytes."""
        self.table = table
        self.bucket_name = bucket_name
        self.bucket = opened(bucket_name)
        self.bus = bus
        self.opened = opened
        self.most = most
        self.most_json = most_json
        self.clock = clock

    def tell(self, kind: str, detail: Mapping[str, Any]) -> None:
        """Puts an event on the bus, where it may arrive twice. Raises `ServiceUnavailable`."""
        if self.bus.put([Event(kind=kind, detail={name: value for name, value in detail.items() if value is not None})]):
            raise ServiceUnavailable("events", "PutEvents", "the event was refused")

    def parsed(self, bucket: S3Bucket, key: str, header_length: int | None, *, version_id: str | None = None) -> tuple[InferRequest, int]:
        """The request that an object holds, and the object's size in bytes.

        Raises `InvalidRequest`, `InvalidInput`, `PayloadTooLarge`, `StoreUnavailable`.
        """
        try:
            body = bucket.read(key, most=self.most, version_id=version_id)
        except ObjectNotFound:
            raise InvalidRequest("the request is no longer kept: it was deleted before it could run; send it again") from None
        if body is None:
            raise PayloadTooLarge("the request", self.most, "send fewer rows, or all of them as a data set")
        check_json(len(body), header_length, self.most_json)
        return parse(body, header_length), len(body)


class Work(Protocol):
    """One thing to do, however often its messages arrive. Everything raises `ServeError`."""

    id: str
    key: str
    """The same for every message that asks for it, and for nothing else."""
    client: str
    model: str
    version: str | None
    """What is asked for; None for the alias of the deployment."""
    size: int
    """Bytes of the object that was read for it; 0 before, and where its message holds the request."""

    def begin(self) -> bool:
        """Whether there is something to run; what had ended before is told again."""

    def is_open(self) -> bool:
        """Whether it waits to be run, though it was done once: it was deleted, and asked for again."""

    def begun(self) -> int:
        """How often it was begun, as far as anybody knows."""

    def read(self) -> InferRequest:
        """What is to be run, once it has begun."""

    def succeed(self, answer: InferResponse, request: InferRequest) -> None:
        """Keeps and tells the answer."""

    def fail(self, error: str, status: int) -> None:
        """Keeps and tells why there is none, with its HTTP status."""


class _JobWork:
    """A client's job: its record is in the table, its answer in the bucket."""

    def __init__(self, places: Places, job: str, client: str, model: str) -> None:
        self.id, self.key, self.client, self.model = job, f"job {job}", client, model
        self.version: str | None = None
        self.size = 0
        self._places = places
        self._job: Job | None = None

    def begin(self) -> bool:
        job = self._job = self._places.table.start(self.id, now=self._places.clock())
        if job is None:  # what a worker that died had written for it is forgotten with the bucket's days: no message says where it is
            return False
        if job.ended:
            self._tell(job)
            return False
        self.client, self.model, self.version = job.client, job.model, job.version
        return True

    def is_open(self) -> bool:
        job = self._places.table.read(self.id, now=self._places.clock())
        return job is not None and not job.ended

    def begun(self) -> int:
        job = self._places.table.read(self.id, now=self._places.clock())
        return 0 if job is None else job.attempts

    def read(self) -> InferRequest:
        assert self._job is not None  # it has begun
        request, self.size = self._places.parsed(self._places.bucket, self._job.request, self._job.header_length)
        return request

    def succeed(self, answer: InferResponse, request: InferRequest) -> None:
        assert self._job is not None
        headers, body = encode(answer, request)
        # In place of one that an attempt left which didn't end: what the table says of size and version is of this one.
        self._places.bucket.replace(self._job.result, body)
        length = headers.get("Inference-Header-Content-Length")
        job = self._places.table.finish(
            self._job,
            now=self._places.clock(),
            size=len(body),
            header_length=None if length is None else int(length),
            version=answer.version,
        )
        if job is None:  # deleted while it ran, and perhaps another asked for under its id
            self._places.bucket.delete(self._job.result)
        else:
            self._tell(job)

    def fail(self, error: str, status: int) -> None:
        now = self._places.clock()
        asked = self._job or self._places.table.read(self.id, now=now)
        job = None if asked is None else self._places.table.fail(asked, now=now, error=error, status=status)
        if job is not None:
            self._tell(job)

    def _tell(self, job: Job) -> None:
        succeeded = job.status == "succeeded"
        self._places.tell(
            JOB_SUCCEEDED if succeeded else JOB_FAILED,
            {
                "id": job.id,
                "client": job.client,
                "model_name": job.model,
                "model_version": job.model_version,
                "status": job.status,
                "created": job.created,
                "finished": job.updated,
                "status_url": status_url(job.id),
                "error": None if succeeded else {"status": job.error_status, "message": job.error},
            },
        )


class _ServiceWork:
    """A prediction for another service, which sent the request or the object that holds it; its answer is an event."""

    client = NOBODY

    def __init__(self, places: Places, document: Mapping[str, Any]) -> None:
        self.id, self.model, self.version = str(document["id"]), str(document["model"]), document.get("version")
        self.size = 0
        self._door = document.get("door")
        # Two doors may let the same event in, for the same model too.
        self.key = f"event {self.model} {self._door or ''} {self.id}"
        self._places = places
        self._document = document

    def begin(self) -> bool:
        return True

    def is_open(self) -> bool:
        return False

    def begun(self) -> int:
        return 0

    def read(self) -> InferRequest:
        document = self._document
        if "request" in document:
            return parse_document(document["request"])
        place = document["object"]
        bucket, version_id = self._places.opened(place["bucket"]), place.get("version_id")
        request, self.size = self._places.parsed(bucket, place["key"], document.get("header_length"), version_id=version_id)
        return request

    def succeed(self, answer: InferResponse, request: InferRequest) -> None:
        headers, body = encode(answer, request)
        about = {**self._about(), "model_version": answer.version}
        length = headers.get("Inference-Header-Content-Length")
        if length is None and len(body) < MAX_EVENT_BYTES:
            self._places.tell(MADE, {**about, "outputs": orjson.loads(body)["outputs"]})
            return
        key = job_key(self.model, NOBODY, hashlib.sha256(self.key.encode()).hexdigest()[:32], "result")
        self._places.bucket.replace(key, body)
        result = {"bucket": self._places.bucket_name, "key": key}
        self._places.tell(MADE, {**about, "result": result if length is None else {**result, "header_length": int(length)}})

    def fail(self, error: str, status: int) -> None:
        self._places.tell(FAILED, {**self._about(), "error": error, "status": status})

    def _about(self) -> dict[str, Any]:
        """What the event says of the question, so that whoever hears it can tell whose answer it is."""
        place = self._document.get("object")
        asked = None if place is None else {"bucket": place["bucket"], "key": place["key"]}
        return {"id": self.id, "door": self._door, "model_name": self.model, "object": asked}


def read_work(body: str, places: Places) -> Work:
    """What a message's body asks for. Raises `UnreadableMessage`."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableMessage("is not JSON") from None
    if not isinstance(document, dict):
        raise UnreadableMessage("is no JSON object")
    if "job" in document:
        job, client, model = (document.get(name) for name in ("job", "client", "model"))
        if not (isinstance(job, str) and is_id(job) and isinstance(client, str) and isinstance(model, str)):
            raise UnreadableMessage("names no job, client and model")
        return _JobWork(places, job, client, model)
    _check(document)
    return _ServiceWork(places, document)


def _check(document: Mapping[str, Any]) -> None:
    if not all(isinstance(document.get(name), str) and document[name] for name in ("id", "model")):
        raise UnreadableMessage('has no "id" and "model" that are text')
    if not all(isinstance(document.get(name), str | None) for name in ("version", "door")):
        raise UnreadableMessage('has a "version" or a "door" that is no text')
    length, place = document.get("header_length"), document.get("object")
    if "request" in document and place is None:
        return
    if not isinstance(place, dict) or not all(isinstance(place.get(name), str) and place[name] for name in ("bucket", "key")):
        raise UnreadableMessage('has not either a "request" or an "object" of "bucket" and "key"')
    if not isinstance(place.get("version_id"), str | None) or not (length is None or (type(length) is int and length >= 0)):
        raise UnreadableMessage('has a "version_id" that is no text, or a "header_length" that is no size')
