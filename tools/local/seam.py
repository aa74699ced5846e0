"""Makes moto's Lambda call the real function processes, so that boto3's `invoke` and other services reach them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.core.exceptions import JsonRESTError

from tools.local.environments import MAX_REQUEST, Answer, RequestTooLarge, TooManyRequests

__all__ = ["connect", "disconnect", "invoke_later"]

Invoke = Callable[[bytes, str], Answer]
Later = Callable[[str, bytes], None]
_functions: dict[str, Invoke] = {}
_later: dict[str, Later] = {}


def connect(functions: Mapping[str, Invoke], later: Later) -> None:
    """`functions` by the name that CloudFormation gave them; `later` takes their asynchronous invocations."""
    _functions.update(functions)
    _later.update(dict.fromkeys(functions, later))
    LambdaFunction.invoke = _invoke  # type: ignore[method-assign, assignment]


def disconnect(names: set[str]) -> None:
    """Of functions that have ended."""
    for name in names:
        _functions.pop(name, None)
        _later.pop(name, None)


def invoke_later(name: str, payload: bytes) -> None:
    """Accepts an asynchronous invocation, or raises the error of the Invoke API."""
    if name not in _later:
        raise _no_process(name)
    if len(payload) > MAX_REQUEST:
        raise _too_large(RequestTooLarge(len(payload)))
    _later[name](name, payload)


class _Refused(JsonRESTError):
    """An error of the Invoke API."""

    def __init__(self, code: int, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.code = code


def _invoke(function: Any, body: Any, request_headers: Any, response_headers: Any) -> bytes:
    name = function.function_name
    if name not in _functions:
        raise _no_process(name)
    payload = _payload(body)
    if request_headers.get("X-Amz-Invocation-Type") == "Event":
        invoke_later(name, payload)
        return b""
    if request_headers.get("X-Amz-Invocation-Type") == "DryRun":
        return b""
    answer = _call(name, payload)
    if answer.failed:
        response_headers["X-Amz-Function-Error"] = "Unhandled"
    response_headers["X-Amz-Executed-Version"] = "$LATEST"
    return answer.payload


def _call(name: str, payload: bytes) -> Answer:
    try:
        return _functions[name](payload, "")
    except TooManyRequests as error:
        raise _Refused(429, "TooManyRequestsException", str(error)) from None
    except RequestTooLarge as error:
        raise _too_large(error) from None


def _no_process(name: str) -> _Refused:
    return _Refused(500, "ServiceException", f"function {name} has no process on this machine; routes and invocations reach Python only")


def _too_large(error: RequestTooLarge) -> _Refused:
    return _Refused(413, "RequestTooLargeException", str(error))


def _payload(body: Any) -> bytes:
    if isinstance(body, dict | list):
        return json.dumps(body).encode()
    return (body.encode() if isinstance(body, str) else body) or b"{}"
