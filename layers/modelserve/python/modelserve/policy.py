"""What a client's key opens, in the words of API Gateway: one policy for all of it, so that it holds whatever was asked first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from ._typing import Any
from .clients import ALL_MODELS
from .errors import ServeError

__all__ = ["MAX_POLICY_BYTES", "PolicyTooLarge", "policy"]

MAX_POLICY_BYTES = 8192
"""API Gateway's limit on a resource policy; for an authorizer's AWS names none, but larger ones fail to be evaluated.

https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
"""
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_SERVER = ("*/v2/health/*", "*/v2/models", "*/v2/models/", "*/v2/repository/*")
_EXACT = ("", "/", "/jobs/*", "/uploads*")
"""Below `/v2`, by their methods, so that nothing stands before: `*/v2` would fit another model's version of the name v2, and `*/v2/jobs/*`
what is asked of a model of that name. Whose a job is, only the function behind knows; it answers each client for its own."""
_SECOND = ("*/v2*/v2/health/*", "*/v2*/v2/models*", "*/v2*/v2/repository/*")
"""A `*` stands for slashes too: without these a path such as /v2/models/another/v2/models/own/infer would be the client's own."""


class PolicyTooLarge(ServeError):
    """More models than one policy can name."""

    def __init__(self, models: int, size: int) -> None:
        advice = "allow every model (*), or split them over two clients"
        super().__init__(f"a policy for {models} models takes {size:,} bytes, of {MAX_POLICY_BYTES:,} at most; {advice}")


def policy(stage_arn: str, models: Iterable[str]) -> dict[str, Any]:
    """Allows the server's own paths and those of `models`, nothing else; `stage_arn` is `arn:…:<api>/<stage>`. Raises `PolicyTooLarge`.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
    """
    names = tuple(models)
    exact = [f"{method}/v2{path}" for method in _METHODS for path in _EXACT]
    allowed = [*exact, *_SERVER, *_models(names)]
    statements = [_statement("Allow", stage_arn, allowed)]
    if ALL_MODELS not in names:
        statements.append(_statement("Deny", stage_arn, _SECOND))
    document = {"Version": "2012-10-17", "Statement": statements}
    size = len(orjson.dumps(document))
    if size > MAX_POLICY_BYTES:
        raise PolicyTooLarge(len(names), size)
    return document


def _models(names: tuple[str, ...]) -> Iterator[str]:
    if ALL_MODELS in names:
        yield "*/v2/models/*"
        return
    for name in names:
        yield f"*/v2/models/{name}"
        yield f"*/v2/models/{name}/*"


def _statement(effect: str, stage_arn: str, paths: Iterable[str]) -> dict[str, Any]:
    return {"Effect": effect, "Action": "execute-api:Invoke", "Resource": [f"{stage_arn}/{path}" for path in paths]}
