"""Who is let in, what they may call, and what no log ever tells."""

from __future__ import annotations

import json
import string
import traceback
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelserve.aws import JsonService, ServiceUnavailable
from modelserve.clients import Client, Key, hash_key, to_item
from modelserve.errors import ServeError
from modelserve.policy import PolicyTooLarge
from modelserve.record import replace
from modelserve.settings import AuthorizerSettings
from tests.unit.invocations import Context, lines, logged

STAGE = "arn:aws:execute-api:us-east-1:123456789012:abcdefghij/prod"
NOW = 1_795_000_000
SECRET = "Zx9_-" + "q" * 38
KEY = f"sox.shop.{SECRET}"
SHOP = Client(
    client="shop",
    models=("fruit", "house_price"),
    plan="standard",
    identifier="shop-0123456789abcdef",
    keys=(Key(sha256=hash_key(KEY), created="2026-11-21T00:00:00Z"),),
    created="2026-11-21T00:00:00Z",
)


class Table(JsonService):
    """A DynamoDB of a few clients."""

    def __init__(self, *clients: Client, items: dict[str, Any] | None = None, broken: bool = False) -> None:
        self._items = {each.client: to_item(each) for each in clients} | (items or {})
        self._broken = broken
        self.asked: list[str] = []

    def call(self, target: str, document: Any) -> dict[str, Any]:
        assert (target, document["TableName"]) == ("DynamoDB_20120810.GetItem", "clients")
        if self._broken:
            raise ServiceUnavailable("dynamodb", "GetItem", "HTTP 400 AccessDeniedException")
        name = document["Key"]["client"]["S"]
        self.asked.append(name)
        return {"Item": self._items[name]} if name in self._items else {}


