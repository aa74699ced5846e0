"""What modelctl writes, the authorizer reads: a client's life against one DynamoDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from modelserve.aws import JsonService
from modelserve.settings import AuthorizerSettings
from tests.unit.invocations import Context
from tools.modelctl.clients import Clients

from .test_authorizer import STAGE

LOCAL = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}


class Clock:
    now = 1_795_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clients(moto_url: str, clock: Clock) -> Iterator[Clients]:
    dynamodb: Any = boto3.client("dynamodb", endpoint_url=moto_url, **LOCAL)  # type: ignore[call-overload]
    apigateway: Any = boto3.client("apigateway", endpoint_url=moto_url, **LOCAL)  # type: ignore[call-overload]
    dynamodb.create_table(
        TableName="authorized",
        KeySchema=[{"AttributeName": "client", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "client", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    plans = {"standard": apigateway.create_usage_plan(name="standard")["id"]}
    yield Clients(table="authorized", dynamodb=dynamodb, apigateway=apigateway, plans=plans, clock=clock)
    dynamodb.delete_table(TableName="authorized")


@pytest.fixture
def opened(moto_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The models that a key opens, none where it is refused."""
    monkeypatch.setenv("CLIENT_TABLE", "authorized")
    from functions.authorizer.handler import Unauthorized, make_handler

    environ = {"AWS_ENDPOINT_URL": moto_url, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    handle = make_handler(AuthorizerSettings(client_table="authorized"), JsonService.from_environ("dynamodb", environ), clock=clock)

    def ask(key: str) -> str | None:
        try:
            answer = handle({"authorizationToken": f"Bearer {key}", "methodArn": f"{STAGE}/GET/v2"}, Context())
        except Unauthorized:
            return None
        return str(answer["context"]["models"])

    return ask


def test_a_client_is_let_in_from_its_creation_to_its_revocation(clients: Clients, clock: Clock, opened: Any) -> None:
    first = clients.create("shop", models=("fruit",), plan="standard", by="me")
    other = clients.create("lab", models=("*",), plan="standard", by="me")
    assert (opened(first), opened(other), opened(first.replace("shop", "lab"))) == ("fruit", "*", None)

    clients.update("shop", models=("fruit", "house_price"))
    second = clients.rotate("shop", overlap=3600)
    assert (opened(first), opened(second)) == ("fruit,house_price", "fruit,house_price")

    clock.now += 3600
    assert (opened(first), opened(second)) == (None, "fruit,house_price")

    clients.revoke("shop")
    assert (opened(first), opened(second), opened(other)) == (None, None, "*")
