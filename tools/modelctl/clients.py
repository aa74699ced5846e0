"""Lets clients in and out: their records and keys in DynamoDB, their place in a usage plan in API Gateway.

    clients = Clients(table="…", dynamodb=client, apigateway=client, plans={"standard": "<usage plan id>"})
    key = clients.create("shop", models=("fruit",), plan="standard", by="who")

`dynamodb` and `apigateway` are boto3 clients. A record is the only thing that lets anybody in, so it is written last when a client is made
and first when it is revoked; every write is on the condition that the record is still as it was read.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from modelserve.clients import ALL_MODELS, CLIENT_NAME, Client, Key, Refused, from_item, hash_key, to_item
from modelserve.policy import policy
from modelserve.record import replace
from tools.modelctl.errors import UsageFailed
from tools.modelctl.usage import UsageKeys

__all__ = ["Clients", "check_models", "live_keys"]

_LONGEST_STAGE = "arn:aws-us-gov:execute-api:ap-southeast-2:123456789012:abcdefghij/local"


class Clients:
    """The clients of one deployment. Every method raises `UsageFailed` for what can't be done as asked."""

    def __init__(
        self, *, table: str, dynamodb: Any, apigateway: Any, plans: Mapping[str, str], clock: Callable[[], float] = time.time
    ) -> None:
        """`plans` are the ids of usage plans by name."""
        self._table = table
        self._dynamodb = dynamodb
        self._usage = UsageKeys(apigateway, plans)
        self._plans = plans
        self._clock = clock

    def create(self, name: str, *, models: Sequence[str], plan: str, by: str) -> str:
        """A new client's key, which is kept nowhere. Raises `PolicyTooLarge` too."""
        if not CLIENT_NAME.fullmatch(name):
            raise UsageFailed(f"{name!r} can't name a client; expected a letter, then at most 31 of a-z, 0-9 and -")
        self._check(models, plan)
        if self._item(name) is not None:
            raise _taken(name)
        key = _new_key(name)
        identifier = f"{name}-{secrets.token_hex(16)}"
        key_id = self._usage.create(name, identifier)
        try:
            self._usage.put(key_id, plan)
            client = Client(
                client=name,
                models=tuple(models),
                plan=plan,
                identifier=identifier,
                keys=(self._key(key),),
                created=self._now(),
                api_key_id=key_id,
                by=by,
            )
            self._write(client, None)
        except BaseException:  # Ctrl-C too
            self._usage.delete(key_id)
            raise
        return key

    def list(self) -> list[Client]:
        """Every client, revoked ones too, by name."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=self._table, ConsistentRead=True)
        return sorted((_read(item) for page in pages for item in page["Items"]), key=lambda client: client.client)

    def rotate(self, name: str, *, overlap: float) -> str:
        """A new key; the former one works for another `overlap` seconds."""
        client = self._live(name)
        now = int(self._clock())
        former = live_keys(client, now) if overlap else ()
        if len(former) > 1:
            until = _time(min(key.expires for key in former if key.expires))
            raise UsageFailed(
                f"{name} has two keys already, since the overlap of the former rotation is not over; wait until {until}, "
                f"or end both at once with --overlap 0"
            )
        key = _new_key(name)
        ends = now + int(overlap)
        kept = tuple(replace(each, expires=min(each.expires or ends, ends)) for each in former)
        self._write(replace(client, keys=(*kept, self._key(key))), client)
        return key

    def update(self, name: str, *, models: Sequence[str] | None = None, plan: str | None = None) -> Client:
        """The client with other models or another plan; without either, it is put back into its plan."""
        client = self._live(name)
        wanted = replace(client, models=client.models if models is None else tuple(models), plan=plan or client.plan)
        self._check(wanted.models, wanted.plan)
        made = "" if self._usage.exists(client.api_key_id) else self._usage.create(name, client.identifier)
        wanted = replace(wanted, api_key_id=made or client.api_key_id)
        try:
            if wanted != client:
                self._write(wanted, client)
        except BaseException:  # Ctrl-C too
            if made:
                self._usage.delete(made)
            raise
        self._usage.put(wanted.api_key_id, wanted.plan)
        return wanted

    def revoke(self, name: str) -> Client:
        """The client without keys, for good; its name is not given again. Wins over whatever else changes it meanwhile."""
        if self._item(name) is None:
            raise _unknown(name)
        answer = self._dynamodb.update_item(
            TableName=self._table,
            Key={"client": {"S": name}},
            UpdateExpression="SET #revoked = if_not_exists(#revoked, :now), #keys = :none",
            ExpressionAttributeNames={"#revoked": "revoked", "#keys": "keys"},
            ExpressionAttributeValues={":now": {"S": self._now()}, ":none": {"L": []}},
            ReturnValues="ALL_NEW",
        )
        client = _read(answer["Attributes"])
        self._usage.delete(client.api_key_id)
        return client

    def in_plan(self, client: Client) -> bool:
        """Whether API Gateway counts the client by its plan; it refuses one that is in none."""
        return self._usage.is_in(client.api_key_id, client.plan)

    def _check(self, models: Sequence[str], plan: str) -> None:
        if plan not in self._plans:
            raise UsageFailed(f"there is no plan {plan!r}; expected one of {', '.join(self._plans)}")
        if not models:
            raise UsageFailed("a client without models may call nothing; name at least one, or '*' for all")
        policy(_LONGEST_STAGE, models)

    def _live(self, name: str) -> Client:
        item = self._item(name)
        if item is None:
            raise _unknown(name)
        client = _read(item)
        if client.revoked is not None:
            raise UsageFailed(f"{name} was revoked at {client.revoked}, for good; create a client of another name")
        return client

    def _item(self, name: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(TableName=self._table, Key={"client": {"S": name}}, ConsistentRead=True)
        found: dict[str, Any] | None = answer.get("Item")
        return found

    def _write(self, client: Client, before: Client | None) -> None:
        """On the condition that the record is still `before`, or that there is none."""
        known = to_item(before) if before else {}
        conditions = [f"#{name} = :{name}" for name in known]
        conditions.append("attribute_not_exists(#revoked)" if before else "attribute_not_exists(#client)")
        names = {f"#{name}": name for name in (*known, "revoked" if before else "client")}
        values: dict[str, Any] = {"ExpressionAttributeValues": {f":{name}": value for name, value in known.items()}} if before else {}
        try:
            self._dynamodb.put_item(
                TableName=self._table,
                Item=to_item(client),
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeNames=names,
                **values,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            if self._item(client.client) == to_item(client):
                return  # written by an attempt whose answer got lost
            raise (_changed if before else _taken)(client.client) from None

    def _key(self, key: str) -> Key:
        return Key(sha256=hash_key(key), created=self._now())

    def _now(self) -> str:
        return _time(self._clock())


def check_models(models: Sequence[str], known: Collection[str]) -> None:
    """Raises `UsageFailed` for a model that no folder of models/ has."""
    if unknown := [name for name in models if name not in known and name != ALL_MODELS]:
        raise UsageFailed(f"there is no model {unknown[0]!r}; expected some of {', '.join(sorted(known))}, or '*' for all")


def live_keys(client: Client, now: float) -> tuple[Key, ...]:
    """The keys that open something at `now`, in seconds since 1970."""
    return tuple(key for key in client.keys if key.expires is None or now < key.expires)


def _new_key(name: str) -> str:
    return f"sox.{name}.{secrets.token_urlsafe(32)}"


def _read(item: dict[str, Any]) -> Client:
    try:
        return from_item(item)
    except Refused:
        name = item.get("client", {}).get("S")
        advice = "modelctl did not write it: repair or delete the item"
        raise UsageFailed(f"the record of client {name!r} can't be read, so that nobody gets in by it; {advice}") from None


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _taken(name: str) -> UsageFailed:
    advice = f"`modelctl client list` shows it, `modelctl client rotate {name}` gives it a new key"
    return UsageFailed(f"there is, or was, a client {name!r} already; {advice}")


def _unknown(name: str) -> UsageFailed:
    return UsageFailed(f"there is no client {name!r}; `modelctl client list` shows those that there are")


def _changed(name: str) -> UsageFailed:
    return UsageFailed(f"{name} was changed by somebody else at the same time; look at `modelctl client list`, then try again")
