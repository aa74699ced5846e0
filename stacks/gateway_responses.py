"""API Gateway's own errors, in the protocol's shape; without these, a client that parses `{"error": …}` would meet another document."""

from __future__ import annotations

import json
from collections.abc import Mapping

from aws_cdk import aws_apigateway as apigateway

from .settings import DeploymentSettings

__all__ = ["add_gateway_responses"]

_Type = apigateway.ResponseType
_MESSAGES: Mapping[_Type, str] = {
    _Type.MISSING_AUTHENTICATION_TOKEN: (
        "the request is not signed, or there is no such path; sign it with AWS credentials (curl --aws-sigv4, or an AWS SDK) "
        "and call a path under /v2"
    ),
    _Type.INVALID_SIGNATURE: (
        "the signature doesn't match; sign for service execute-api in this API's region, with valid credentials, over the very bytes sent"
    ),
    _Type.EXPIRED_TOKEN: "the credentials have expired; get new ones, and check this machine's clock",
    _Type.ACCESS_DENIED: "these credentials may not call this API; allow execute-api:Invoke on it to their role or user",
    _Type.THROTTLED: "too many requests at once; try again after the seconds in Retry-After, waiting longer each time",
    _Type.REQUEST_TOO_LARGE: (
        "the request is too large; Lambda takes 6 MB, which is about 4.4 MB of binary data; send fewer rows at a time, or compress the body"
    ),
    _Type.INTEGRATION_TIMEOUT: "the model did not answer within 29 s; send fewer rows, or give the model more memory in its model.toml",
    _Type.INTEGRATION_FAILURE: (
        "the model's function failed or its answer was larger than 6 MB; ask for fewer rows or binary output; its log has the reason"
    ),
    # $context.error.responseType is one word in capitals, so it can't break the document.
    _Type.DEFAULT_4_XX: "API Gateway refused the request ($context.error.responseType); compare it with the Open Inference Protocol",
    _Type.DEFAULT_5_XX: "API Gateway could not answer ($context.error.responseType); try again, and look into the API's access log",
}
_STATUS = {_Type.INTEGRATION_FAILURE: "502"}
_RETRY_AFTER = {_Type.THROTTLED: "1"}
"""Seconds."""


def add_gateway_responses(api: apigateway.RestApi, settings: DeploymentSettings) -> None:
    """Covers every error that API Gateway can answer by itself; the two defaults take what isn't named."""
    for response_type, message in _MESSAGES.items():
        headers = {}
        if settings.cors_origin:
            headers["Access-Control-Allow-Origin"] = f"'{settings.cors_origin}'"
        if response_type in _RETRY_AFTER:
            headers["Retry-After"] = f"'{_RETRY_AFTER[response_type]}'"
        api.add_gateway_response(
            response_type.response_type,
            type=response_type,
            status_code=_STATUS.get(response_type),
            response_headers=headers or None,
            templates={"application/json": json.dumps({"error": message}, ensure_ascii=False)},
        )
