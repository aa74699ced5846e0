"""Letting clients in and out: what is written, in which order, and what an interruption leaves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from typer.testing import CliRunner, Result

from modelserve.clients import Client, Refused, check, from_item, hash_key
from modelserve.policy import PolicyTooLarge
from modelserve.settings import BEARER_PATTERN
from tests.unit.modelctl.factories import deploy, model_folder
from tools.modelctl import console, paths
from tools.modelctl.cli import app
from tools.modelctl.clients import Clients
from tools.modelctl.errors import UsageFailed

NOW = 1_795_000_000.0
DAY = 24 * 3600


class World:
    """A table, an API and its usage plans."""

    def __init__(self) -> None:
        self.dynamodb: Any = boto3.client("dynamodb")
        self.apigateway: Any = boto3.client("apigateway")
        self.dynamodb.create_table(
            TableName="clients",
            KeySchema=[{"AttributeName": "client", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "client", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        self.plans = {name: self.apigateway.create_usage_plan(name=name)["id"] for name in ("trial", "standard", "premium")}
        self.now = NOW
        self.clients = self.another()

    def another(self) -> Clients:
        """Somebody else's view of the same clients."""
        return Clients(table="clients", dynamodb=self.dynamodb, apigateway=self.apigateway, plans=self.plans, clock=lambda: self.now)

    def create(self, name: str = "shop", *, models: tuple[str, ...] = ("fruit",), plan: str = "standard") -> str:
        return self.clients.create(name, models=models, plan=plan, by="me")

    def stored(self, name: str = "shop") -> Client:
        return from_item(self.dynamodb.get_item(TableName="clients", Key={"client": {"S": name}})["Item"])

    def opens(self, key: str, name: str = "shop") -> bool:
        try:
            check(self.stored(name), key, now=self.now)
        except Refused:
            return False
        return True

    def api_keys(self) -> dict[str, str]:
        return {each["id"]: each["value"] for each in self.apigateway.get_api_keys(includeValues=True)["items"]}

    def counted_by(self, key_id: str) -> list[str]:
        found = [plan["id"] for plan in self.apigateway.get_usage_plans(keyId=key_id)["items"]]
        return [name for name, plan_id in self.plans.items() if plan_id in found]


@pytest.fixture
def world() -> Iterator[World]:
    with mock_aws():
        yield World()


def failing(monkeypatch: pytest.MonkeyPatch, client: Any, operation: str, error: BaseException, *, after: bool = False) -> None:
    """One call of a boto3 client fails, or takes effect and then fails."""
    real = getattr(client, operation)
    calls: list[int] = []

    def call(**parameters: Any) -> Any:
        calls.append(1)
        if len(calls) > 1:
            return real(**parameters)
        if after:
            real(**parameters)
        raise error

    monkeypatch.setattr(client, operation, call)


def a_client_error() -> ClientError:
    return ClientError({"Error": {"Code": "InternalServerError", "Message": "m"}}, "any")


# create


def test_a_key_opens_and_only_its_hash_is_kept(world: World) -> None:
    key = world.create()

    assert re.fullmatch(BEARER_PATTERN, f"Bearer {key}")
    assert key.startswith("sox.shop.")
    assert world.opens(key)
    item = json.dumps(world.dynamodb.get_item(TableName="clients", Key={"client": {"S": "shop"}})["Item"])
    assert key not in item
    assert key.rpartition(".")[2] not in item
    assert hash_key(key) in item


def test_two_keys_are_never_the_same(world: World) -> None:
    assert world.create("one").rpartition(".")[2] != world.create("two").rpartition(".")[2]


def test_a_client_is_counted_by_its_plan_under_its_identifier(world: World) -> None:
    key = world.create(plan="premium")
    client = world.stored()

    assert world.api_keys() == {client.api_key_id: client.identifier}
    assert world.counted_by(client.api_key_id) == ["premium"]
    assert world.clients.in_plan(client)
    assert key not in client.identifier
    assert 20 <= len(client.identifier) <= 128


@pytest.mark.parametrize("name", ["", "Shop", "1shop", "-shop", "s" * 33, "shop\n", "a.b", "a_b", "../x"])
def test_a_name_that_a_key_could_not_carry_is_refused(world: World, name: str) -> None:
    with pytest.raises(UsageFailed, match="can't name a client"):
        world.create(name)
    assert world.api_keys() == {}


def test_an_unknown_plan_is_refused_with_those_that_there_are(world: World) -> None:
    with pytest.raises(UsageFailed, match=r"no plan 'gold'; expected one of trial, standard, premium"):
        world.create(plan="gold")


def test_no_models_are_refused(world: World) -> None:
    with pytest.raises(UsageFailed, match="name at least one"):
        world.create(models=())


