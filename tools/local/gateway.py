"""API Gateway without a port: finds the function of a request, waits for it within its limits, answers for what goes wrong."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from tools.local import events
from tools.local.assembly import ACCOUNT, REGION
from tools.local.authorizer import Authorizer, Caller, Refused
from tools.local.environments import Answer, RequestTooLarge, TooManyRequests
from tools.local.gateway_responses import GatewayResponses
from tools.local.messages import Request, Response
from tools.local.routes import Api, Match
from tools.local.usage import Usage

__all__ = ["MAX_BODY", "Gateway", "Invoke"]

MAX_BODY = 10 * 2**20
"""Bytes of a request's body."""
_WAITING = 64
"""Requests that wait for a function at the same time, those given up included."""

_FAILURES: dict[type[Exception], tuple[str, int | None]] = {
    TimeoutError: ("INTEGRATION_TIMEOUT", None),
    RequestTooLarge: ("REQUEST_TOO_LARGE", None),
    TooManyRequests: ("INTEGRATION_FAILURE", 500),
    events.MalformedAnswer: ("INTEGRATION_FAILURE", None),
}

Invoke = Callable[[bytes, str], Answer]
"""Payload and trace id; raises `RequestTooLarge`, `TooManyRequests`."""


class Gateway:
    """Answers for one stage of one REST API."""

    def __init__(
        self,
        api: Api,
        responses: GatewayResponses,
        functions: Mapping[str, Invoke],
        *,
        authorizers: Mapping[str, Authorizer] | None = None,
        usage: Usage | None = None,
        api_id: str = "local",
    ) -> None:
        """`functions` and `authorizers` by logical id; without `usage` no API key is known."""
        self._api = api
        self._responses = responses
        self._functions = functions
        self._authorizers = authorizers or {}
        self._usage = usage or Usage(dict)
        self._id = api_id
        self._waiting = ThreadPoolExecutor(_WAITING, thread_name_prefix="gateway")

    def close(self) -> None:
        self._waiting.shutdown(wait=False, cancel_futures=True)

    def handle(self, request: Request) -> Response:
        """Takes paths with the stage before them, and without it as behind a custom domain."""
        request_id = str(uuid.uuid4())
        path = self._without_stage(request.path)
        match = self._api.match(request.method, path)
        if match is None:
            return self._responses.build("MISSING_AUTHENTICATION_TOKEN", request_id)
        if len(request.body) > MAX_BODY:
            return self.too_large(request_id)
        trace_id = f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        try:
            caller = self._admit(request, match, path, trace_id)
        except Refused as refused:
            return self._responses.build(refused.kind, request_id)
        names = {"stage": self._api.stage, "path": path, "request_id": request_id, "trace_id": trace_id, "api_id": self._id}
        payload = events.event(request, match, caller=caller, **names)
        waiting = self._waiting.submit(self._functions[match.route.function], payload, trace_id)
        try:
            return self._response(waiting.result(match.route.timeout), request_id, trace_id)
        except tuple(_FAILURES) as error:
            kind, status = _FAILURES[type(error)]
            return self._responses.build(kind, request_id, status=status)

    def too_large(self, request_id: str = "") -> Response:
        """Also for a body that the socket did not read to its end."""
        return self._responses.build("REQUEST_TOO_LARGE", request_id or str(uuid.uuid4()))

    def bad_request(self) -> Response:
        """For what is no HTTP."""
        return self._responses.build("BAD_REQUEST_BODY", str(uuid.uuid4()))

    def _admit(self, request: Request, match: Match, path: str, trace_id: str) -> Caller | None:
        """First who is calling and whether they may, then whether they called too often. Raises `Refused`."""
        caller = None
        if match.route.authorizer:
            arn = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self._id}/{self._api.stage}/{request.method}{path}"
            caller = self._authorizers[match.route.authorizer].caller(request, arn, trace_id)
        if match.route.api_key:
            self._usage.count(caller.usage_key if caller else None)
        return caller

    def _response(self, answer: Answer, request_id: str, trace_id: str) -> Response:
        if answer.failed:
            return self._responses.build("INTEGRATION_FAILURE", request_id)
        built = events.response(answer.payload)
        own = [("x-amzn-RequestId", request_id), ("X-Amzn-Trace-Id", trace_id)]
        if not any(name.lower() == "content-type" for name, _ in built.headers):
            own.append(("Content-Type", "application/json"))
        return Response(status=built.status, headers=[*built.headers, *own], body=built.body)

    def _without_stage(self, path: str) -> str:
        prefix = f"/{self._api.stage}"
        return path.removeprefix(prefix) or "/" if path == prefix or path.startswith(f"{prefix}/") else path
