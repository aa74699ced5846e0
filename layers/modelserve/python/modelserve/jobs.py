"""Jobs: what is kept of a request that is run later, where its bodies are, and the message by which a queue tells of it.

An item of the table is the one record of a job; who ends it first has ended it, and what is deleted stays deleted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import orjson

from .aws import ConditionFailed, JsonService
from .errors import PayloadTooLarge, ServeError
from .record import Record

__all__ = [
    "NOBODY",
    "RETRY_SECONDS",
    "UPLOADS",
    "Job",
    "JobTable",
    "Priority",
    "UnreadableJob",
    "check_json",
    "from_item",
    "is_id",
    "job_key",
    "message",
    "send",
    "status_url",
    "to_item",
    "upload_key",
]

NOBODY = "-"
"""The client of a job that a service asked for; no client of a key has this name."""
UPLOADS = "_uploads"  # which no model can be called
"""The folder of the bucket of jobs for what clients upload."""
RETRY_SECONDS = 2
"""When it is worth asking for a job again."""
Priority = Literal["high", "low"]
_ID = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"[0-9]{1,15}")
_FORMS = {
    "id": _ID,
    "client": re.compile(r"-|[a-z][a-z0-9-]{0,31}"),
    "model": re.compile(r"[a-z][a-z0-9_]{0,47}"),
    "priority": re.compile("high|low"),
    "status": re.compile("queued|running|succeeded|failed"),
    "digest": re.compile(r"[0-9a-f]{64}"),
}

_OPEN = "(#status IN (:queued, :running) OR (#status = :failed AND error_status >= :fault))"
"""May be run and ended: also what failed for no fault of its request, whose message may be redriven."""
_OPEN_VALUES: dict[str, str | int] = {":queued": "queued", ":running": "running", ":failed": "failed", ":fault": 500}


class UnreadableJob(ServeError):
    """An item of the table that is no job."""

    def __init__(self, job: str) -> None:
        super().__init__(
            f"the record of job {job!r:.60} can't be read: something else wrote it; send the request again, without its Idempotency-Key"
        )


class Job(Record):
    """One request that is run later. Times are in seconds since 1970, sizes in bytes; what is None is not in the table."""

    id: str
    """32 hex digits."""
    client: str
    """Whose it is, or `NOBODY`."""
    model: str
    priority: Priority
    status: Literal["queued", "running", "succeeded", "failed"] = "queued"
    created: int
    updated: int
    expiration: int
    """When the table forgets it."""
    request: str
    """The key of the request's body in the bucket of jobs: the job's own, or an upload."""
    digest: str
    """SHA-256, in hex, of what was asked."""
    attempts: int = 0
    """How often it was begun."""
    version: str | None = None
    """What the request names; None asks for the alias of the deployment."""
    header_length: int | None = None
    """Inference-Header-Content-Length of the request; None for JSON."""
    error: str | None = None
    error_status: int | None = None
    result_size: int | None = None
    result_header_length: int | None = None
    """Inference-Header-Content-Length of the result; None for JSON."""
    model_version: str | None = None
    """The version that answered."""

    @property
    def ended(self) -> bool:
        """Whether it has an answer, or an error in place of one."""
        return self.status in {"succeeded", "failed"}

    @property
    def result(self) -> str:
        """The key of its result in the bucket of jobs: where the id is asked something else, no worker that is late writes over it."""
        return job_key(self.model, self.client, self.id, f"result-{self.digest[:16]}")


class JobTable:
    """The table of jobs; an item whose time is over is none, though DynamoDB may take days to delete it."""

    def __init__(self, dynamodb: JsonService, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    def create(self, job: Job) -> Job:
        """The job of that id: this one, or one that was there before. Raises `ServiceUnavailable`, `UnreadableJob`."""
        free = "attribute_not_exists(id) OR expiration < :now"
        try:
            self._call("PutItem", Item=to_item(job), ConditionExpression=free, ExpressionAttributeValues={":now": {"N": str(job.created)}})
        except ConditionFailed as failed:
            return from_item(failed.item)
        return job

    def read(self, job: str, *, now: float) -> Job | None:
        """None where there is none at `now`. Raises `ServiceUnavailable`, `UnreadableJob`."""
        item = self._call("GetItem", Key=_key(job), ConsistentRead=True).get("Item")
        found = None if item is None else from_item(item)
        return None if found is None or found.expiration < now else found

    def start(self, job: str, *, now: float) -> Job | None:
        """The job, which runs from now on, with one attempt more; as it is where it has ended; None where there is none.

        One that failed for no fault of its request, with a status of 500 or more, starts again: its message was redriven.
        Raises `ServiceUnavailable`, `UnreadableJob`.
        """
        values = {**_OPEN_VALUES, ":now": int(now), ":one": 1}
        action = "SET #status = :running, updated = :now, attempts = attempts + :one REMOVE #error, error_status"
        return self._update(job, action, _OPEN, values, {"#status": "status", "#error": "error"})

    def finish(self, job: Job, *, now: float, size: int, header_length: int | None, version: str) -> Job | None:
        """The job, which has a result now; as it is where it had ended before; None where it was deleted, whatever has its id since.

        One that failed meanwhile with a status of 500 or more has a result after all: somebody else gave it up too early.

        `size` and `header_length` are the result's. Raises `ServiceUnavailable`, `UnreadableJob`.
        """
        told = {"result_size": size, "result_header_length": header_length, "model_version": version}
        return self._end(job, "succeeded", now, **told, error=None, error_status=None)

    def fail(self, job: Job, *, now: float, error: str, status: int) -> Job | None:
        """The job, which has an error now, of an HTTP status; else as `finish` answers, and raises."""
        return self._end(job, "failed", now, error=error, error_status=status)

    def delete(self, job: str) -> Job | None:
        """What was deleted; None where there was none. Raises `ServiceUnavailable`, `UnreadableJob`."""
        item = self._call("DeleteItem", Key=_key(job), ReturnValues="ALL_OLD").get("Attributes")
        return None if item is None else from_item(item)

    def _end(self, job: Job, status: str, now: float, **told: str | int | None) -> Job | None:
        fields = {"status": status, "updated": int(now), **told}
        values = {f":{name}": value for name, value in fields.items() if value is not None}
        action = "SET " + ", ".join(f"#{name[1:]} = {name}" for name in values)
        if untold := [f"#{name}" for name, value in fields.items() if value is None]:
            action += f" REMOVE {', '.join(untold)}"
        values |= {**_OPEN_VALUES, ":digest": job.digest}
        found = self._update(job.id, action, f"digest = :digest AND {_OPEN}", values, {f"#{name}": name for name in fields})
        return None if found is None or found.digest != job.digest else found

    def _update(self, job: str, action: str, condition: str, values: Mapping[str, str | int], names: Mapping[str, str]) -> Job | None:
        """The job after `action`; as it was where `condition` doesn't hold, None where there was none."""
        try:
            answer = self._call(
                "UpdateItem",
                Key=_key(job),
                UpdateExpression=action,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues={name: _attribute(value) for name, value in values.items()},
                ReturnValues="ALL_NEW",
            )
        except ConditionFailed as failed:
            return None if failed.item is None else from_item(failed.item)
        return from_item(answer.get("Attributes"))

    def _call(self, action: str, **request: Any) -> dict[str, Any]:
        if "ConditionExpression" in request:
            request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return self._dynamodb.call(f"DynamoDB_20120810.{action}", {"TableName": self._table, **request})