def test_more_models_than_a_policy_can_name_are_refused(world: World) -> None:
    with pytest.raises(PolicyTooLarge, match=r"allow every model \(\*\)"):
        world.create(models=tuple(f"model_{number}" for number in range(100)))
    assert world.api_keys() == {}


def test_a_name_is_given_once(world: World) -> None:
    key = world.create()
    with pytest.raises(UsageFailed, match=r"a client 'shop' already; .* `modelctl client rotate shop`"):
        world.create()
    assert world.opens(key)
    assert len(world.api_keys()) == 1


def test_of_two_at_once_one_wins_and_the_other_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both saw that the name was free."""
    other = world.another()
    monkeypatch.setattr(other, "_item", lambda name, real=other._item, seen=[None]: seen.pop() if seen else real(name))
    key = world.create()

    with pytest.raises(UsageFailed, match="already"):
        other.create("shop", models=("*",), plan="premium", by="other")
    assert world.opens(key)
    assert list(world.api_keys()) == [world.stored().api_key_id]


@pytest.mark.parametrize("error", [a_client_error(), KeyboardInterrupt()], ids=["failed", "interrupted"])
@pytest.mark.parametrize(("service", "operation"), [("apigateway", "create_usage_plan_key"), ("dynamodb", "put_item")])
def test_what_breaks_off_leaves_no_client_and_no_api_key(
    world: World, monkeypatch: pytest.MonkeyPatch, service: str, operation: str, error: BaseException
) -> None:
    failing(monkeypatch, getattr(world, service), operation, error)
    with pytest.raises(type(error)):
        world.create()

    assert world.api_keys() == {}
    assert world.clients.list() == []
    assert world.opens(world.create())


def test_a_write_whose_answer_got_lost_is_no_conflict(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 tries again by itself, and then meets its own item."""
    real = world.dynamodb.put_item
    monkeypatch.setattr(world.dynamodb, "put_item", lambda **parameters: (real(**parameters), real(**parameters)))

    key = world.create()
    newer = world.clients.rotate("shop", overlap=DAY)

    assert (world.opens(key), world.opens(newer)) == (True, True)


# rotate


def test_during_the_overlap_both_keys_open_and_then_the_new_one_only(world: World) -> None:
    old = world.create()
    new = world.clients.rotate("shop", overlap=DAY)

    assert (world.opens(old), world.opens(new)) == (True, True)
    world.now += DAY - 1
    assert (world.opens(old), world.opens(new)) == (True, True)
    world.now += 1
    assert (world.opens(old), world.opens(new)) == (False, True)


def test_without_an_overlap_every_former_key_ends_at_once(world: World) -> None:
    first = world.create()
    second = world.clients.rotate("shop", overlap=DAY)
    third = world.clients.rotate("shop", overlap=0)

    assert [world.opens(key) for key in (first, second, third)] == [False, False, True]


def test_a_third_live_key_is_refused_and_both_stay(world: World) -> None:
    first = world.create()
    second = world.clients.rotate("shop", overlap=DAY)

    with pytest.raises(UsageFailed, match=r"two keys already.*wait until 2026-11-19T11:06:40Z, or .*--overlap 0"):
        world.clients.rotate("shop", overlap=DAY)
    assert (world.opens(first), world.opens(second)) == (True, True)
    world.now += DAY
    third = world.clients.rotate("shop", overlap=DAY)
    assert [world.opens(key) for key in (first, second, third)] == [False, True, True]
    assert len(world.stored().keys) == 2


