"""SageMaker's runtime API on this machine: endpoints from moto, archives from its S3, answers from a `Container`."""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from tools.local.assembly import ACCOUNT, REGION
from tools.local.endpoints import Archives, Endpoint, NoArchive, find, split
from tools.local.messages import Request, Response
from tools.local.server import Server

if TYPE_CHECKING:
    from tools.local.containers import Container

__all__ = ["MAX_BODY", "SageMaker"]

MAX_BODY = 6 * 2**20
"""Bytes of a request to an endpoint that answers at once."""
_WORKERS = 4
_PATH = re.compile(r"/endpoints/([a-zA-Z0-9](?:-*[a-zA-Z0-9])*)/(invocations|async-invocations)")
_TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each container in "
    "Amazon CloudWatch, resolve the issue, and try again."
)


class _Refused(Exception):
    """An error of the API; `members` are those beside its message."""

    def __init__(self, status: int, kind: str, message: str, **members: object) -> None:
        super().__init__(message)
        self.response = Response(
            status=status,
            headers=[("x-amzn-ErrorType", kind), ("Content-Type", "application/json")],
            body=json.dumps({**members, "Message": message}).encode(),
        )


class SageMaker:
    """Serves on 127.0.0.1 until closed; signatures are not checked."""

    def __init__(self, container: Callable[[], Container], s3: Any, *, port: int = 0) -> None:
        """`container` is called when the first archive is needed, which `s3`, a client, is asked for."""
        self._s3 = s3
        self._scratch = tempfile.TemporaryDirectory(prefix="endpoints-")
        self._archives = Archives(container, s3, Path(self._scratch.name))
        self._jobs = ThreadPoolExecutor(_WORKERS, thread_name_prefix="job")
        self._server = Server(self, port)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def close(self) -> None:
        """Jobs that have not begun never do."""
        self._server.close()
        self._jobs.shutdown(cancel_futures=True)
        self._scratch.cleanup()

    def handle(self, request: Request) -> Response:
        """InvokeEndpoint and InvokeEndpointAsync."""
        headers = {name.lower(): value for name, value in request.headers}
        request_id = ("x-amzn-RequestId", str(uuid.uuid4()))
        try:
            response = self._answer(request, headers)
        except _Refused as refused:
            response = refused.response
        return Response(status=response.status, headers=[*response.headers, request_id], body=response.body)

    def too_large(self) -> Response:
        """As the service says it: without a type, so that SDKs show the status in its place."""
        return Response(
            status=413, headers=[("Content-Type", "application/json")], body=_message(f"HTTP content length exceeded {MAX_BODY} bytes.")
        )

    def bad_request(self) -> Response:
        """For what is no HTTP."""
        return Response(status=400, headers=[("Content-Type", "application/json")], body=_message("Bad Request"))

    def _answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        match = _PATH.fullmatch(request.path)
        if match is None or request.method != "POST":
            raise _Refused(404, "UnknownOperationException", "Unknown operation")
        if len(request.body) > MAX_BODY:
            return self.too_large()
        name, kind = match.groups()
        endpoint = find(name)
        if endpoint is None:
            raise _Refused(400, "ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        if bool(endpoint.output) != (kind == "async-invocations"):
            other = "InvokeEndpointAsync" if endpoint.output else "InvokeEndpoint"
            raise _Refused(400, "ValidationError", f"Endpoint {name} does not support this operation. Use {other}.")
        return self._queue(endpoint, headers) if endpoint.output else self._invoke(endpoint, request, headers)

    def _invoke(self, endpoint: Endpoint, request: Request, headers: Mapping[str, str]) -> Response:
        url = _archive(endpoint, headers.get("x-amzn-sagemaker-target-model"))
        content_type, body = self._run(endpoint, url, headers.get("content-type", ""), request.body)
        names = [("Content-Type", content_type), ("x-Amzn-Invoked-Production-Variant", endpoint.variant)]
        return Response(status=200, headers=names, body=body)

    def _run(self, endpoint: Endpoint, url: str, content_type: str, body: bytes) -> tuple[str, bytes]:
        """Content type and body of the answer. Raises `_Refused`."""
        try:
            status, found, answer = self._ask(endpoint, url, content_type, body)
        except NoArchive as missing:
            raise _Refused(400, "ValidationError", str(missing)) from None
        except OSError as error:
            raise _model_error(endpoint, 0, _TIMED_OUT if isinstance(error, TimeoutError) else str(error)) from None
        if status != 200:
            raise _model_error(endpoint, status, answer.decode(errors="replace"))
        return found, answer

    def _ask(self, endpoint: Endpoint, url: str, content_type: str, body: bytes) -> tuple[int, str, bytes]:
        from tools.local.containers import LoadFailed  # noqa: PLC0415 - with the first container, which loads ONNX Runtime

        try:
            with self._archives.loaded(endpoint, url) as (container, name):
                return container.invoke(name, content_type, body)
        except LoadFailed as error:
            return 400, "application/json", json.dumps({"error": str(error)}).encode()

    def _queue(self, endpoint: Endpoint, headers: Mapping[str, str]) -> Response:
        location = headers.get("x-amzn-sagemaker-inputlocation", "")
        if not location.startswith("s3://"):
            raise _Refused(400, "ValidationError", "InputLocation must be an s3:// address.")
        job = str(uuid.uuid4())
        answer, failure = f"{endpoint.output.rstrip('/')}/{job}.out", f"{endpoint.failure.rstrip('/')}/{job}-error.out"
        self._jobs.submit(self._work, endpoint, location, headers.get("x-amzn-sagemaker-content-type", ""), answer, failure)
        names = [("X-Amzn-SageMaker-OutputLocation", answer), ("Content-Type", "application/json")]
        if endpoint.failure:
            names.append(("X-Amzn-SageMaker-FailureLocation", failure))
        inference_id = headers.get("x-amzn-sagemaker-inference-id", str(uuid.uuid4()))
        return Response(status=202, headers=names, body=json.dumps({"InferenceId": inference_id}).encode())

    def _work(self, endpoint: Endpoint, location: str, content_type: str, answer: str, failure: str) -> None:
        try:
            body = self._get(location)
            content_type, body = self._run(endpoint, endpoint.url, content_type, body)
            self._put(answer, body, content_type)
        except _Refused as refused:
            with suppress(ClientError):
                self._put(failure, str(refused).encode(), "text/plain")

    def _get(self, location: str) -> bytes:
        bucket, key = split(location)
        try:
            return bytes(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError:
            raise _Refused(400, "ValidationError", f"Failed to download input data(bucket: {bucket}, key: {key}).") from None

    def _put(self, location: str, body: bytes, content_type: str) -> None:
        bucket, key = split(location)
        self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)


def _archive(endpoint: Endpoint, target: str | None) -> str:
    """The address of the archive that a request is for. Raises `_Refused`."""
    if target is None and endpoint.several:
        raise _Refused(
            400, "ValidationError", f"Request {uuid.uuid4()} is missing a target model header.", ErrorCode="TARGET_MODEL_HEADER_MISSING"
        )
    if target is not None and not endpoint.several:
        raise _Refused(
            400,
            "ValidationError",
            f"Endpoint {endpoint.name} is not a multi-model endpoint and does not support target model header.",
            ErrorCode="TARGET_MODEL_HEADER_NOT_SUPPORTED",
        )
    return endpoint.url if target is None else f"{endpoint.url.rstrip('/')}/{target.lstrip('/')}"


def _model_error(endpoint: Endpoint, status: int, message: str) -> _Refused:
    """What the service makes of a container's answer that is none."""
    group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
    whose = "client" if 400 <= status < 500 else "server"
    return _Refused(
        424,
        "ModelError",
        f'Received {whose} error ({status}) from primary with message "{message}". See https://{REGION}.console.aws.amazon.com/cloudwatch/'
        f"home?region={REGION}#logEventViewer:group={group} in account {ACCOUNT} for more information.",
        ErrorCode="CLIENT_ERROR_FROM_MODEL" if whose == "client" else "INTERNAL_FAILURE_FROM_MODEL",
        LogStreamArn=f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}",
        OriginalMessage=message,
        OriginalStatusCode=status,
    )


def _message(text: str) -> bytes:
    return json.dumps({"Message": text}).encode()
