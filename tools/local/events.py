"""A request as the event of a REST API's Lambda proxy integration, and its answer back to a response."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from tools.local.assembly import ACCOUNT
from tools.local.authorizer import Caller
from tools.local.messages import Request, Response
from tools.local.routes import Match

__all__ = ["MalformedAnswer", "event", "response"]

# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
_NOT_PASSED_ON = {"connection", "content-length", "expect", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}
_NOT_SENT_BACK = {"content-length", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}
_REMAPPED = {"authorization", "connection", "date", "host", "server", "user-agent", "www-authenticate"}


class MalformedAnswer(Exception):
    """Not what a proxy integration may answer; API Gateway makes a 502 of it."""


def event(
    request: Request, match: Match, *, caller: Caller | None, stage: str, path: str, request_id: str, trace_id: str, api_id: str
) -> bytes:
    """JSON of payload format 1.0; `path` is the request's without its stage, `request.path` as the client sent it."""
    host = {name.lower(): value for name, value in request.headers}.get("host", "localhost")
    headers = [(name, value) for name, value in request.headers if name.lower() not in _NOT_PASSED_ON]
    headers += [("X-Amzn-Trace-Id", trace_id), ("X-Forwarded-For", request.source_ip), ("X-Forwarded-Proto", "http")]
    query = parse_qsl(request.query, keep_blank_values=True)
    now = time.time()
    document: dict[str, Any] = {
        "resource": match.route.resource,
        "path": path,
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _many(headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _many(query) or None,
        "pathParameters": match.parameters or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": match.route.resource_id,
            "resourcePath": match.route.resource,
            "httpMethod": request.method,
            "extendedRequestId": request_id,
            "requestTime": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "path": request.path,
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": stage,
            "domainPrefix": host.partition(".")[0].partition(":")[0],
            "requestTimeEpoch": int(now * 1000),
            "requestId": request_id,
            "identity": _identity(request),
            "domainName": host.partition(":")[0],
            "apiId": api_id,
            **_authorizer(caller),
        },
        "body": base64.b64encode(request.body).decode() if request.body else None,
        # binaryMediaTypes is */*: every body there is comes as base64.
        "isBase64Encoded": bool(request.body),
    }
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogateescape")


def response(payload: bytes) -> Response:
    """Raises `MalformedAnswer` for what API Gateway would not take."""
    try:
        answer = json.loads(payload)
    except ValueError:
        raise MalformedAnswer("the function's answer is no JSON") from None
    if not isinstance(answer, dict) or not set(answer) <= {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}:
        raise MalformedAnswer("the function's answer is no object of statusCode, headers, multiValueHeaders, body and isBase64Encoded")
    return Response(status=_status(answer.get("statusCode")), headers=list(_headers(answer)), body=_body(answer))


def _identity(request: Request) -> dict[str, str | None]:
    """That of a call which no AWS credentials signed."""
    agent = next((value for name, value in request.headers if name.lower() == "user-agent"), None)
    unknown = ("cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "principalOrgId", "accessKey")
    more = ("cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "user")
    return {**dict.fromkeys(unknown + more), "sourceIp": request.source_ip, "userAgent": agent}


def _authorizer(caller: Caller | None) -> dict[str, Any]:
    if caller is None:
        return {}
    return {"authorizer": {**caller.context, "principalId": caller.principal, "integrationLatency": caller.latency}}


def _many(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _status(found: object) -> int:
    try:
        status = int(found)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise MalformedAnswer(f"statusCode is {found!r}; expected a number") from None
    if not 100 <= status <= 599:
        raise MalformedAnswer(f"statusCode is {status}; expected 100 to 599")
    return int(status)


def _headers(answer: dict[str, Any]) -> Iterable[tuple[str, str]]:
    many = {str(name).lower(): values for name, values in (answer.get("multiValueHeaders") or {}).items()}
    single = {name: value for name, value in (answer.get("headers") or {}).items() if name.lower() not in many}
    pairs = [*single.items(), *((name, value) for name, values in many.items() for value in values)]
    for name, value in pairs:
        if not isinstance(value, str):
            raise MalformedAnswer(f"header {name} is {value!r}; expected a string")
        if name.lower() not in _NOT_SENT_BACK:
            yield (f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name), value


def _body(answer: dict[str, Any]) -> bytes:
    body = answer.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswer(f"body is of type {type(body).__name__}; expected a string")
    if answer.get("isBase64Encoded") is not True:
        return body.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedAnswer("body is no base64, and isBase64Encoded is true") from None