def check_json(size: int, header_length: int | None, most: int) -> None:
    """Raises `PayloadTooLarge` where a request of `size` bytes has more than `most` bytes of JSON: read, it takes many times as much."""
    if (size if header_length is None else header_length) > most:
        advice = "send numbers as binary data behind it (inference_header_content_length of an upload), or all rows as a data set"
        raise PayloadTooLarge("the JSON of the job's request", most, advice)


def is_id(text: str) -> bool:
    """Whether a job or an upload may have this id."""
    return _ID.fullmatch(text) is not None


def job_key(model: str, client: str, job: str, name: str) -> str:
    """The key of one body of a job, in the bucket of jobs."""
    return f"{model}/{client}/{job}/{name}"


def upload_key(client: str, upload: str) -> str:
    """The key of an upload, in the bucket of jobs."""
    return f"{UPLOADS}/{client}/{upload}"


def status_url(job: str) -> str:
    """The path that says what became of a job."""
    return f"/v2/jobs/{job}"


def message(job: Job) -> dict[str, str]:
    """What the queue is told of a job; everything else is in the table."""
    return {"job": job.id, "client": job.client, "model": job.model}


def send(sqs: JsonService, queue_url: str, job: Job) -> None:
    """Puts a job's message into a queue, which is fair among clients by `MessageGroupId`. Raises `ServiceUnavailable`.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
    """
    body = orjson.dumps(message(job)).decode()
    sqs.call("AmazonSQS.SendMessage", {"QueueUrl": queue_url, "MessageBody": body, "MessageGroupId": job.client})


def to_item(job: Job) -> dict[str, Any]:
    """The job in DynamoDB's notation; what is None is left out."""
    return {name: _attribute(value) for name, value in vars(job).items() if value is not None}


def from_item(item: Any) -> Job:
    """The job that `to_item` wrote; attributes of no name of ours are left out. Raises `UnreadableJob` for anything else."""
    try:
        kinds = Job.__annotations__
        values: dict[str, Any] = {name: _value(name, kinds[name], item[name]) for name in kinds if name in item}
        return Job(**values)
    except (AttributeError, KeyError, TypeError, ValueError):
        name = item.get("id") if isinstance(item, dict) else None
        raise UnreadableJob(str(name.get("S")) if isinstance(name, dict) else "") from None


def _key(job: str) -> dict[str, Any]:
    return {"id": {"S": job}}


def _attribute(value: str | int) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _value(name: str, kind: str, attribute: Mapping[str, Any]) -> str | int:
    number = kind.startswith("int")
    text = attribute["N" if number else "S"]
    form = _NUMBER if number else _FORMS.get(name)
    if not isinstance(text, str) or (form and not form.fullmatch(text)):
        raise ValueError(name)
    return int(text) if number else text
