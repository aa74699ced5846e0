"""The command that makes a version smaller, and says what that did to its answers and its speed: compress."""

from __future__ import annotations

import shutil
import tempfile
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from models.config import ModelConfig
from tools.modelctl import paths
from tools.modelctl.commands.origins import load, origin_of, target_of, uncompressed
from tools.modelctl.commands.uploading import upload
from tools.modelctl.console import next_step, note, out, print_json, steps
from tools.modelctl.deployment import Deployment
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Name, Profile

if TYPE_CHECKING:
    from modelserve.manifest import Manifest
    from tools.modelctl.compress.results import Comparison, Result
    from tools.modelctl.data import Split
    from tools.modelctl.origin import Origin

__all__ = ["compress"]


class MethodName(StrEnum):
    """What makes it smaller: the names of METHODS in compress/run.py, which is slow to import, and `auto`."""

    DYNAMIC_INT8 = "dynamic-int8"
    STATIC_INT8 = "static-int8"
    FP16 = "fp16"
    PRUNE = "prune"
    TREE_PRUNE = "tree-prune"
    DISTILL = "distill"
    OPTIMIZE = "optimize"
    AUTO = "auto"


class Student(StrEnum):
    """What `distill` trains."""

    MLP = "mlp"
    TREE = "tree"


