"""Events and answers by orjson: the runtime client's own JSON takes as long as all that the function does besides, ten times as long for
an image. The client names its `marshaller` as what a function's author may replace."""

from __future__ import annotations

import sys
from typing import Any

import orjson

__all__ = ["Marshaller", "install"]


class Marshaller:
    """In place of `awslambdaric`'s, to which what orjson refuses is left: lone surrogates, and answers that are no JSON."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> Any:
        """The event in an invocation's body."""
        if content_type == "application/json":
            try:
                return orjson.loads(request)
            except orjson.JSONDecodeError:
                pass
        return self._usual.unmarshal_request(request, content_type)

    def marshal_response(self, response: Any) -> tuple[bytes | str, str]:
        """The body that carries a handler's answer, and its content type."""
        try:
            return orjson.dumps(response), "application/json"
        except TypeError:
            found: tuple[bytes | str, str] = self._usual.marshal_response(response)
            return found


def install() -> None:
    """Replaces the marshaller of the runtime client that has imported the function; without one there is nothing to replace."""
    module = sys.modules.get("awslambdaric.lambda_runtime_client")
    client: Any = getattr(module, "LambdaRuntimeClient", None)
    if hasattr(client, "marshaller"):
        client.marshaller = Marshaller(client.marshaller)
