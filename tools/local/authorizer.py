"""Asks the template's Lambda authorizer who is calling, as API Gateway does before it calls a function.

Source: API Gateway Developer Guide, "Use API Gateway Lambda authorizers", "Input to" and "Output from an API Gateway Lambda authorizer".
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from tools.local.assembly import Stack
from tools.local.environments import Answer, RequestTooLarge, TooManyRequests
from tools.local.errors import LocalError
from tools.local.functions import function_id
from tools.local.messages import Request
from tools.local.policy_evaluation import MalformedPolicy, allows

__all__ = ["Authorizer", "Caller", "Refused"]

_INVOKED_AT_ONCE = 4
"""Fewer than the environments that the function may have, so that a burst of new keys waits instead of failing."""
_HEADER = "method.request.header."
_DEFAULT_TTL = 300.0


class Refused(Exception):
    """A request that gets no further; the gateway answers with the response of this type."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whom the authorizer took the request's token for."""

    principal: str
    context: Mapping[str, str]
    """What the authorizer tells the function behind."""
    usage_key: str | None
    """The value of an API key."""
    latency: int
    """Milliseconds that the authorizer took; 0 when its answer was remembered."""


@dataclass(frozen=True)
class _Remembered:
    """An authorizer's answer, as long as it holds."""

    answer: Mapping[str, Any]
    until: float


class Authorizer:
    """One authorizer of type TOKEN, with its cache of answers."""

    def __init__(
        self,
        invoke: Callable[[bytes, str], Answer],
        *,
        header: str = "Authorization",
        pattern: str = "",
        ttl: float = _DEFAULT_TTL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pattern` is what the whole `header` must match before the function is asked; `ttl` seconds, 0 remembers nothing."""
        self._invoke = invoke
        self._header = header.lower()
        self._pattern = re.compile(pattern or ".*")
        self._ttl = ttl
        self._clock = clock
        self._answers: dict[str, _Remembered] = {}
        self._places = threading.BoundedSemaphore(_INVOKED_AT_ONCE)

    @classmethod
    def read(cls, stack: Stack, invokes: Mapping[str, Callable[[bytes, str], Answer]], *, max_ttl: float | None = None) -> dict[str, Self]:
        """The stack's authorizers by logical id; `max_ttl` caps the template's. Raises `LocalError` for another type than TOKEN."""
        found = {}
        for logical_id, properties in stack.resources("AWS::ApiGateway::Authorizer"):
            source = str(properties.get("IdentitySource", ""))
            if properties.get("Type") != "TOKEN" or not source.startswith(_HEADER):
                kind = f"of type {properties.get('Type')} with the identity source {source!r}"
                raise LocalError(f"authorizer {logical_id} is {kind}; the local runner knows TOKEN with one header")
            ttl = float(properties.get("AuthorizerResultTtlInSeconds", _DEFAULT_TTL))
            found[logical_id] = cls(
                invokes[function_id(stack, properties["AuthorizerUri"])],
                header=source.removeprefix(_HEADER),
                pattern=properties.get("IdentityValidationExpression", ""),
                ttl=ttl if max_ttl is None else min(ttl, max_ttl),
            )
        return found

    def caller(self, request: Request, arn: str, trace_id: str = "") -> Caller:
        """`arn` is of the method and path that are called. Raises `Refused`."""
        token = next((value for name, value in request.headers if name.lower() == self._header), "")
        if not token or not self._pattern.fullmatch(token):
            raise Refused("UNAUTHORIZED")
        begun = self._clock()
        answer = self._remembered(token)
        latency = 0
        if answer is None:
            with self._places:
                answer = self._remembered(token) or self._ask(token, arn, trace_id)
            latency = round(1000 * (self._clock() - begun))
        return _caller(answer, arn, latency)

    def _remembered(self, token: str) -> Mapping[str, Any] | None:
        known = self._answers.get(token)
        return known.answer if known and self._clock() < known.until else None

    def _ask(self, token: str, arn: str, trace_id: str) -> Mapping[str, Any]:
        event = {"type": "TOKEN", "authorizationToken": token, "methodArn": arn}
        try:
            answer = self._invoke(json.dumps(event).encode(), trace_id)
        except (TooManyRequests, RequestTooLarge):
            raise Refused("AUTHORIZER_FAILURE") from None
        document = _read(answer)
        if self._ttl > 0:
            self._answers[token] = _Remembered(document, self._clock() + self._ttl)
        return document


def _read(answer: Answer) -> dict[str, Any]:
    """The function's word for a caller who is not let in is an error whose message is exactly "Unauthorized"."""
    try:
        document = json.loads(answer.payload)
    except ValueError:
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR") from None
    if answer.failed:
        message = document.get("errorMessage") if isinstance(document, dict) else None
        raise Refused("UNAUTHORIZED" if message == "Unauthorized" else "AUTHORIZER_FAILURE")
    if not isinstance(document, dict):
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR")
    return document


def _caller(answer: Mapping[str, Any], arn: str, latency: int) -> Caller:
    principal, context, usage_key = answer.get("principalId"), answer.get("context") or {}, answer.get("usageIdentifierKey")
    try:
        allowed = allows(answer.get("policyDocument"), "execute-api:Invoke", arn)
    except MalformedPolicy:
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR") from None
    if not isinstance(principal, str) or not isinstance(context, dict) or not isinstance(usage_key, str | None):
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR")
    if not all(isinstance(value, str | int | float) for value in context.values()):
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR")  # neither null nor an object
    if not allowed:
        raise Refused("ACCESS_DENIED")
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in context.items()}
    return Caller(principal=principal, context=texts, usage_key=usage_key, latency=latency)
