"""The command that writes a model in another version of ONNX, and runs it on each runtime that will serve it: migrate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.config import ModelConfig
from tools.modelctl import paths, tables
from tools.modelctl.commands.origins import load, origin_of, target_of
from tools.modelctl.commands.uploading import upload
from tools.modelctl.console import next_step, note, out, print_json, steps, table
from tools.modelctl.deployment import Deployment
from tools.modelctl.errors import BuildFailed, UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Name, Profile

if TYPE_CHECKING:
    from tools.modelctl.built import Built
    from tools.modelctl.data import Split
    from tools.modelctl.origin import Origin
    from tools.modelctl.targets import Outcome

__all__ = ["migrate"]


def migrate(
    name: Name,
    *,
    opset: Annotated[int | None, typer.Option("--opset", metavar="N", help="The operator set of ai.onnx to write it in.")] = None,
    ir: Annotated[int | None, typer.Option("--ir", metavar="N", help="The IR version; as it is, or the first that --opset needs.")] = None,
    check_targets: Annotated[
        bool, typer.Option("--check-targets", help="Run it on Lambda's ONNX Runtime, Triton's, and CUDA where there is one.")
    ] = False,
    parent: Annotated[str, typer.Option("--parent", metavar="VERSION", help="What to write anew.")] = "latest",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Publish nothing; takes the local build where no deployment is to be found.")
    ] = False,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Write a version in another operator set or IR of ONNX, as a new version; the same answers, or it is not published.

    `--check-targets` alone runs the version as it is. Exits 1 when a target doesn't load it or answers otherwise; exiting 0 says nothing of
    a target that it was not run on.
    Examples: `modelctl migrate fruit --opset 21 --check-targets`, `modelctl migrate fruit --check-targets`
    """
    if opset is None and ir is None and not check_targets:
        raise UsageFailed("there is nothing to do; expected --opset N, --ir N or --check-targets")
    config = ModelConfig.load(paths.MODELS / name)
    target = target_of(deployment, profile, parent, dry_run=dry_run)
    with tempfile.TemporaryDirectory() as scratch:
        origin = origin_of(target, name, parent, Path(scratch, "parent"), dry_run=dry_run)
        with steps(name) as begin:
            built, outcomes = _work(config, origin, opset, ir, begin, check_targets=check_targets)
        version = _publish(target, built, origin, outcomes) if built and target and not dry_run and _all_ok(outcomes) else None
        if as_json:
            print_json(_answer(name, origin, built, outcomes, version))
        else:
            _show(name, origin, built, outcomes)
            _tell(name, built, version, deployment, outcomes)
    if not _all_ok(outcomes):
        raise typer.Exit(1)


def _work(
    config: ModelConfig, origin: Origin, opset: int | None, ir: int | None, begin: Callable[[str], None], *, check_targets: bool
) -> tuple[Built | None, list[Outcome]]:
    """The version written anew, if that is asked for, and what the targets made of it. Raises `BuildFailed` unless it passed."""
    begin("loading its data")
    from tools.modelctl import migrate as work  # noqa: PLC0415 - onnx is slow to import

    source, rows = load(config.name)
    if opset is None and ir is None:
        return None, _try_targets(config, origin.model, origin, rows, begin)
    begin(f"converting, and comparing on {rows.held_out} held-out rows")
    folder = paths.BUILD / f"{config.name}.migrated"
    built = work.migrate(config, source, origin, rows, folder, opset=opset, ir=ir, progress=begin)
    if not built.passed:
        raise BuildFailed(f"{config.name} was not published in another version of ONNX: {'; '.join(built.failures)}; it lies in {folder}")
    return built, _try_targets(config, built.model, origin, rows, begin) if check_targets else []


def _try_targets(config: ModelConfig, model: Path, origin: Origin, rows: Split, begin: Callable[[str], None]) -> list[Outcome]:
    from tools.modelctl import parity, targets  # noqa: PLC0415 - as above
    from tools.modelctl.limits import Limits  # noqa: PLC0415

    begin("running it on each target's ONNX Runtime")
    inputs, memory = origin.asked(rows), Limits.of(config).memory
    case = targets.Case(model=model, inputs=inputs, expected=parity.run(origin.model, inputs), allowed=config.parity, memory=memory)
    return targets.check(case, triton=targets.fetched())


def _publish(target: Deployment, built: Built, origin: Origin, outcomes: list[Outcome]) -> str:
    from tools.modelctl import lifecycle  # noqa: PLC0415 - as above
    from tools.modelctl.built import amend  # noqa: PLC0415

    amend(built, migration=_document(built, origin, outcomes))
    return upload(target, built.manifest.name, built, partial(lifecycle.publish, built=built)).version


def _document(built: Built, origin: Origin, outcomes: list[Outcome]) -> dict[str, Any]:
    """What report.json keeps of it; `ok` is null for a target that could not be tried."""
    return {
        **({"parent": origin.version} if origin.version else {}),
        "opset": [origin.opset, built.manifest.opset.get("", 0)],
        "ir": [origin.manifest.ir, built.manifest.ir],
        "targets": [asdict(outcome) for outcome in outcomes],
    }


def _all_ok(outcomes: list[Outcome]) -> bool:
    return all(outcome.ok is not False for outcome in outcomes)


def _answer(name: str, origin: Origin, built: Built | None, outcomes: list[Outcome], version: str | None) -> dict[str, Any]:
    document = _document(built, origin, outcomes) if built else {"targets": [asdict(outcome) for outcome in outcomes]}
    return {"name": name, "version": version, "parent": origin.version, **document, "model": str(built.model) if built else None}


def _show(name: str, origin: Origin, built: Built | None, outcomes: list[Outcome]) -> None:
    if built:
        out.print(tables.metrics(built.manifest))
        before, after = (f"opset {opset}, IR {ir}" for opset, ir in ((origin.opset, origin.manifest.ir), _versions(built)))
        whence = origin.version or "the local build"
        out.print(f"{name} {whence}, {before}, is now in {after}: {built.model.stat().st_size:,} bytes", soft_wrap=True)
    if outcomes:
        shown = table("target", "ok", "found")
        for outcome in outcomes:
            shown.add_row(outcome.name, {True: "yes", False: "no", None: "not run"}[outcome.ok], outcome.found)
        out.print(shown)


def _tell(name: str, built: Built | None, version: str | None, deployment: DeploymentName, outcomes: list[Outcome]) -> None:
    if untried := [outcome.name for outcome in outcomes if outcome.ok is None]:
        note(f"it was not run on {' and '.join(untried)}, of which nothing is proven")
    if not _all_ok(outcomes):
        note("a target doesn't serve it" + (", so it was not published" if built else ""))
    elif version:
        out.print(f"{name} is published as {version}", soft_wrap=True)
        next_step(f"modelctl promote {name} {version}", deployment)
    elif built:
        out.print(f"Model: {built.model}; it was not published", soft_wrap=True)


def _versions(built: Built) -> tuple[int, int]:
    return built.manifest.opset.get("", 0), built.manifest.ir
