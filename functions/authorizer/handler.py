"""Tells API Gateway whose key a request carries, and all that this client may call, so that the answer can be remembered."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from modelserve.aws import JsonService
from modelserve.clients import Client, Refused, check, presented, read_client
from modelserve.errors import ServeError, Unexpected, frames
from modelserve.policy import policy
from modelserve.settings import AuthorizerSettings

__all__ = ["Authorizer", "Unauthorized", "handler", "make_handler"]

_NOT_THEIRS = {"malformed", "unknown"}
"""Refusals of a name that is only a caller's text: no log repeats it."""
_Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


class Unauthorized(Exception):
    """The one word that API Gateway answers 401 to; any other error is 500.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-use-lambda-authorizer.html
    """

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Authorizer:
    """Finds whose key it is, and tells log and metrics how that went."""

    def __init__(
        self, settings: AuthorizerSettings, dynamodb: JsonService, clock: Callable[[], float], logger: Logger, metrics: Metrics
    ) -> None:
        self._table = settings.client_table
        self._dynamodb = dynamodb
        self._clock = clock
        self._logger = logger
        self._metrics = metrics

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """What API Gateway is told. Raises `Unauthorized` for whom it must not let in, `ServeError` when that can't be known."""
        try:
            client = self._client(str(event.get("authorizationToken")))
            answer = _answer(client, event["methodArn"])
        except ServeError as error:
            self._count(error.kind)
            self._logger.error("not checked", error=error.kind, reason=str(error))
            raise
        self._count("Authorized")
        self._logger.info("authorized", client=client.client)
        return answer

    def unexpected(self, error: Exception, request_id: str) -> Unexpected:
        """What to raise in place of `error`, whose text may quote the key: the runtime logs what is raised."""
        self._count(Unexpected.__name__)
        self._logger.error("unexpected error", error=type(error).__name__, frames=frames(error))
        return Unexpected(request_id)

    def _client(self, header: str) -> Client:
        name = ""
        try:
            name, key = presented(header)
            client = read_client(self._dynamodb, self._table, name)
            check(client, key, now=self._clock())
        except Refused as refused:
            raise self._unauthorized(refused.reason, name) from None
        return client

    def _unauthorized(self, reason: str, name: str) -> Unauthorized:
        self._count("Unauthorized")
        known: dict[str, Any] = {} if reason in _NOT_THEIRS else {"client": name}
        # A record that can't be read is ours to repair; the caller is let in no more than by a wrong key.
        (self._logger.error if reason == "unreadable" else self._logger.info)("refused", reason=reason, **known)
        return Unauthorized()

    def _count(self, metric: str) -> None:
        self._metrics.add_metric(metric, MetricUnit.Count, 1)


def make_handler(settings: AuthorizerSettings, dynamodb: JsonService, *, clock: Callable[[], float] = time.time) -> _Handler:
    """The Lambda handler of an authorizer that looks clients up in `settings.client_table`."""
    logger = Logger(service=settings.service)
    metrics = Metrics(namespace=settings.metrics_namespace, service=settings.service)
    authorizer = Authorizer(settings, dynamodb, clock, logger, metrics)

    @logger.inject_lambda_context(log_event=False)  # whatever the environment says: an event holds a key
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
        try:
            return authorizer.answer(event)
        except (ServeError, Unauthorized):
            raise
        except Exception as error:  # noqa: BLE001 - any other would be logged by the runtime with its text
            raise authorizer.unexpected(error, context.aws_request_id) from None

    return cast("_Handler", handle)  # the decorators forget the type


def _answer(client: Client, method_arn: str) -> dict[str, Any]:
    """What API Gateway may remember for this key, whichever path was asked for first. Raises `PolicyTooLarge`."""
    stage_arn = "/".join(method_arn.split("/")[:2])
    return {
        "principalId": client.client,
        "policyDocument": policy(stage_arn, client.models),
        "context": {"client": client.client, "models": ",".join(client.models), "plan": client.plan},
        "usageIdentifierKey": client.identifier,
    }


def _from_environ() -> _Handler:
    return make_handler(AuthorizerSettings.from_env(os.environ), JsonService.from_environ("dynamodb", os.environ))


handler = _from_environ()
