"""Which keys open what: the record as DynamoDB keeps it, and the check of what a caller presents."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.aws import JsonService, ServiceUnavailable
from modelserve.clients import Client, Key, Refused, check, from_item, hash_key, presented, read_client, to_item
from modelserve.record import replace

NOW = 1_795_000_000
SECRET = "A" * 42 + "_"
KEY = f"sox.shop.{SECRET}"
NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True)
MODELS = st.lists(st.just("*") | st.from_regex(r"[a-z][a-z0-9_]{0,47}", fullmatch=True), max_size=5).map(tuple)
TEXTS = st.text(max_size=30)
KEYS = st.builds(
    Key,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    created=TEXTS,
    expires=st.none() | st.integers(0, 10**11),
)
CLIENTS = st.builds(
    Client,
    client=NAMES,
    models=MODELS,
    plan=TEXTS,
    identifier=st.text(string.ascii_letters + string.digits + "-", min_size=20, max_size=128),
    keys=st.lists(KEYS, max_size=3).map(tuple),
    created=TEXTS,
    revoked=st.none() | TEXTS,
    api_key_id=TEXTS,
    by=TEXTS,
)


def a_client(*keys: Key, **other: Any) -> Client:
    fields: dict[str, Any] = {"client": "shop", "models": ("fruit",), "plan": "standard", "identifier": "shop-0123456789abcdef"}
    return Client(**fields | {"keys": keys, "created": "2026-11-21T00:00:00Z"} | other)


def a_key(key: str = KEY, *, expires: int | None = None) -> Key:
    return Key(sha256=hash_key(key), created="2026-11-21T00:00:00Z", expires=expires)


def refusal(client: Client, key: str = KEY, *, now: float = NOW) -> str:
    with pytest.raises(Refused) as raised:
        check(client, key, now=now)
    return raised.value.reason


# The header


def test_a_header_names_its_client():
    assert presented(f"Bearer {KEY}") == ("shop", KEY)


MALFORMED = ["", "Bearer", "Bearer ", KEY, f"bearer {KEY}", f"Bearer  {KEY}", f"Bearer {KEY} ", f"Bearer {KEY}\n", f" Bearer {KEY}"]
MALFORMED += [f"Bearer {KEY[:-1]}", f"Bearer {KEY}A", f"Bearer {KEY[:-1]}+", f"Bearer {KEY[:-1]}é", f"Basic {KEY}", f"\0Bearer {KEY}"]
MALFORMED += [f"Bearer {KEY.replace('shop', name)}" for name in ("Shop", "", "s" * 33, "-s", "s_p", "s.p")]


@pytest.mark.parametrize("header", [*MALFORMED, f"Bearer {KEY},Bearer {KEY}"])
def test_a_header_of_another_form_is_malformed(header):
    with pytest.raises(Refused, match="malformed"):
        presented(header)


@given(header=st.text() | st.from_regex(r"Bearer sox\..*") | st.text().map(lambda text: f"Bearer {KEY}{text}"))
def test_only_a_header_of_the_form_is_read(header):
    read = re.fullmatch(r"Bearer sox\.[a-z][a-z0-9-]{0,31}\.[A-Za-z0-9_-]{43}", header) is not None
    try:
        presented(header)
    except Refused:
        assert not read
    else:
        assert read


# The check


def test_the_key_opens():
    check(a_client(a_key()), KEY, now=NOW)


@given(key=st.text() | st.text(string.ascii_letters, min_size=43, max_size=43).map(lambda secret: f"sox.shop.{secret}"))
def test_no_other_key_does(key):
    if key != KEY:
        assert refusal(a_client(a_key()), key) == "wrong"


@pytest.mark.parametrize("place", range(len(KEY)))
def test_a_key_with_one_other_character_is_wrong(place):
    assert refusal(a_client(a_key()), KEY[:place] + ("B" if KEY[place] != "B" else "C") + KEY[place + 1 :]) == "wrong"


def test_the_hash_is_no_key():
    assert refusal(a_client(a_key()), hash_key(KEY)) == "wrong"


def test_a_key_opens_until_it_expires():
    client = a_client(a_key(expires=NOW))

    check(client, KEY, now=NOW - 0.001)
    assert refusal(client, now=NOW) == "expired"


def test_during_an_overlap_both_keys_open():
    client = a_client(a_key("sox.shop.old", expires=NOW + 1), a_key())

    check(client, "sox.shop.old", now=NOW)
    check(client, KEY, now=NOW)
    assert refusal(client, "sox.shop.old", now=NOW + 1) == "expired"


def test_a_client_that_was_revoked_is_out_whatever_keys_it_has():
    assert refusal(a_client(a_key(), revoked="2026-11-21T00:00:00Z")) == "revoked"


def test_a_client_without_keys_is_out():
    assert refusal(a_client()) == "wrong"


# The item


@given(client=CLIENTS)
def test_a_client_is_read_as_it_was_written(client):
    assert from_item(to_item(client)) == client


def test_what_is_none_is_left_out():
    item = to_item(a_client(a_key()))

    assert "revoked" not in item
    assert "expires" not in item["keys"]["L"][0]["M"]


WHOLE = to_item(a_client(a_key(expires=NOW), revoked="2026", api_key_id="id", by="me"))
HOSTILE: list[Any] = [
    None,
    {},
    [],
    "text",
    5,
    True,
    {"S": None},
    {"S": 5},
    {"S": ["x"]},
    {"L": None},
    {"L": "x"},
    {"L": {"S": "x"}},
    {"M": {}},
]
HOSTILE += [{"L": [None]}, {"L": [{"S": 5}]}, {"L": [{"M": None}]}, {"L": [{"M": {}}]}, {"NULL": True}, {"N": "1"}, {"BOOL": False}]


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
@pytest.mark.parametrize("name", WHOLE)
def test_an_item_with_another_type_in_it_is_refused(name, hostile):
    with pytest.raises(Refused, match="unreadable"):
        from_item({**WHOLE, name: hostile})


@pytest.mark.parametrize("name", ["client", "models", "plan", "identifier", "keys", "created"])
def test_an_item_that_lacks_an_attribute_is_refused(name):
    with pytest.raises(Refused, match="unreadable"):
        from_item({key: value for key, value in WHOLE.items() if key != name})


@pytest.mark.parametrize("item", [None, [], "text", 5, {}])
def test_what_is_no_item_is_refused(item):
    with pytest.raises(Refused, match="unreadable"):
        from_item(item)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sha256", {"S": text}) for text in ("A" * 64, "é" * 64, "", "0" * 63)),
        *(("expires", {"N": number}) for number in ("", "-1", "1e9", "1.5", "NaN", "9" * 5000, "\u0661", " 1", 5)),
        ("created", {}),
        ("expires", {}),
    ],
)
def test_a_key_of_another_form_is_refused(name, value):
    item = copy.deepcopy(WHOLE)
    item["keys"]["L"][0]["M"][name] = value
    with pytest.raises(Refused, match="unreadable"):
        from_item(item)


@pytest.mark.parametrize("model", ["", "fru*", "**", "fruit/../other", "fruit?", "Fruit", "a,b", "fruit\n", "x" * 49])
def test_a_model_that_could_mean_more_than_itself_is_refused(model):
    with pytest.raises(Refused, match="unreadable"):
        from_item({**WHOLE, "models": {"L": [{"S": model}]}})


LEAVES = st.none() | st.booleans() | st.text(max_size=5)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*WHOLE, "S", "L", "M", "N"]), inner))


@given(item=NESTED)
def test_anything_for_an_item_is_refused(item):
    with pytest.raises(Refused, match="unreadable"):
        from_item(item)


# The table


@pytest.fixture(scope="module")
def table(moto_url: str) -> Iterator[Any]:
    made = boto3.client(
        "dynamodb", endpoint_url=moto_url, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="local"
    )
    schema: Any = [{"AttributeName": "client", "KeyType": "HASH"}]
    made.create_table(
        TableName="clients",
        KeySchema=schema,
        AttributeDefinitions=[{"AttributeName": "client", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield made
    made.delete_table(TableName="clients")


@pytest.fixture
def lean(table) -> JsonService:
    environ = {"AWS_ENDPOINT_URL": table.meta.endpoint_url, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    return JsonService.from_environ("dynamodb", environ)


def test_a_client_that_boto3_wrote_is_read_without_it(table, lean):
    client = a_client(a_key(expires=NOW), a_key("other"), by="ünï")
    table.put_item(TableName="clients", Item=to_item(client))

    assert read_client(lean, "clients", "shop") == client


def test_a_client_that_nobody_made_is_unknown(lean):
    with pytest.raises(Refused, match="unknown"):
        read_client(lean, "clients", "nobody")


def test_a_table_that_is_not_there_is_no_unknown_client(lean):
    with pytest.raises(ServiceUnavailable, match="ResourceNotFoundException"):
        read_client(lean, "elsewhere", "shop")


class Answering(JsonService):
    """A DynamoDB that answers one document to everything."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.asked: list[Any] = []

    def call(self, target: str, document: Any) -> dict[str, Any]:
        self.asked.append(document)
        return self._document


def test_it_asks_for_what_was_written_last():
    """Otherwise a client that was just revoked could still be let in."""
    service = Answering({"Item": WHOLE})
    read_client(service, "clients", "shop")

    assert service.asked[0]["ConsistentRead"] is True


@pytest.mark.parametrize("item", [{}, [], "x", to_item(replace(a_client(a_key()), client="other"))])
def test_an_answer_about_something_else_is_refused(item):
    with pytest.raises(Refused, match="unreadable"):
        read_client(Answering({"Item": item}), "clients", "shop")
