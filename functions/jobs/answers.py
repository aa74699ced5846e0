"""What a client is told of its jobs, and where it puts what is too large for a request and gets what is too large for an answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import orjson

from modelserve.endpoints import Request, Response, error_response, json_response
from modelserve.errors import InvalidRequest, JobNotFound, MethodNotAllowed, ObjectNotFound, PayloadTooLarge, RouteNotFound, ServeError
from modelserve.jobs import NOBODY, RETRY_SECONDS, UPLOADS, Job, JobTable, is_id, status_url, upload_key
from modelserve.proxy import within_limit
from modelserve.s3 import S3Bucket
from modelserve.settings import JobsSettings

__all__ = ["INLINE_BYTES", "Jobs", "NoSuchJob"]

INLINE_BYTES = 4 * 2**20
"""Largest result that an answer carries: in base64 it still fits Lambda's 6 MB."""
_RESULT_SECONDS = 900
_UPLOAD_SECONDS = 3600


class NoSuchJob(JobNotFound):
    """No job of that id, or one of somebody else's: nobody can tell which."""

    def __init__(self, job: str, days: int) -> None:
        advice = f"a job and its result are kept for {days} days, after which the request is to be sent again"
        ServeError.__init__(self, f"there is no job {job!r:.60} of this caller; {advice}")


class Jobs:
    """The routes of jobs and uploads; a caller hears of its own only."""

    def __init__(self, settings: JobsSettings, table: JobTable, bucket: S3Bucket, *, clock: Callable[[], float] = time.time) -> None:
        """`bucket` is that of jobs; `clock` tells seconds since 1970."""
        self._settings = settings
        self._table = table
        self._bucket = bucket
        self._clock = clock

    def answer(self, request: Request) -> Response:
        """The answer to `request`, an error's too."""
        try:
            return self._route(request)
        except ServeError as error:
            return error_response(error)

    def _route(self, request: Request) -> Response:
        client = request.client or NOBODY
        match request.path.rstrip("/").split("/"):
            case ["", "v2", "jobs", job]:
                _allow(request, "GET", "HEAD", "DELETE")
                found = self._found(job, client)
                return self._delete(found) if request.method == "DELETE" else _status(found)
            case ["", "v2", "jobs", job, "result"]:
                _allow(request, "GET", "HEAD")
                return self._result(self._found(job, client))
            case ["", "v2", "uploads"]:
                _allow(request, "POST")
                return self._upload(_size(request.body), client)
        raise RouteNotFound(request.path)

    def _found(self, job: str, client: str) -> Job:
        found = self._table.read(job, now=self._clock()) if is_id(job) else None
        if found is None or found.client != client:
            raise NoSuchJob(job, self._settings.job_days)
        return found

    def _delete(self, job: Job) -> Response:
        """The record after the bodies, else what fails between can't be asked for again; an upload stays, another job may name it too.

        Without the record a worker deletes the result that it has written; what one wrote before is deleted at last.
        """
        if not job.request.startswith(f"{UPLOADS}/"):
            self._bucket.delete(job.request)
        self._bucket.delete(job.result)
        self._table.delete(job.id)
        self._bucket.delete(job.result)
        return Response(204, {}, b"")

    def _result(self, job: Job) -> Response:
        if not job.ended:
            return _status(job, 202)
        if job.status == "failed":
            return json_response({"error": job.error}, job.error_status or 500)
        headers = _headers(job)
        if (job.result_size or 0) <= INLINE_BYTES and (body := self._read(job)) is not None:
            response = Response(200, headers, body)
            if within_limit(response) is response:
                return response
        return self._elsewhere(job, headers)

    def _read(self, job: Job) -> bytes | None:
        """The result; None where it is larger than an answer."""
        try:
            return self._bucket.read(job.result, most=INLINE_BYTES)
        except ObjectNotFound:  # forgotten a little earlier than the job
            raise NoSuchJob(job.id, self._settings.job_days) from None

    def _elsewhere(self, job: Job, headers: dict[str, str]) -> Response:
        """Where the result is; what S3 can't say of it stands beside the address."""
        url = self._bucket.presigned_get(job.result, content_type=headers["Content-Type"], seconds=_RESULT_SECONDS)
        document = {"id": job.id, "url": url, "expires": self._after(_RESULT_SECONDS), "size": job.result_size}
        response = json_response(document | _told(inference_header_content_length=job.result_header_length), 303)
        response.headers["Location"] = url
        return response

    def _upload(self, size: int, client: str) -> Response:
        limit = self._settings.upload_megabytes * 2**20
        if size > limit:
            raise PayloadTooLarge("the upload", limit, "send fewer rows in a job, or run a data set with `modelctl batch`")
        upload = os.urandom(16).hex()
        url = self._bucket.presigned_put(upload_key(client, upload), size=size, seconds=_UPLOAD_SECONDS)
        document = {"id": upload, "url": url, "method": "PUT", "headers": {"Content-Length": str(size)}}
        return json_response({**document, "expires": self._after(_UPLOAD_SECONDS)}, 201)

    def _after(self, seconds: int) -> int:
        return int(self._clock()) + seconds


def _status(job: Job, status: int = 200) -> Response:
    """What became of the job so far."""
    url = status_url(job.id)
    succeeded, failed = job.status == "succeeded", job.status == "failed"
    document = {"id": job.id, "status": job.status, "model_name": job.model, **_told(model_version=job.model_version)}
    document |= {"priority": job.priority, "created": job.created, "updated": job.updated, "status_url": url}
    document |= _told(
        result_url=f"{url}/result" if succeeded else None,
        error={"status": job.error_status or 500, "message": job.error} if failed else None,
    )
    response = json_response(document, status)
    if not job.ended:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _headers(job: Job) -> dict[str, str]:
    """Those of the result, as the model's own route would answer it."""
    if job.result_header_length is None:
        return {"Content-Type": "application/json"}
    return {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(job.result_header_length)}


def _size(body: bytes) -> int:
    """The number of bytes that somebody wants to upload. Raises `InvalidRequest`."""
    try:
        document = orjson.loads(body)
    except ValueError:
        document = None
    size = document.get("size") if isinstance(document, dict) else None
    if type(size) is not int or size < 1:
        raise InvalidRequest('the body is no JSON object whose "size" is a number of bytes, 1 or more; send for example {"size": 1048576}')
    return size


def _told(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(request.method, request.path, ", ".join(methods))
