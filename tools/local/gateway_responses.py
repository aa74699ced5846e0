"""The errors that API Gateway itself answers, in the shape that the template's GatewayResponse resources give them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from tools.local.assembly import Stack
from tools.local.errors import LocalError
from tools.local.messages import Response

__all__ = ["GatewayResponses"]

# https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html
_KNOWN = {
    "MISSING_AUTHENTICATION_TOKEN": (403, "Missing Authentication Token"),
    "UNAUTHORIZED": (401, "Unauthorized"),
    "ACCESS_DENIED": (403, "User is not authorized to access this resource"),
    "AUTHORIZER_FAILURE": (500, "Internal server error"),
    "AUTHORIZER_CONFIGURATION_ERROR": (500, "Internal server error"),
    "INVALID_API_KEY": (403, "Forbidden"),
    "THROTTLED": (429, "Too Many Requests"),
    "QUOTA_EXCEEDED": (429, "Limit Exceeded"),
    "BAD_REQUEST_BODY": (400, "Bad request"),
    "REQUEST_TOO_LARGE": (413, "Request Too Long"),
    "INTEGRATION_FAILURE": (502, "Internal server error"),
    "INTEGRATION_TIMEOUT": (504, "Endpoint request timed out"),
    "DEFAULT_5XX": (500, "Internal server error"),
}
_VARIABLE = re.compile(r"\$context\.([A-Za-z0-9_.]+[A-Za-z0-9_])")
_HEADER = "gatewayresponse.header."


@dataclass(frozen=True)
class _Shape:
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str = '{"message":$context.error.messageString}'


class GatewayResponses:
    """Builds the gateway's own errors."""

    def __init__(self, shapes: Mapping[str, _Shape]) -> None:
        self._shapes = shapes

    @classmethod
    def read(cls, stack: Stack) -> Self:
        return cls(
            {properties["ResponseType"]: _shape(properties) for _, properties in stack.resources("AWS::ApiGateway::GatewayResponse")}
        )

    def build(self, kind: str, request_id: str, *, status: int | None = None, message: str | None = None) -> Response:
        """`status` and `message` where an error's differ from its type's; the template's own status wins."""
        usual, text = _KNOWN[kind]
        code = status or usual
        shape = self._shapes.get(kind) or self._shapes.get(f"DEFAULT_{code // 100}XX") or _Shape()
        text = message or text
        context = {"error.message": text, "error.messageString": json.dumps(text), "error.responseType": kind, "requestId": request_id}
        body = _VARIABLE.sub(lambda found: _value(context, found[1]), shape.template)
        headers = {
            "Content-Type": "application/json",
            "x-amzn-RequestId": request_id,
            "x-amzn-ErrorType": _error_type(kind),
            **shape.headers,
        }
        return Response(status=shape.status or code, headers=list(headers.items()), body=body.encode())


def _shape(properties: Mapping[str, Any]) -> _Shape:
    headers = {
        name.removeprefix(_HEADER): value.strip("'")
        for name, value in properties.get("ResponseParameters", {}).items()
        if name.startswith(_HEADER)
    }
    template = properties.get("ResponseTemplates", {}).get("application/json", _Shape.template)
    status = properties.get("StatusCode")
    return _Shape(int(status) if status else None, headers, template)


def _value(context: Mapping[str, str], name: str) -> str:
    if name not in context:
        raise LocalError(f"a gateway response uses $context.{name}; the local runner knows {', '.join(sorted(context))}")
    return context[name]


def _error_type(kind: str) -> str:
    """`INTEGRATION_FAILURE` as `IntegrationFailureException`."""
    return "".join(part.capitalize() for part in kind.split("_")) + "Exception"