def test_of_two_rotations_at_once_one_wins_and_the_other_shows_no_key(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.create()
    other = world.another()
    before = world.stored()
    monkeypatch.setattr(other, "_live", lambda _: before)
    new = world.clients.rotate("shop", overlap=0)

    with pytest.raises(UsageFailed, match="changed by somebody else"):
        other.rotate("shop", overlap=DAY)
    assert (world.opens(old), world.opens(new)) == (False, True)


# revoke


def test_a_revoked_client_has_no_key_and_no_place_in_a_plan(world: World) -> None:
    key = world.create()
    client = world.clients.revoke("shop")

    assert not world.opens(key)
    assert (client.revoked, client.keys) == ("2026-11-18T11:06:40Z", ())
    assert world.api_keys() == {}
    assert world.stored().models == ("fruit",)


def test_revoking_again_changes_nothing(world: World) -> None:
    world.create()
    first = world.clients.revoke("shop")
    world.now += 10

    assert world.clients.revoke("shop") == first


@pytest.mark.parametrize("error", [a_client_error(), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_a_revocation_that_breaks_off_has_shut_out_and_can_be_done_again(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    key = world.create()
    failing(monkeypatch, world.apigateway, "delete_api_key", error)
    with pytest.raises(type(error)):
        world.clients.revoke("shop")

    assert not world.opens(key)
    world.clients.revoke("shop")
    assert world.api_keys() == {}


@pytest.mark.parametrize(
    "change",
    [lambda clients: clients.rotate("shop", overlap=DAY), lambda clients: clients.update("shop", models=("*",))],
    ids=["rotate", "update"],
)
def test_a_revocation_wins_over_what_was_under_way(world: World, monkeypatch: pytest.MonkeyPatch, change: Callable[[Clients], Any]) -> None:
    key = world.create()
    other = world.another()
    before = world.stored()
    monkeypatch.setattr(other, "_live", lambda _: before)
    world.clients.revoke("shop")

    with pytest.raises(UsageFailed, match="changed by somebody else"):
        change(other)
    assert not world.opens(key)
    assert world.stored().keys == ()
    assert world.api_keys() == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda clients: clients.rotate("shop", overlap=DAY),
        lambda clients: clients.update("shop", models=("*",)),
        lambda clients: clients.create("shop", models=("*",), plan="trial", by="me"),
    ],
    ids=["rotate", "update", "create"],
)
def test_a_revoked_client_does_not_come_back(world: World, change: Callable[[Clients], Any]) -> None:
    world.create()
    world.clients.revoke("shop")
    with pytest.raises(UsageFailed, match=r"revoked at|already"):
        change(world.clients)
    assert world.stored().revoked


# update


def test_other_models_leave_the_key_as_it_is(world: World) -> None:
    key = world.create()
    world.clients.update("shop", models=("house_price", "fruit"))

    assert world.opens(key)
    assert (world.stored().models, world.stored().plan) == (("house_price", "fruit"), "standard")


def test_another_plan_counts_the_client_and_the_former_does_not(world: World) -> None:
    key = world.create()
    world.clients.update("shop", plan="premium")

    assert world.opens(key)
    assert world.counted_by(world.stored().api_key_id) == ["premium"]
    assert (world.stored().models, world.stored().plan) == (("fruit",), "premium")


@pytest.mark.parametrize("error", [a_client_error(), KeyboardInterrupt()], ids=["failed", "interrupted"])
def test_a_change_of_plan_that_breaks_off_leaves_the_client_in_its_plan(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    world.create()
    failing(monkeypatch, world.apigateway, "create_usage_plan_key", error)
    with pytest.raises(type(error)):
        world.clients.update("shop", plan="premium")

    assert world.counted_by(world.stored().api_key_id) == ["standard"]
    assert not world.clients.in_plan(world.stored())  # as doctor sees it
    world.clients.update("shop")
    assert world.counted_by(world.stored().api_key_id) == ["premium"]


def test_without_a_change_the_client_is_put_back_into_its_plan(world: World) -> None:
    """The Serving stack was made anew: other usage plans of the same names."""
    key = world.create()
    world.plans = {name: world.apigateway.create_usage_plan(name=name)["id"] for name in ("trial", "standard")}
    world.clients = world.another()
    assert not world.clients.in_plan(world.stored())

    world.clients.update("shop")

    assert world.clients.in_plan(world.stored())
    assert world.opens(key)


def test_an_api_key_that_is_gone_is_made_again(world: World) -> None:
    world.create()
    before = world.stored()
    world.apigateway.delete_api_key(apiKey=before.api_key_id)

    world.clients.update("shop")

    assert world.api_keys() == {world.stored().api_key_id: before.identifier}
    assert world.clients.in_plan(world.stored())


def test_updating_twice_is_as_once(world: World) -> None:
    world.create()
    assert world.clients.update("shop") == world.clients.update("shop") == world.stored()


@pytest.mark.parametrize("models", [(), tuple(f"model_{number}" for number in range(100))], ids=["none", "many"])
def test_models_that_can_not_be_are_refused(world: World, models: tuple[str, ...]) -> None:
    world.create()
    with pytest.raises((UsageFailed, PolicyTooLarge)):
        world.clients.update("shop", models=models)
    assert world.stored().models == ("fruit",)


@pytest.mark.parametrize(
    "change",
    [
        lambda clients: clients.rotate("nobody", overlap=0),
        lambda clients: clients.update("nobody"),
        lambda clients: clients.revoke("nobody"),
    ],
    ids=["rotate", "update", "revoke"],
)
def test_a_client_that_nobody_made_is_not_made_by_a_change(world: World, change: Callable[[Clients], Any]) -> None:
    with pytest.raises(UsageFailed, match="no client 'nobody'"):
        change(world.clients)
    assert world.clients.list() == []


def test_a_record_that_modelctl_did_not_write_is_named(world: World) -> None:
    world.dynamodb.put_item(TableName="clients", Item={"client": {"S": "odd"}, "models": {"S": "*"}})

    with pytest.raises(UsageFailed, match="the record of client 'odd' can't be read"):
        world.clients.list()


# The commands


@pytest.fixture
def deployed(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """A deployment `dev` with two models."""
    for name in ("fruit", "house_price"):
        model_folder(tmp_path / "models", name)
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(console.out, "width", 240)
    monkeypatch.setenv("MODELCTL_DEPLOYMENT", "dev")
    deploy("Store", {"ModelBucket": "store-bucket", "ClientTable": "clients"})
    deploy("Serving", {"ApiUrl": "https://api.example/dev/", "Plans": json.dumps(world.plans)})
    return world


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["client", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_create_shows_a_key_that_opens_and_the_call_to_make(deployed: World) -> None:
    shown = run("create", "shop", "--models", "fruit, house_price", "--plan", "premium").stdout
    (key,) = set(re.findall(r"sox\.shop\.[A-Za-z0-9_-]{43}", shown))

    assert deployed.opens(key)
    assert (deployed.stored().models, deployed.stored().plan) == (("fruit", "house_price"), "premium")
    assert deployed.stored().by.startswith("arn:aws:")
    assert shown.rstrip().endswith(f'curl -H "Authorization: Bearer {key}" https://api.example/dev/v2/models')


def test_create_for_a_program_prints_json_alone(deployed: World) -> None:
    document = json.loads(run("create", "shop", "--models", "*", "--json").stdout)

    assert deployed.opens(document.pop("key"))
    assert document == {"client": "shop", "models": ["*"], "plan": "standard"}


def test_create_refuses_a_model_that_is_not_there_and_names_those_that_are(deployed: World) -> None:
    said = run("create", "shop", "--models", "fruit,fruits", code=1).stderr

    assert "there is no model 'fruits'; expected some of fruit, house_price, or '*' for all" in said
    assert deployed.clients.list() == []


def test_list_shows_who_may_what_since_when_and_nothing_of_a_key(deployed: World) -> None:
    key = deployed.create()
    deployed.now = 4_000_000_000  # the command looks at the real clock
    deployed.clients.rotate("shop", overlap=DAY)
    deployed.create("gone", models=("*",))
    deployed.clients.revoke("gone")
    told = [run("list").stdout, run("list", "--json").stdout]

    assert "all models" in told[0]
    assert "revoked 2096-10-02T07:06:40Z" in told[0]
    assert "since 2026-11-18, until 2096-10-03T07:06:40Z" in told[0]
    gone, shop = json.loads(told[1])
    assert (gone["client"], gone["revoked"], gone["keys"]) == ("gone", "2096-10-02T07:06:40Z", [])
    assert (shop["models"], shop["plan"], shop["by"]) == (["fruit"], "standard", "me")
    assert [each["expires"] for each in shop["keys"]] == ["2096-10-03T07:06:40Z", None]
    for text in told:
        assert not [secret for secret in (key, hash_key(key), hash_key(key)[:12]) if secret in text]


def test_list_of_nobody_says_how_to_let_somebody_in(deployed: World) -> None:
    assert "Next: modelctl client create NAME --models A,B --deployment dev" in run("list").stdout


def test_rotate_shows_the_new_key_and_how_long_the_former_works(deployed: World) -> None:
    old = deployed.create()
    shown = run("rotate", "shop", "--overlap", "1.5").stdout
    (new,) = set(re.findall(r"sox\.shop\.[A-Za-z0-9_-]{43}", shown))

    assert "works for another 1.5 hours" in shown
    assert deployed.opens(old)
    assert deployed.opens(new)


def test_rotate_at_once_says_within_how_long(deployed: World) -> None:
    deployed.create()
    assert "opens nothing any more, within 60 seconds" in run("rotate", "shop", "--overlap", "0").stdout
    assert run("rotate", "shop", "--overlap", "-1", code=2)


def test_update_and_revoke_say_when_they_hold(deployed: World) -> None:
    deployed.create()
    assert (
        "shop may call house_price, by plan trial, within 60 seconds"
        in run("update", "shop", "--models", "house_price", "--plan", "trial").stdout
    )
    revoked = run("revoke", "shop")
    assert "shop is shut out since 20" in revoked.stdout
    assert "up to 60 seconds" in revoked.stderr


def test_before_there_is_an_api_it_is_said_how_to_make_one(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model_folder(tmp_path / "models", "fruit")
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    deploy("Store", {"ModelBucket": "store-bucket", "ClientTable": "clients"})

    assert "run: cdk deploy 'dev/*'" in run("create", "shop", "--models", "fruit", "-d", "dev", code=1).stderr