@pytest.fixture(scope="module")
def module():
    """It reads its environment when it is imported, as Lambda does."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CLIENT_TABLE", "clients")
        from functions.authorizer import handler

    return handler


@pytest.fixture(scope="module")
def ask(module):
    """Sends what API Gateway sends."""

    def send(
        header: Any = f"Bearer {KEY}", table: Table | None = None, *, now: float = NOW, path: str = "POST/v2/models/fruit/infer"
    ) -> Any:
        handle = module.make_handler(AuthorizerSettings(client_table="clients"), table or Table(SHOP), clock=lambda: now)
        return handle({"type": "TOKEN", "authorizationToken": header, "methodArn": f"{STAGE}/{path}"}, Context())

    return send


@pytest.fixture
def log(ask):
    ask()  # makes the logger
    with logged() as written:
        yield written


REFUSED: dict[str, tuple[Any, Table]] = {
    "malformed": (f"Bearer {KEY}x", Table(SHOP)),
    "unknown": (f"Bearer sox.stranger.{SECRET}", Table(SHOP)),
    "wrong": (f"Bearer {KEY[:-1]}r", Table(SHOP)),
    "expired": (f"Bearer {KEY}", Table(replace(SHOP, keys=(replace(SHOP.keys[0], expires=NOW),)))),
    "revoked": (f"Bearer {KEY}", Table(replace(SHOP, revoked="2026-11-21T00:00:00Z"))),
    "unreadable": (f"Bearer {KEY}", Table(items={"shop": {"client": {"S": "shop"}}})),
}


# Who is let in


def test_a_key_opens_all_models_of_its_client_whichever_was_asked_for(ask):
    """API Gateway remembers the answer for the key, and goes by it for other paths."""
    answer = ask()

    (allow, _) = answer["policyDocument"]["Statement"]
    assert {f"{STAGE}/*/v2/models/{name}/*" for name in ("fruit", "house_price")} <= set(allow["Resource"])
    assert answer == ask(path="GET/v2") == ask(path="POST/v2/models/other/infer")


def test_the_functions_behind_are_told_who_calls(ask):
    answer = ask()

    assert answer["principalId"] == "shop"
    assert answer["context"] == {"client": "shop", "models": "fruit,house_price", "plan": "standard"}
    assert answer["usageIdentifierKey"] == "shop-0123456789abcdef"


@pytest.mark.parametrize("reason", REFUSED)
def test_whoever_is_not_let_in_is_told_one_and_the_same(ask, module, reason):
    header, table = REFUSED[reason]
    with pytest.raises(module.Unauthorized, match=r"^Unauthorized$") as raised:
        ask(header, table)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("header", [None, "", 5, [], {}, f"Bearer {KEY}\n", KEY, f"bearer {KEY}"])
def test_a_header_of_another_form_asks_nobody(ask, module, header):
    table = Table(SHOP)
    with pytest.raises(module.Unauthorized):
        ask(header, table)
    assert table.asked == []


ALPHABET = string.ascii_letters + string.digits + "-_"
LIKE_A_KEY = st.tuples(st.sampled_from(["shop", "shop2", "sho", "a"]), st.text(ALPHABET, min_size=43, max_size=43))


@given(header=st.text() | LIKE_A_KEY.map(lambda parts: "Bearer sox.{}.{}".format(*parts)))
@example(header=f"Bearer sox.shop2.{SECRET}")
@example(header=f"Bearer {hash_key(KEY)}")
def test_nothing_but_the_key_opens(ask, module, header):
    if header != f"Bearer {KEY}":
        with pytest.raises(module.Unauthorized):
            ask(header, Table(SHOP, replace(SHOP, client="shop2", keys=())))


@pytest.mark.parametrize("place", range(len(f"Bearer {KEY}")))
def test_a_header_with_one_other_character_opens_nothing(ask, module, place):
    header = f"Bearer {KEY}"
    other = "w" if header[place] != "w" else "v"
    with pytest.raises(module.Unauthorized):
        ask(header[:place] + other + header[place + 1 :])


def test_a_table_that_does_not_answer_lets_nobody_in_and_blames_no_key(ask):
    with pytest.raises(ServiceUnavailable):
        ask(table=Table(SHOP, broken=True))


def test_a_client_of_more_models_than_a_policy_can_name_is_not_let_in(ask):
    with pytest.raises(PolicyTooLarge):
        ask(table=Table(replace(SHOP, models=tuple(f"model_{number}" for number in range(200)))))


# What is told


def test_a_client_that_is_let_in_is_logged_by_name(ask, log):
    ask()

    (line,) = lines(log)
    assert (line["message"], line["client"], line["function_request_id"]) == ("authorized", "shop", "a-request")


@pytest.mark.parametrize("reason", REFUSED)
def test_a_refusal_is_logged_by_its_reason_and_never_by_what_was_sent(ask, module, log, reason):
    header, table = REFUSED[reason]
    with pytest.raises(module.Unauthorized):
        ask(header, table)

    (line,) = lines(log)
    assert (line["message"], line["reason"]) == ("refused", reason)
    assert line.get("client") == (None if reason in {"malformed", "unknown"} else "shop")
    assert "stranger" not in log.getvalue()


@pytest.mark.parametrize("reason", ["authorized", "broken", *REFUSED])
def test_no_log_and_no_metric_has_a_part_of_a_key(ask, monkeypatch, log, capsys, reason):
    monkeypatch.setenv("POWERTOOLS_LOGGER_LOG_EVENT", "true")
    header, table = {**REFUSED, "authorized": (f"Bearer {KEY}", None), "broken": (f"Bearer {KEY}", Table(broken=True))}[reason]
    try:
        ask(header, table)
    except Exception as error:  # noqa: BLE001 - of every kind
        told = repr(error)
    else:
        told = ""
    told += log.getvalue() + "".join(capsys.readouterr())

    assert not [part for part in ("Bearer", "sox.", SECRET, SECRET[:12], SECRET[-12:], hash_key(KEY)) if part in told]


def test_a_table_that_does_not_answer_is_logged_with_its_reason(ask, log, capsys):
    with pytest.raises(ServiceUnavailable):
        ask(table=Table(broken=True))

    (line,) = lines(log)
    assert (line["message"], line["error"]) == ("not checked", "ServiceUnavailable")
    assert "AccessDeniedException" in line["reason"]
    assert counted(capsys, "ServiceUnavailable") == [1.0]


def counted(capsys: pytest.CaptureFixture[str], metric: str) -> list[float] | None:
    found = [each[metric] for each in map(json.loads, capsys.readouterr().out.splitlines()) if metric in each]
    return found[0] if found else None


def test_a_bug_lets_nobody_in_and_is_logged_without_its_text(ask, module, log):
    """The runtime logs the text of what is raised, and a bug's may quote the key."""

    class Broken(Table):
        def call(self, target: str, document: Any) -> dict[str, Any]:
            raise LookupError(KEY)

    with pytest.raises(ServeError, match="a-request") as raised:
        ask(table=Broken())
    (line,) = lines(log)
    assert (line["error"], "test_authorizer.py" in line["frames"][-1]) == ("LookupError", True)
    assert SECRET not in log.getvalue() + "".join(traceback.format_exception(raised.value))


def test_those_let_in_are_counted(ask, capsys):
    ask()

    assert counted(capsys, "Authorized") == [1.0]


@pytest.mark.parametrize("reason", REFUSED)
def test_those_refused_are_counted(ask, module, capsys, reason):
    with pytest.raises(module.Unauthorized):
        ask(*REFUSED[reason])

    assert counted(capsys, "Unauthorized") == [1.0]


def test_the_metrics_of_two_deployments_are_apart(module, capsys):
    settings = AuthorizerSettings(client_table="clients", service="serverless-onnx-dev")
    module.make_handler(settings, Table(SHOP), clock=lambda: NOW)(
        {"authorizationToken": f"Bearer {KEY}", "methodArn": f"{STAGE}/GET/v2"}, Context()
    )

    assert all(each["service"] == "serverless-onnx-dev" for each in map(json.loads, capsys.readouterr().out.splitlines()))
