"""Events and answers by orjson: the runtime client's own JSON takes as long as all that the function does besides, ten times as long for
an image. The client names its `marshaller` as what a function's author may replace."""

from __future__ import annotations

import os
import sys

import orjson

from modelserve._lazy import postpone
from modelserve._typing import Any

__all__ = ["Marshaller", "install", "postpone_usual"]

_BODY = b'"body":"'
_LARGE = 32 * 2**10


class _JSONEncoder:
    """Stands in for simplejson's as the base of the runtime client's encoder; one is made when something is asked of it."""

    def __init__(self, **options: Any) -> None:
        self._options = options

    def default(self, value: Any) -> Any:
        return _simplejson().JSONEncoder().default(value)

    def __getattr__(self, name: str) -> Any:
        return getattr(_simplejson().JSONEncoder(default=self.default, **self._options), name)


class Marshaller:
    """In place of `awslambdaric`'s, to which what orjson refuses is left: lone surrogates, and answers that are no JSON."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> Any:
        """The event in an invocation's body."""
        if content_type == "application/json":
            try:
                return _without_body(request) or orjson.loads(request)
            except ValueError:
                pass
        return self._usual.unmarshal_request(request, content_type)

    def marshal_response(self, response: Any) -> tuple[bytes | str, str]:
        """The body that carries a handler's answer, and its content type."""
        try:
            return orjson.dumps(response), "application/json"
        except TypeError:
            found: tuple[bytes | str, str] = self._usual.marshal_response(response)
            return found


def _without_body(request: bytes) -> dict[str, Any] | None:
    """The event, its body put in behind the parser's back: of an image, this takes a seventh of the time. None where it can't be so.

    A large body that is said to be base64 is looked for, in the only place that is named so, and up to the next quote: base64 has none, and
    no escapes. Whether it is base64 is seen when it is decoded.
    """
    found = request.find(_BODY) if len(request) >= _LARGE else -1
    start = found + len(_BODY)
    end = request.find(b'"', start)
    if found < 0 or end - start < _LARGE or request.find(b"\\", start, end) >= 0 or request.find(_BODY, end) >= 0:
        return None
    mark = os.urandom(8).hex()  # which stands where the body did, and nowhere else: what is so named may be another object's, or text
    event = orjson.loads(b"".join((request[:start], mark.encode(), request[end:])))
    if type(event) is not dict or event.get("body") != mark or event.get("isBase64Encoded") is not True:
        return None
    event["body"] = request[start:end].decode()
    return event


def _simplejson() -> Any:
    return sys.modules["simplejson"].encoder


def postpone_usual() -> None:
    """Has the runtime client, which is not imported yet, import its JSON when something is left to it: a twentieth of a cold start."""
    postpone("decimal")
    postpone("simplejson", JSONEncoder=_JSONEncoder)


def install() -> None:
    """Replaces the marshaller of the runtime client that has imported the function; without one there is nothing to replace."""
    module = sys.modules.get("awslambdaric.lambda_runtime_client")
    client: Any = getattr(module, "LambdaRuntimeClient", None)
    if hasattr(client, "marshaller"):
        client.marshaller = Marshaller(client.marshaller)
