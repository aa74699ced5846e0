"""Commands that change a model store: publish, promote, rollback, copy, prune."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from modelserve.errors import AliasConflict
from modelserve.manifest import Manifest
from modelserve.registry import Registry
from tools.modelctl import api
from tools.modelctl.commands.training import build
from tools.modelctl.commands.uploading import upload
from tools.modelctl.console import next_step, note, out, print_json, steps, transfer
from tools.modelctl.deployment import Deployment, find
from tools.modelctl.endpoints import ROLLBACK_WAIT, WAIT, prepare
from tools.modelctl.errors import ModelRefused, PromotionRefused, UsageFailed
from tools.modelctl.loading import shown
from tools.modelctl.options import Alias, DeploymentName, DeploymentOption, Json, Name, Profile, Reason, Version, Wait
from tools.modelctl.promotion import judge
from tools.modelctl.report.stored import PRODUCTION
from tools.modelctl.versions import resolve

__all__ = ["copy", "promote", "prune", "publish", "rollback"]


def publish(
    name: Name,
    *,
    force: Annotated[
        str | None,
        typer.Option("--force", metavar="REASON", help="Publish although a gate or parity fails; the reason is kept."),
    ] = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Store the model as a new version, for good; nothing is served until it is promoted.

    Trains first if anything changed. Publishing the same model again gives the version that holds it.
    Example: `modelctl publish fruit --deployment dev`
    """
    target = find(deployment, profile=profile)
    built = build(name)
    from tools.modelctl import lifecycle  # noqa: PLC0415  # imported by build already, and slow for the other commands here

    known = target.registry().versions(name)
    manifest = upload(target, name, built, partial(lifecycle.publish, built=built, forced=force))
    if as_json:
        print_json(manifest)
        return
    state = "is published already as" if manifest.version in known else "is published as"
    out.print(f"{name} {state} {manifest.version}", soft_wrap=True)
    if opened := shown.sentence(manifest):
        out.print(opened, soft_wrap=True)
    if manifest.lineage and manifest.lineage.forced:
        note(f"this version did not pass, and was forced: {manifest.lineage.forced}")
    if known and manifest.version < known[-1]:
        note(f"{known[-1]} is newer, and what `latest` means")
    next_step(f"modelctl promote {name} {manifest.version}", deployment)


