"""Commands that only read a model store: list, show, history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer

from modelserve.registry import Registry
from tools.modelctl import paths, tables
from tools.modelctl.console import next_step, note, out, print_json, table
from tools.modelctl.deployment import find
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Name, Profile
from tools.modelctl.versions import resolve

__all__ = ["history", "list_models", "show"]


@dataclass(frozen=True, kw_only=True)
class _Overview:
    name: str
    folder: bool
    """Whether it has a folder in this repository."""
    versions: list[str]
    """Oldest first."""
    aliases: dict[str, str]
    damaged: dict[str, str]
    """An alias that no promotion wrote so, and what is wrong with it."""

    @classmethod
    def of(cls, registry: Registry, name: str) -> _Overview:
        aliases = {alias: found.version for alias, found in registry.aliases(name).items()}
        folder = (paths.MODELS / name / "model.toml").is_file()
        damaged = {alias: str(error) for alias, error in registry.damaged(name).items()}
        return cls(name=name, folder=folder, versions=registry.versions(name), aliases=aliases, damaged=damaged)

    def row(self) -> tuple[str, str, str, str]:
        named = [f"{alias} → {version[-8:]}" for alias, version in self.aliases.items() if alias not in self.damaged]
        aliases = ", ".join([*named, *(f"{alias} damaged" for alias in self.damaged)])
        return self.name, str(len(self.versions)), self.versions[-1] if self.versions else "not published", aliases or "none"

    def next_command(self) -> str | None:
        """What makes it answer; None when it does."""
        if not self.versions:
            return f"modelctl publish {self.name}"
        return None if "production" in self.aliases else f"modelctl promote {self.name} latest"


def list_models(*, deployment: DeploymentOption = DeploymentName.LOCAL, profile: Profile = None, as_json: Json = False) -> None:
    """Every model: its versions and aliases in the store, and folders here that were never published.

    Example: `modelctl list --deployment dev`
    """
    registry = find(deployment, profile=profile).registry()
    names = {file.parent.name for file in paths.MODELS.glob("*/model.toml")}.union(registry.names())
    models = [_Overview.of(registry, name) for name in sorted(names)]
    if as_json:
        print_json(models)
        return
    shown = table("=model", ">versions", "=latest", "aliases", title=f"Models of {deployment}")
    for model in models:
        shown.add_row(*model.row())
    out.print(shown)
    for model in models:
        _tell(model.name, model.damaged)
    waiting = [command for model in models if (command := model.next_command())]
    next_step(waiting[0] if waiting else "modelctl show NAME", deployment)


def show(
    name: Name,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="As in promote; all versions in short when left out.")] = None,
    *,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """What is known of a model's versions, or all that is known of one: metrics, gates, parity, signature, files.

    Examples: `modelctl show tumour`, `modelctl show tumour production --json`
    """
    registry = find(deployment, profile=profile).registry()
    if version is None:
        _show_all(registry, name, deployment, as_json=as_json)
        return
    manifest = registry.manifest(name, resolve(registry, name, version))
    if as_json:
        print_json(manifest)
        return
    for part in (tables.summary(manifest), tables.metrics(manifest), tables.signature(manifest)):
        out.print(part)
        out.print()
    next_step(f"modelctl promote {name} {manifest.version}", deployment)


def history(name: Name, *, deployment: DeploymentOption = DeploymentName.LOCAL, profile: Profile = None, as_json: Json = False) -> None:
    """Who moved which alias from what to what, when, and why; oldest first.

    Example: `modelctl history fruit --deployment prod`
    """
    registry = find(deployment, profile=profile).registry()
    events = registry.history(name)
    if as_json:
        print_json(events)
        return
    if not events:
        raise UsageFailed(f"nothing of {name!r} was ever promoted in {deployment}; run: modelctl promote {name} latest")
    out.print(tables.events(events))
    _tell(name, registry.damaged(name))
    next_step(f"modelctl show {name}", deployment)


def _show_all(registry: Registry, name: str, deployment: str, *, as_json: bool) -> None:
    manifests = [registry.manifest(name, version) for version in registry.versions(name)]
    if not manifests:
        raise UsageFailed(f"no version of {name!r} is published in {deployment}; run: modelctl publish {name}")
    if as_json:
        print_json(manifests)
        return
    out.print(tables.versions(manifests, registry.aliases(name)))
    _tell(name, registry.damaged(name))
    next_step(f"modelctl show {name} latest", deployment)


def _tell(name: str, damaged: Mapping[str, object]) -> None:
    for alias, reason in damaged.items():
        note(f"alias {alias} of {name} is damaged: {reason}")
