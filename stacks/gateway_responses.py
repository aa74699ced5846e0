"""API Gateway's own errors, in the protocol's shape; without these, a client that parses `{"error": …}` would meet another document."""

from __future__ import annotations

import json

from aws_cdk import aws_apigateway as apigateway

from .settings import DeploymentSettings

__all__ = ["add_gateway_responses"]

# By name: jsii makes a new object for a `ResponseType` each time it is asked for one.
_MESSAGES = {
    "MISSING_AUTHENTICATION_TOKEN": (
        "the request is not signed, or there is no such path; sign it with AWS credentials (curl --aws-sigv4, or an AWS SDK) "
        "and call a path under /v2"
    ),
    "INVALID_SIGNATURE": (
        "the signature doesn't match; sign for service execute-api in this API's region, with valid credentials, over the very bytes sent"
    ),
    "EXPIRED_TOKEN": "the credentials have expired; get new ones, and check this machine's clock",
    "ACCESS_DENIED": "these credentials may not call this API; allow execute-api:Invoke on it to their role or user",
    "THROTTLED": "too many requests at once; try again after the seconds in Retry-After, waiting longer each time",
    "REQUEST_TOO_LARGE": (
        "the request is too large; Lambda takes 6 MB, which is about 4.4 MB of binary data; send fewer rows at a time, or compress the body"
    ),
    "INTEGRATION_TIMEOUT": "the model did not answer within 29 s; send fewer rows, or give the model more memory in its model.toml",
    "INTEGRATION_FAILURE": (
        "the model's function failed or its answer was larger than 6 MB; ask for fewer rows or binary output; its log has the reason"
    ),
    # $context.error.responseType is one word in capitals, so it can't break the document.
    "DEFAULT_4XX": "API Gateway refused the request ($context.error.responseType); compare it with the Open Inference Protocol",
    "DEFAULT_5XX": "API Gateway could not answer ($context.error.responseType); try again, and look into the API's access log",
}
_RETRY_AFTER = {"THROTTLED": "1"}
"""Seconds."""


def add_gateway_responses(api: apigateway.RestApi, settings: DeploymentSettings) -> None:
    """Covers every error that API Gateway can answer by itself; the two defaults take what isn't named."""
    for name, message in _MESSAGES.items():
        headers = {}
        if settings.cors_origin:
            headers["Access-Control-Allow-Origin"] = f"'{settings.cors_origin}'"
        if name in _RETRY_AFTER:
            headers["Retry-After"] = f"'{_RETRY_AFTER[name]}'"
        api.add_gateway_response(
            name,
            type=apigateway.ResponseType.of(name),
            response_headers=headers,
            templates={"application/json": json.dumps({"error": message}, ensure_ascii=False)},
        )
