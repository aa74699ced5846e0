"""SageMaker's runtime API: a request to an endpoint, what of it is safe to try again, and what its errors mean to a caller.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from math import inf

import orjson

from ._connections import KeptConnection
from ._hosts import service_url
from ._http import HttpResponse, Oversized
from ._typing import Any, TypeVar
from .aws import Credentials, PassingFault, Request, Service, error_code
from .dataplane import answer_too_large
from .errors import (
    DeadlineExceeded,
    EndpointUnavailable,
    InsufficientMemory,
    ModelFailed,
    ModelLoading,
    ServeError,
    is_no_memory,
    onnx_reason,
)

__all__ = ["EXPIRES_SECONDS", "MAX_REQUEST_BYTES", "Endpoint", "model_error"]

MAX_REQUEST_BYTES = 6 * 2**20
"""What an endpoint that answers at once takes."""
_PASSING = frozenset({429, 500, 503, 530})
_PASSING_FOR_JOBS = frozenset(
    {429, 503}
)  # after any other the job may be in the queue, and run for an hour; a connection that broke is worth that
_THROTTLED = "ThrottlingException"
_NOT_READY = "ModelNotReadyException"
_RUN_SECONDS = 3600  # the most that SageMaker lets a queued request run
_QUEUE_SECONDS = 21600  # and wait
EXPIRES_SECONDS = _QUEUE_SECONDS + _RUN_SECONDS
"""After which a queued request that has no answer gets none."""
_RECEIVED = re.compile(r'Received \w+ error \((-?\d+)\) from \S+ with message "(.*)"\. See ', re.DOTALL)
_NOT_LOADED = re.compile(r"load failed|failed to load|failed to poll|repository|conflicting mapping|not found in global map|is not ready")
_PRIVATE = re.compile(r"(?:s3://|arn:|(?<![\w.])/)\S+")
"""Addresses within the account, and paths within the container."""
_T = TypeVar("_T")


class Endpoint:
    """One endpoint, which `model` is asked of, by requests that one connection carries one after the other."""

    def __init__(self, name: str, model: str, service: Service) -> None:
        self.name = name
        self._model = model
        self._service = service

    @classmethod
    def from_environ(cls, name: str, environ: Mapping[str, str], *, model: str, remaining: Callable[[], float] = lambda: inf) -> Endpoint:
        """With region, credentials and address as Lambda and the AWS SDKs name them; no call takes longer than what is `remaining`."""
        region, url = environ.get("AWS_REGION", "us-east-1"), service_url("runtime.sagemaker", environ)
        credentials = lambda: Credentials.from_environ(environ)  # noqa: E731
        kept = KeptConnection()
        return cls(
            name, model, _Runtime("sagemaker", region=region, url=url, credentials=credentials, remaining=remaining, connection=kept)
        )

    def close(self) -> None:
        """Lets go of the connection that is kept; the next request opens another."""
        self._service.close()

    def invoke(self, content_type: str, body: bytes, target_model: str | None, *, seconds: float) -> tuple[str, bytes]:
        """Content type and body of the answer; `target_model` is an archive's path on an endpoint of several, else None.

        Raises `ModelFailed`, `InsufficientMemory`, `DeadlineExceeded`, `ModelLoading`, `EndpointUnavailable`.
        """
        headers = {"content-type": content_type}
        if target_model is not None:
            headers["x-amzn-sagemaker-target-model"] = target_model
        sent = Request("POST", f"/endpoints/{self.name}/invocations", headers=headers, body=body)

        def read(response: HttpResponse) -> tuple[str, bytes]:
            answer = response.read()
            if response.status != 200:
                raise self._refusal(response, answer, seconds, missing="cdk deploy '<deployment>/*' -c gpu=on")
            return response.headers.get("content-type", ""), answer

        return self._send(sent, read, seconds)

    def invoke_async(self, input_location: str, content_type: str, inference_id: str, *, seconds: float) -> tuple[str, str]:
        """The S3 addresses that the answer or the reason for none will have, of a request that lies at `input_location`.

        Raises `EndpointUnavailable`, `DeadlineExceeded`.
        """
        headers = {
            "x-amzn-sagemaker-inputlocation": input_location,
            "x-amzn-sagemaker-content-type": content_type,
            "x-amzn-sagemaker-inference-id": inference_id,
            "x-amzn-sagemaker-invocationtimeoutseconds": str(_RUN_SECONDS),
            "x-amzn-sagemaker-requestttlseconds": str(_QUEUE_SECONDS),
        }
        sent = Request("POST", f"/endpoints/{self.name}/async-invocations", headers=headers)

        def read(response: HttpResponse) -> tuple[str, str]:
            answer = response.read()
            if response.status != 202:
                raise self._refusal(response, answer, seconds, missing=f"modelctl promote {self._model} VERSION", passing=_PASSING_FOR_JOBS)
            names = ("x-amzn-sagemaker-outputlocation", "x-amzn-sagemaker-failurelocation")
            output, failure = (response.headers.get(name, "") for name in names)
            if not output or not failure:
                raise EndpointUnavailable(self.name, "its answer names no places for an answer and a failure; deploy the Gpu stack again")
            return output, failure

        return self._send(sent, read, seconds)

    def _send(self, sent: Request, read: Callable[[HttpResponse], _T], seconds: float) -> _T:
        def failed(reason: str) -> ServeError:
            return ModelLoading(self._model) if _NOT_READY in reason else EndpointUnavailable(self.name, reason)

        try:
            return self._service.send(sent, read, patience=seconds, failed=failed)
        except TimeoutError:
            raise DeadlineExceeded(self._model, seconds) from None
        except Oversized:
            raise answer_too_large() from None
        except OSError as error:
            raise EndpointUnavailable(self.name, str(error)) from None

    def _refusal(
        self, response: HttpResponse, body: bytes, seconds: float, *, missing: str, passing: frozenset[int] = _PASSING
    ) -> Exception:
        """What to raise for an answer that is none; `missing` is the command that makes the endpoint."""
        document = _object(body)
        code = response.headers.get("x-amzn-errortype", "").partition(":")[0] or error_code(body)
        if not code.isalnum():
            code = ""
        if response.status in passing or code == _THROTTLED:
            return PassingFault(f"HTTP {response.status} {code}")
        if response.status == 424:
            status, text = document.get("OriginalStatusCode"), document.get("OriginalMessage")
            return _model_error(self._model, self.name, status if isinstance(status, int) else 500, str(text), seconds)
        message = str(document.get("Message") or document.get("message") or "")
        reason = f"HTTP {response.status} {code}"
        if code == "ValidationError" and message.startswith("Endpoint ") and "not found" in message:
            return EndpointUnavailable(self.name, f"there is none yet; run: {missing}", retry_after=60)
        if code == "ValidationError":
            reason += '; it has no archive of this version: publish it with target = "gpu", and deploy again where that doesn\'t help'
        if response.status == 403 and code in {"", "AccessDeniedException"}:
            reason += "; this function's role may not invoke it: deploy again"
        return EndpointUnavailable(self.name, reason)


class _Runtime(Service):
    """A run may take all of the time there is, and goes on when nobody waits any more: what took too long is not tried again, only what
    was refused, broke off or met an error of SageMaker's own.
    """

    passing = frozenset()
    faults = ConnectionError

    @staticmethod
    def _timeout(ends: float) -> float:
        return max(0.001, ends - time.monotonic())


def model_error(model: str, endpoint: str, body: bytes) -> ServeError:
    """What `Endpoint.invoke` would have raised, by what SageMaker leaves at the failure address of a queued request."""
    text = body.decode(errors="replace")
    return _model_error(model, endpoint, 500, text, _RUN_SECONDS)


def _model_error(model: str, endpoint: str, status: int, text: str, seconds: float) -> ServeError:
    """By the status and the text of a container's answer, as SageMaker repeats them."""
    if match := _RECEIVED.search(text):
        status, text = int(match[1]), match[2]
    text = str(_object(text.encode()).get("error") or text)
    if status == 507 or is_no_memory(text):
        return InsufficientMemory(model, of="endpoint's instance", advice="take a larger instance: gpu_instance_type in stacks/settings.py")
    if status in (-1, 0, 504) or "timed out" in text:
        return DeadlineExceeded(model, seconds)
    if status in (404, 409) or _NOT_LOADED.search(text):
        return EndpointUnavailable(
            endpoint, "it could not load this version; its log says why, and `modelctl rollback` serves the one before"
        )
    if 400 <= status < 500 or "onnx runtime error" in text.lower() or "Non-zero status code returned while running" in text:
        return ModelFailed(model, _PRIVATE.sub("...", onnx_reason(text)))
    return EndpointUnavailable(endpoint, f"its container failed with status {status}; its log says why")


def _object(body: bytes) -> dict[str, Any]:
    """A JSON object, empty for anything else."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
