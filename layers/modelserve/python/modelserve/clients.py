"""Who may call, by which keys: the record of a client, as the table keeps it, and the check of a key that somebody presents.

A key is `sox.<client>.<secret>` with 256 random bits of secret, so that one round of SHA-256 keeps it: nothing is there to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from ._typing import Any
from .aws import JsonService
from .record import Record
from .settings import BEARER_PATTERN

__all__ = ["ALL_MODELS", "CLIENT_NAME", "Client", "Key", "Refused", "check", "from_item", "hash_key", "presented", "read_client", "to_item"]

ALL_MODELS = "*"
"""Stands in a client's models for every model, also those to come."""
CLIENT_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MODEL = re.compile(r"\*|[a-z][a-z0-9_]{0,47}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9-]{20,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EPOCH = re.compile(r"[0-9]{1,12}")
_BEARER = re.compile(BEARER_PATTERN)


class Refused(Exception):
    """A key that opens nothing; the reason is a kind, for logs, and tells nothing that was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Key(Record):
    """One key of a client; only its hash is kept."""

    sha256: str
    """In hex, of the whole key."""
    created: str
    """UTC, ISO 8601."""
    expires: int | None = None
    """Seconds since 1970, after which it opens nothing; None never expires."""


class Client(Record):
    """One caller: what it may call, and how it proves who it is."""

    client: str
    models: tuple[str, ...]
    plan: str
    """The name of its usage plan."""
    identifier: str
    """The value of its API Gateway key, by which that throttles and meters; opens nothing."""
    keys: tuple[Key, ...]
    created: str
    revoked: str | None = None
    """When it was shut out, for good."""
    api_key_id: str = ""
    """The id of its API Gateway key; only modelctl needs it."""
    by: str = ""
    """Who made it."""


def presented(header: str) -> tuple[str, str]:
    """The client's name and the whole key of an Authorization header. Raises `Refused`."""
    match = _BEARER.fullmatch(header)  # `$` alone would let a line feed follow
    if not match:
        raise Refused("malformed")
    return match[1], header.removeprefix("Bearer ")


def hash_key(key: str) -> str:
    """What is kept of a key: its SHA-256, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def check(client: Client, key: str, *, now: float) -> None:
    """Raises `Refused` unless `key` opens what this client may call at `now`, in seconds since 1970."""
    if client.revoked is not None:
        raise Refused("revoked")
    digest = hash_key(key)
    # Each one is compared, so that the time tells nothing of which.
    matching = [each for each in client.keys if hmac.compare_digest(each.sha256, digest)]
    if not matching:
        raise Refused("wrong")
    if not any(each.expires is None or now < each.expires for each in matching):
        raise Refused("expired")


def read_client(dynamodb: JsonService, table: str, name: str) -> Client:
    """The client of that name, as it is now. Raises `Refused`, `ServiceUnavailable`."""
    request = {"TableName": table, "Key": {"client": {"S": name}}, "ConsistentRead": True}
    item = dynamodb.call("DynamoDB_20120810.GetItem", request).get("Item")
    if item is None:
        raise Refused("unknown")
    found = from_item(item)
    if found.client != name:
        raise Refused("unreadable")
    return found


def to_item(client: Client) -> dict[str, Any]:
    """The client in DynamoDB's notation; what is None is left out."""
    item: dict[str, Any] = {name: {"S": value} for name, value in vars(client).items() if isinstance(value, str)}
    return item | {"models": {"L": [{"S": model} for model in client.models]}, "keys": {"L": [_from_key(key) for key in client.keys]}}


def from_item(item: Any) -> Client:
    """The client that `to_item` wrote. Raises `Refused` for anything else."""
    try:
        return Client(
            client=_text(item["client"], CLIENT_NAME),
            models=tuple(_text(each, _MODEL) for each in _list(item["models"])),
            plan=_text(item["plan"]),
            identifier=_text(item["identifier"], _IDENTIFIER),
            keys=tuple(_to_key(each["M"]) for each in _list(item["keys"])),
            created=_text(item["created"]),
            revoked=_text(item["revoked"]) if "revoked" in item else None,
            api_key_id=_text(item["api_key_id"]) if "api_key_id" in item else "",
            by=_text(item["by"]) if "by" in item else "",
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Refused("unreadable") from None


def _from_key(key: Key) -> dict[str, Any]:
    fields: dict[str, Any] = {"sha256": {"S": key.sha256}, "created": {"S": key.created}}
    return {"M": fields if key.expires is None else fields | {"expires": {"N": str(key.expires)}}}


def _to_key(fields: Mapping[str, Any]) -> Key:
    expires = _text({"S": fields["expires"]["N"]}, _EPOCH) if "expires" in fields else None
    return Key(
        sha256=_text(fields["sha256"], _SHA256),
        created=_text(fields["created"]),
        expires=None if expires is None else int(expires),
    )


def _text(attribute: Mapping[str, Any], form: re.Pattern[str] | None = None) -> str:
    value = attribute["S"]
    if not isinstance(value, str) or (form and not form.fullmatch(value)):
        raise ValueError(value)
    return value


def _list(attribute: Mapping[str, Any]) -> list[Any]:
    value = attribute["L"]
    if not isinstance(value, list):
        raise TypeError(value)
    return value
