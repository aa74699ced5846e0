"""Tells API Gateway whose key a request carries, and all that this client may call, so that the answer can be remembered."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from typing import Any, cast

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from modelserve.aws import JsonService
from modelserve.clients import Client, Refused, check, presented, read_client
from modelserve.errors import ServeError, Unexpected
from modelserve.policy import policy
from modelserve.settings import AuthorizerSettings

__all__ = ["Unauthorized", "handler", "make_handler"]

_NOT_THEIRS = {"malformed", "unknown"}
"""Refusals of a name that is only a caller's text: no log repeats it."""
_Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Unauthorized(Exception):
    """The one word that API Gateway answers 401 to; any other error is 500.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
    """

    def __init__(self) -> None:
        super().__init__("Unauthorized")


def make_handler(settings: AuthorizerSettings, dynamodb: JsonService, *, clock: Callable[[], float] = time.time) -> _Handler:
    """The Lambda handler of an authorizer that looks clients up in `settings.client_table`."""
    logger = Logger(service=settings.service)
    metrics = Metrics(namespace=settings.metrics_namespace, service=settings.service)

    def refuse(reason: str, name: str) -> Unauthorized:
        metrics.add_metric("Unauthorized", MetricUnit.Count, 1)
        known: dict[str, Any] = {} if reason in _NOT_THEIRS else {"client": name}
        # A record that can't be read is ours to repair; the caller is let in no more than by a wrong key.
        (logger.error if reason == "unreadable" else logger.info)("refused", reason=reason, **known)
        return Unauthorized()

    def authorize(event: dict[str, Any]) -> Client:
        name = ""
        try:
            name, key = presented(str(event.get("authorizationToken")))
            client = read_client(dynamodb, settings.client_table, name)
            check(client, key, now=clock())
        except Refused as refused:
            raise refuse(refused.reason, name) from None
        return client

    @logger.inject_lambda_context(log_event=False)  # whatever the environment says: an event holds a key
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            client = authorize(event)
            answer = _answer(client, event["methodArn"])
        except ServeError as error:
            metrics.add_metric(error.kind, MetricUnit.Count, 1)
            logger.error("not checked", error=error.kind, reason=str(error))
            raise
        except Unauthorized:
            raise
        except Exception as error:  # noqa: BLE001 - the runtime would log its text, which may quote the key
            frames = [
                f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
            ]
            metrics.add_metric(Unexpected.__name__, MetricUnit.Count, 1)
            logger.error("unexpected error", error=type(error).__name__, frames=frames)
            raise Unexpected(context.aws_request_id) from None
        metrics.add_metric("Authorized", MetricUnit.Count, 1)
        logger.info("authorized", client=client.client)
        return answer

    return cast("_Handler", handle)  # the decorators forget the type


def _answer(client: Client, method_arn: str) -> dict[str, Any]:
    """What API Gateway may remember for this key, whichever path was asked for first. Raises `PolicyTooLarge`."""
    stage_arn = "/".join(method_arn.split("/")[:2])
    return {
        "principalId": client.client,
        "policyDocument": policy(stage_arn, client.models),
        "context": {"client": client.client, "models": ",".join(client.models)},
        "usageIdentifierKey": client.identifier,
    }


def _from_environ() -> _Handler:
    return make_handler(AuthorizerSettings.from_env(os.environ), JsonService.from_environ("dynamodb", os.environ))


handler = _from_environ()