def compress(
    name: Name,
    *,
    method: Annotated[MethodName, typer.Option("--method", help="How; `auto` tries all that apply and publishes the best.")],
    parent: Annotated[
        str, typer.Option("--parent", metavar="VERSION", help="What to make smaller, as `modelctl promote` takes it.")
    ] = "latest",
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", min=0, metavar="X", help="How much worse it may be on held-out rows; goes before [compress] max_drop."),
    ] = None,
    student: Annotated[Student | None, typer.Option("--student", help="What `distill` trains; what fits when left out.")] = None,
    every: Annotated[bool, typer.Option("--all", help="With `auto`: publish all on the front that hold the limit, the best last.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Also write the model to FILE, such as for a device at the edge.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Publish nothing; takes the local build where no deployment is to be found.")
    ] = False,
    force: Annotated[
        str | None,
        typer.Option("--force", metavar="REASON", help="Publish although it is worse than the limit or not smaller; the reason is kept."),
    ] = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Make a version smaller, as a new version; size, held-out metric, latency and loading are measured against it in one run.

    Exits 1, and publishes nothing, when the result is worse than the limit or not smaller, or where nothing scores it. The limit is held
    against the newest version that no compression made. What it says of speed holds for this CPU.
    Examples: `modelctl compress digits --method static-int8`, `modelctl compress digits --method auto --dry-run`
    """
    if force and method is MethodName.AUTO:
        raise UsageFailed("--force needs one method that it is about; expected another --method than auto")
    config = _config(name, max_drop)
    target = target_of(deployment, profile, parent, dry_run=dry_run)
    with tempfile.TemporaryDirectory() as scratch:
        origin = origin_of(target, name, parent, Path(scratch, "parent"), dry_run=dry_run)
        against = uncompressed(target, origin, set(MethodName), Path(scratch, "against"))
        comparison, rows = _compare(config, origin, against, method, student)
        chosen = _chosen(comparison, method, every=every, forced=bool(force))
        if not dry_run and not comparison.scored and not force:
            chosen = []  # that nothing speaks against it proves nothing
        if output and chosen:
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(chosen[-1].model, output)
        if not dry_run and target is not None:
            chosen = _opened(config, chosen, rows)
        published = {} if dry_run or target is None else _publish(target, chosen, force)
        if as_json:
            print_json(_document(comparison, published))
        else:
            _show(comparison, chosen, output, gpu=config.target == "gpu")
            _show_end(comparison, chosen, published, method, deployment, dry_run=dry_run)
    if not chosen:
        raise typer.Exit(1)


def _config(name: str, max_drop: float | None) -> ModelConfig:
    config = ModelConfig.load(paths.MODELS / name)
    if max_drop is None:
        return config
    return config.model_copy(update={"compress": config.compress.model_copy(update={"max_drop": max_drop})})


def _compare(
    config: ModelConfig, origin: Origin, against: Origin | None, method: MethodName, student: Student | None
) -> tuple[Comparison, Split]:
    with steps(config.name) as begin:
        begin("loading its data")
        from tools.modelctl.compress.run import METHODS, compress  # noqa: PLC0415 - onnx is slow to import

        source, rows = load(config.name)
        methods = list(METHODS) if method is MethodName.AUTO else [str(method)]
        made = compress(config, source, origin, rows, methods, output=paths.BUILD, against=against, student=student, progress=begin)
        return made, rows


def _chosen(comparison: Comparison, method: MethodName, *, every: bool, forced: bool) -> list[Result]:
    """What is to be published, the best last, so that it is the latest."""
    if method is not MethodName.AUTO:
        return [each for each in comparison.results if forced or not comparison.problems(each)]
    return [each for each in comparison.held[::-1] if each.method in comparison.front] if every else comparison.held[:1]


def _opened(config: ModelConfig, chosen: list[Result], rows: Split) -> list[Result]:
    """With how a function opens each; nothing that was only compared waits for that to be measured."""
    from tools.modelctl.compress.run import opened  # noqa: PLC0415 - as above

    with steps(config.name) as begin:
        return [opened(config, result, rows, progress=begin) for result in chosen]


def _publish(target: Deployment, chosen: list[Result], force: str | None) -> dict[str, Manifest]:
    """By method. Nothing is published before everything was made and judged."""
    from tools.modelctl.compress.run import publish  # noqa: PLC0415 - as above

    return {
        result.method: upload(target, result.method, built, partial(publish, result=result, forced=force))
        for result in chosen
        if (built := result.built)
    }


def _show(comparison: Comparison, chosen: list[Result], output: Path | None, *, gpu: bool) -> None:
    from tools.modelctl.compress.scorecard import scorecard  # noqa: PLC0415 - as above

    for part in scorecard(comparison, chosen, gpu=gpu):
        out.print(part, soft_wrap=not isinstance(part, Table))
    for text in comparison.notes:
        note(text)
    for result in comparison.results:
        if text := comparison.note(result):
            note(f"{result.method}: {text}")
    if output and chosen:
        out.print(f"Wrote {chosen[-1].method} to {output}", soft_wrap=True)


def _show_end(
    comparison: Comparison,
    chosen: list[Result],
    published: dict[str, Manifest],
    method: MethodName,
    deployment: DeploymentName,
    *,
    dry_run: bool,
) -> None:
    name = comparison.name
    for result in chosen:
        if manifest := published.get(result.method):
            out.print(f"{name} by {result.method} is published as {manifest.version}", soft_wrap=True)
    if published:
        next_step(f"modelctl promote {name} {published[chosen[-1].method].version}", deployment)
    elif chosen:
        out.print(f"Nothing was published; {chosen[-1].method} lies in {chosen[-1].model.parent}", soft_wrap=True)
        next_step(_again(comparison, chosen[-1]) if comparison.version else f"modelctl publish {name}", deployment)
    else:
        out.print("Nothing was published" if not dry_run else "Nothing would be published", soft_wrap=True)
        if comparison.results and not comparison.scored:
            next_step(_again(comparison, comparison.results[0]), deployment)
            return
        other = "auto --dry-run" if method is not MethodName.AUTO else f"auto --dry-run --max-drop {2 * comparison.limit:g}"
        next_step(f"modelctl compress {name} --method {other}", deployment)


def _again(comparison: Comparison, result: Result) -> str:
    """The command that publishes a result."""
    forced = "" if comparison.scored else ' --force "WHY ITS ANSWERS WILL DO"'
    return f"modelctl compress {comparison.name} --method {result.method}{forced}"


def _document(comparison: Comparison, published: dict[str, Manifest]) -> dict[str, Any]:
    results = [
        {
            **comparison.document(result),
            "size": result.size,
            "value": result.metric,
            "problems": comparison.problems(result),
            "model": str(result.model),
            "published": published[result.method].version if result.method in published else None,
        }
        for result in comparison.results
    ]
    return {
        "name": comparison.name,
        "parent": comparison.version,
        "origin": comparison.origin or comparison.version,
        "scored": comparison.scored,
        "results": results,
        "left_out": dict(comparison.left_out),
    }
