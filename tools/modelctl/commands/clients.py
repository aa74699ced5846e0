"""Commands on who may call the API: client create, list, rotate, update, revoke."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from models.config import ModelConfig
from modelserve.clients import ALL_MODELS, Client
from modelserve.settings import AUTHORIZER_CACHE_SECONDS
from tools.modelctl import paths
from tools.modelctl.clients import check_models, live_keys
from tools.modelctl.console import next_step, note, out, print_json, table
from tools.modelctl.deployment import find
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Profile

__all__ = ["app"]

app = typer.Typer(help="Who may call the API: clients, their keys, models and plans.", no_args_is_help=True, rich_markup_mode="markdown")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The client: a letter, then at most 31 of a-z, 0-9 and -.")]
Models = Annotated[str, typer.Option("--models", metavar="A,B", help="The models it may call, or '*' for all.", show_default=False)]
Plan = Annotated[str, typer.Option("--plan", help="How much it may call; a deployment's settings have the plans.")]


@app.command()
def create(
    name: Name,
    *,
    models: Models,
    plan: Plan = "standard",
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Let a client in, and show its key: now or never, because only a hash of it is kept.

    Examples: `modelctl client create shop --models fruit,house_price`, `modelctl client create lab --models '*' -d dev`
    """
    named = _split(models)
    check_models(named, _known())
    target = find(deployment, profile=profile)
    key = target.clients().create(name, models=named, plan=plan, by=target.caller())
    if as_json:
        print_json({"client": name, "models": named, "plan": plan, "key": key})
        return
    out.print(f"{name} may call {_shown(named)}, by plan {plan}. Its key, which is shown only now:", soft_wrap=True)
    _show(key, target.url)


@app.command("list")
def list_clients(*, deployment: DeploymentOption = DeploymentName.LOCAL, profile: Profile = None, as_json: Json = False) -> None:
    """Every client: what it may call, how much, and how old its keys are.

    Example: `modelctl client list --deployment prod`
    """
    found = find(deployment, profile=profile).clients().list()
    if as_json:
        print_json([_document(client) for client in found])
        return
    shown = table("=client", "models", "plan", "keys", "made by", title=f"Clients of {deployment}")
    for client in found:
        shown.add_row(client.client, _shown(client.models), client.plan, _keys(client), client.by)
    out.print(shown)
    next_step("modelctl client create NAME --models A,B", deployment)


@app.command()
def rotate(
    name: Name,
    *,
    overlap: Annotated[
        float, typer.Option("--overlap", metavar="HOURS", min=0, max=8760, help="How long the former key still works.")
    ] = 24,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Give a client a new key; the former one works on for `--overlap` hours, so that nothing fails meanwhile.

    With `--overlap 0` the former keys end at once, within 60 seconds: for a key that leaked.
    Examples: `modelctl client rotate shop`, `modelctl client rotate shop --overlap 0`
    """
    target = find(deployment, profile=profile)
    key = target.clients().rotate(name, overlap=overlap * 3600)
    if as_json:
        print_json({"client": name, "key": key, "overlap_hours": overlap})
        return
    former = f"works for another {overlap:g} hours" if overlap else f"opens nothing any more, within {AUTHORIZER_CACHE_SECONDS} seconds"
    out.print(f"The former key of {name} {former}. Its new key, which is shown only now:", soft_wrap=True)
    _show(key, target.url)


@app.command()
def update(
    name: Name,
    *,
    models: Annotated[str | None, typer.Option("--models", metavar="A,B", help="All that it may call from now on, or '*'.")] = None,
    plan: Annotated[str | None, typer.Option("--plan", help="The plan that counts it from now on.")] = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Change what a client may call, and how much; its key stays. It holds within 60 seconds.

    Without options the client is put back into its plan, which it needs after the Serving stack was made anew.
    Examples: `modelctl client update shop --models fruit`, `modelctl client update shop --plan premium`, `modelctl client update shop`
    """
    named = None if models is None else _split(models)
    check_models(named or (), _known())
    client = find(deployment, profile=profile).clients().update(name, models=named, plan=plan)
    if as_json:
        print_json(_document(client))
        return
    out.print(f"{name} may call {_shown(client.models)}, by plan {client.plan}, within {AUTHORIZER_CACHE_SECONDS} seconds", soft_wrap=True)
    next_step("modelctl client list", deployment)


@app.command()
def revoke(name: Name, *, deployment: DeploymentOption = DeploymentName.LOCAL, profile: Profile = None, as_json: Json = False) -> None:
    """Shut a client out for good: its keys open nothing any more, within 60 seconds; its name is not given again.

    Example: `modelctl client revoke shop --deployment dev`
    """
    client = find(deployment, profile=profile).clients().revoke(name)
    if as_json:
        print_json(_document(client))
        return
    out.print(f"{name} is shut out since {client.revoked}", soft_wrap=True)
    note(f"API Gateway remembers a key for up to {AUTHORIZER_CACHE_SECONDS} seconds; until then it may still be let in")
    next_step("modelctl client list", deployment)


def _known() -> list[str]:
    return [model.name for model in ModelConfig.load_all(paths.MODELS)]


def _split(models: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part for part in models.replace(" ", "").split(",") if part))


def _shown(models: tuple[str, ...]) -> str:
    return "all models" if ALL_MODELS in models else ", ".join(models)


def _show(key: str, url: str | None) -> None:
    out.print(f"\n{key}\n", soft_wrap=True)
    next_step(f'curl -H "Authorization: Bearer {key}" {url}v2/models' if url else "modelctl doctor")


def _keys(client: Client) -> str:
    """A line for each; never anything of the key itself."""
    if client.revoked:
        return f"revoked {client.revoked}"
    live = live_keys(client, time.time())
    lines = (f"since {key.created[:10]}" + (f", until {_time(key.expires)}" if key.expires else "") for key in live)
    return "\n".join(lines) or "none is valid"


def _document(client: Client) -> dict[str, object]:
    """The client without anything of its keys but their times."""
    keys = [{"created": key.created, "expires": _time(key.expires) if key.expires else None} for key in client.keys]
    kept = {name: getattr(client, name) for name in ("client", "models", "plan", "created", "by", "revoked")}
    return {**kept, "keys": keys}


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
