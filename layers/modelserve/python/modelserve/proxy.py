"""What AWS hands over, as a request, and the answer as AWS wants it back."""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from contextlib import suppress

from ._typing import Any
from .dataplane import MAX_ANSWER_BYTES, answer_too_large
from .endpoints import BEFORE_V2, Request, Response, error_response
from .errors import InvalidRequest

__all__ = ["authorized", "body_of", "from_event", "preflight", "target_of", "to_proxy", "within_limit"]

_MAX_ANSWER = MAX_ANSWER_BYTES - 16 * 2**10
"""Lambda's limit on a synchronous answer, less the room for its envelope."""
_LARGE = 32 * 2**10
"""From here on `pybase64` gains more than its import takes."""
_ALLOWED_HEADERS = "Authorization, Content-Encoding, Content-Type, Idempotency-Key, Inference-Header-Content-Length"


def authorized(event: Any) -> tuple[str | None, str | None]:
    """Whom the authorizer let in, and on which plan; None and None where a service invokes the function itself."""
    # Step by step: an exception, where there is no authorizer, would take as long as all of the rest.
    context = event.get("requestContext") if type(event) is dict else None
    authorizer = context.get("authorizer") if type(context) is dict else None
    if type(authorizer) is not dict:
        return None, None
    client, plan = authorizer.get("client"), authorizer.get("plan")
    return client if type(client) is str else None, plan if type(plan) is str else None


def target_of(event: dict[str, Any]) -> tuple[str, str]:
    """Method and path of a REST API (v1), HTTP API or function URL (v2) event. Raises `KeyError`, `TypeError`."""
    if "httpMethod" in event:
        return event["httpMethod"], event["path"]
    return event["requestContext"]["http"]["method"], event["rawPath"]


def body_of(event: dict[str, Any]) -> bytes | str:
    """The body: its bytes, or as text where each character is one byte. Raises `ValueError`, `AttributeError`, `TypeError`."""
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        return _decoded(body)
    return body if body.isascii() else body.encode()  # to encode what is long takes as long as to look at its letters


def from_event(event: Any, document: Any = None) -> Request:
    """A request from an event, whose body is the JSON of `document` where that has been read. Raises `InvalidRequest`."""
    try:
        method, path = target_of(event)
        if not path.startswith("/v2/models/"):  # as most paths do
            path = BEFORE_V2.sub("", path)
        headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
        body = body_of(event)
    except ValueError as error:
        raise InvalidRequest(f"the body could not be decoded: {error}; send bytes or UTF-8 text") from None
    except (AttributeError, KeyError, TypeError):
        raise InvalidRequest("the event is neither an HTTP request nor an inference request; send an object with 'inputs'") from None
    client, plan = authorized(event)
    return Request(method, path, headers, body.encode() if isinstance(body, str) else body, client, plan=plan, document=document)


def within_limit(response: Response) -> Response:
    """The response, or an error in place of one that is over Lambda's limit."""
    if 6 * len(response.body) <= _MAX_ANSWER or _size(response.body, text=_is_text(response)) <= _MAX_ANSWER:
        return response
    return error_response(answer_too_large(_MAX_ANSWER))


def to_proxy(response: Response, cors_origin: str) -> dict[str, Any]:
    """The answer in the form that all three kinds of event take."""
    text = _is_text(response)
    if cors_origin:
        response.headers["Access-Control-Allow-Origin"] = cors_origin
        response.headers["Access-Control-Expose-Headers"] = "Inference-Header-Content-Length, Location, Retry-After"
    return {
        "statusCode": response.status,
        "headers": response.headers,
        "body": response.body.decode() if text else _encoded(response.body),
        "isBase64Encoded": not text,
    }


def preflight() -> Response:
    """The answer to a browser that asks before it calls."""
    headers = {
        "Access-Control-Allow-Methods": "DELETE, GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
        "Access-Control-Max-Age": "600",
    }
    return Response(204, headers, b"")


def _decoded(body: str) -> bytes:
    if len(body) >= _LARGE:
        with suppress(ImportError):  # functions that take small bodies only have none
            from pybase64 import b64decode  # noqa: PLC0415 - small bodies do without

            return b64decode(body, validate=True)
    return a2b_base64(body, strict_mode=True)


def _encoded(body: bytes) -> str:
    if len(body) >= _LARGE:
        with suppress(ImportError):  # as above
            from pybase64 import b64encode_as_string  # noqa: PLC0415 - as above

            return b64encode_as_string(body)
    return b2a_base64(body, newline=False).decode("ascii")


def _is_text(response: Response) -> bool:
    return response.headers.get("Content-Type") == "application/json"


def _size(body: bytes, *, text: bool) -> int:
    """Bytes that the body takes within the answer, where JSON escapes text, to six bytes at worst, and base64 grows the rest."""
    if not text:
        return -(-len(body) // 3) * 4
    return len(json.dumps(body.decode()))