def promote(
    name: Name,
    version: Version,
    *,
    alias: Alias = "production",
    reason: Reason = "",
    force: Annotated[
        str | None,
        typer.Option(
            "--force",
            metavar="REASON",
            help="Promote although a gate fails, the model is not safe to serve, or its realtime endpoint refuses it; the history keeps "
            "the reason.",
        ),
    ] = None,
    wait: Wait = WAIT,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Point an alias at a version; the functions serve it within their `alias_check_seconds`.

    Its gates must hold, those against production as it is now; a version that was published with --force needs it here again.
    The model is read and tried first, in a process with its function's memory and time, or a GPU instance's. A heavy model's endpoint
    answers with it before the alias moves; an async one's is updated, in CloudFormation's own time.
    Examples: `modelctl promote fruit latest`, `modelctl promote fruit 1a2b3c4d --deployment prod --reason "better on lemons"`
    """
    target = find(deployment, profile=profile)
    registry = target.registry()
    chosen = resolve(registry, name, version)
    manifest = registry.manifest(name, chosen)
    before = registry.aliases(name).get(alias)
    if before and before == registry.promotion(name, chosen, alias=alias):
        _prepare(target, manifest, alias, wait=wait, force=bool(force))
        moved, text = before, f"is {chosen} already"
    else:
        served = registry.aliases(name).get(PRODUCTION)
        needed = [_failed(registry, manifest, alias, force), _refused(registry, name, chosen, force)]
        if _prepare(target, manifest, alias, wait=wait, force=bool(force)) or any(needed):
            reason = "; ".join(filter(None, (reason, f"forced: {force}")))
        if registry.aliases(name).get(PRODUCTION) != served:  # the gates were held against another one
            raise AliasConflict(name, PRODUCTION)
        expected = before.version if before else None
        moved = registry.promote(name, chosen, alias=alias, by=target.caller(), reason=reason, expected=expected)
        text = f"is now {chosen}" + (f", before {before.version}" if before and before.version != chosen else "")
    if as_json:
        print_json(moved)
        return
    out.print(f"{alias} of {name} {text}", soft_wrap=True)
    if api.unserved(target, name):
        note(f"nothing serves {name} yet: `make run` makes functions of the folders that models/ has when it starts")
        next_step("stop `make run`, then: make run")
    else:
        next_step(f"modelctl predict {name}", deployment)


def rollback(
    name: Name,
    *,
    alias: Alias = "production",
    reason: Reason = "",
    wait: Wait = ROLLBACK_WAIT,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Point an alias at what it named before; once more goes one further back, never forth again.

    A realtime endpoint that doesn't answer with it doesn't hold a rollback up for long: you are told, and the alias moves.
    Example: `modelctl rollback fruit --deployment prod --reason "lemons are called apples"`
    """
    target = find(deployment, profile=profile)
    registry = target.registry()
    chosen = registry.before(name, alias=alias)
    _prepare(target, registry.manifest(name, chosen), alias, wait=wait, force=True)
    moved = registry.rollback(name, alias=alias, by=target.caller(), reason=reason, to=chosen)
    if as_json:
        print_json(moved)
        return
    out.print(f"{alias} of {name} is {moved.version} again", soft_wrap=True)
    next_step(f"modelctl history {name}", deployment)


def copy(
    name: Name,
    version: Version,
    *,
    source: Annotated[DeploymentName, typer.Option("--from", help="Where the version is.")],
    to: Annotated[DeploymentName, typer.Option("--to", help="Where it shall be.")],
    from_profile: Annotated[str | None, typer.Option(help="A profile of ~/.aws/config for --from.")] = None,
    to_profile: Annotated[str | None, typer.Option(help="A profile of ~/.aws/config for --to.")] = None,
    as_json: Json = False,
) -> None:
    """Publish a version in another deployment, byte for byte, without training again.

    Example: `modelctl copy fruit latest --from dev --to prod`
    """
    if source == to:
        raise UsageFailed(f"--from and --to are both {to}; expected two deployments")
    origin, target = find(source, profile=from_profile), find(to, profile=to_profile)
    chosen = resolve(origin.registry(), name, version)
    size = sum(file.size for file in origin.registry().manifest(name, chosen).files)
    with tempfile.TemporaryDirectory() as scratch, transfer(f"Copying {name}", 2 * size) as moved:  # once down, once up
        manifest = origin.registry(moved).copy(name, chosen, to=target.registry(moved), scratch=Path(scratch))
    if as_json:
        print_json(manifest)
        return
    out.print(f"{name} {chosen} of {source} is {manifest.version} in {to}", soft_wrap=True)
    next_step(f"modelctl promote {name} {manifest.version}", to)


def prune(
    name: Name,
    *,
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest versions stay.")] = 5,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Delete old versions, never one that an alias names.

    Example: `modelctl prune fruit --keep 5 --deployment dev`
    """
    target = find(deployment, profile=profile)
    if not target.registry().versions(name):
        raise UsageFailed(
            f"no version of {name!r} is in {deployment}, so there is none to delete; `modelctl list` names the models that are"
        )
    deleted = target.registry().prune(name, keep=keep, by=target.caller())
    if as_json:
        print_json({"name": name, "deleted": deleted})
        return
    for version in deleted:
        out.print(f"deleted {version}")
    out.print(f"{len(deleted)} of {name}'s versions deleted; those that an alias names stay whatever their age", soft_wrap=True)
    next_step(f"modelctl show {name}", deployment)


def _failed(registry: Registry, manifest: Manifest, alias: str, force: str | None) -> bool:
    """Whether `force` was needed for its gates. Raises `PromotionRefused` where it was, and there is none."""
    judged = judge(registry, manifest)
    if judged.failures and not force:
        where = "" if alias == PRODUCTION else f" --alias {alias}"
        command = f"modelctl promote {manifest.name} {manifest.version}{where}"
        raise PromotionRefused(manifest.name, manifest.version, judged.failures, command)
    for sentence in (*judged.notes, *judged.failures):
        note(sentence)
    return bool(judged.failures)


def _refused(registry: Registry, name: str, version: str, force: str | None) -> bool:
    """Whether `force` was needed for a model that may not be served. Raises `ModelRefused` where it was, and there is none."""
    with steps(name) as begin, tempfile.TemporaryDirectory() as scratch:
        begin("reading and trying it, within the memory and time that it will have")
        from tools.modelctl.safety import examine_version  # noqa: PLC0415 - onnx is slow to import

        findings = examine_version(registry, name, version, scratch=Path(scratch))
        from tools.modelctl.loading.examine import untried  # noqa: PLC0415 - as above

        elsewhere = untried(registry.manifest(name, version))
    if elsewhere:
        note(elsewhere)
    if findings and not force:
        raise ModelRefused(name, findings, f"modelctl promote {name} {version}")
    for finding in findings:
        note(str(finding))
    return bool(findings)


def _prepare(target: Deployment, manifest: Manifest, alias: str, *, wait: int, force: bool) -> bool:
    """Whether `force` was needed. Raises `EndpointFailed`, `UsageFailed`, and `AliasConflict` where somebody moved the alias meanwhile."""
    registry = target.registry()
    before = registry.aliases(manifest.name).get(alias)
    with steps(manifest.name) as begin:
        forced = prepare(target, manifest, alias=alias, progress=begin, note=note, force=force, wait=wait)
    if registry.aliases(manifest.name).get(alias) != before:
        raise AliasConflict(manifest.name, alias)
    return forced
