"""API Gateway's own errors, in the protocol's shape; without these, a client that parses `{"error": …}` would meet another document."""

from __future__ import annotations

import json

from aws_cdk import aws_apigateway as apigateway

from .settings import DeploymentSettings

__all__ = ["add_gateway_responses"]

_NO_SUCH_PATH = "there is no such path; call a path under /v2, with the API's stage in front of it"
# By name: jsii makes a new object for a `ResponseType` each time it is asked for one.
_MESSAGES = {
    "UNAUTHORIZED": (
        "no valid key; send the header Authorization: Bearer <key>, with a key that modelctl client create printed and that has "
        "neither expired nor been revoked"
    ),
    "ACCESS_DENIED": "this key does not open that model or path; ask for it to be added with: modelctl client update NAME --models",
    # A client whose plan API Gateway doesn't know: its identifier was deleted, or the API was made anew.
    "INVALID_API_KEY": "this client has no usage plan at this API; attach it again with: modelctl client update NAME --plan",
    "AUTHORIZER_FAILURE": "the key could not be checked; try again, and look into the authorizer's log",
    "AUTHORIZER_CONFIGURATION_ERROR": "the authorizer's answer could not be used; look into its log, and deploy the stack again",
    # Without an Authorization header, or with one that API Gateway takes for a signature, a path that no route covers ends here.
    "MISSING_AUTHENTICATION_TOKEN": _NO_SUCH_PATH,
    "INVALID_SIGNATURE": _NO_SUCH_PATH,
    "WAF_FILTERED": "the firewall refused the request: too many from this address, or it looks like an attack; try again in five minutes",
    "THROTTLED": "too many requests at once; try again after the seconds in Retry-After, waiting longer each time",
    "QUOTA_EXCEEDED": "this client's requests of the day are used up; they count anew from midnight UTC, or ask for a larger plan",
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
_HEADERS = {
    "UNAUTHORIZED": {"WWW-Authenticate": "Bearer"},
    # Seconds.
    "THROTTLED": {"Retry-After": "1"},
    "QUOTA_EXCEEDED": {"Retry-After": "3600"},
}


def add_gateway_responses(api: apigateway.RestApi, settings: DeploymentSettings) -> None:
    """Covers every error that API Gateway can answer by itself; the two defaults take what isn't named."""
    cors = {"Access-Control-Allow-Origin": settings.cors_origin} if settings.cors_origin else {}
    for name, message in _MESSAGES.items():
        api.add_gateway_response(
            name,
            type=apigateway.ResponseType.of(name),
            response_headers={header: f"'{value}'" for header, value in {**cors, **_HEADERS.get(name, {})}.items()},
            templates={"application/json": json.dumps({"error": message}, ensure_ascii=False)},
        )
