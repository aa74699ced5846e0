"""The command that makes a version smaller, and says what that did to its answers and its speed: compress."""

from __future__ import annotations

import shutil
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from models.config import ModelConfig
from tools.modelctl import paths
from tools.modelctl.commands.origins import origin_of, target_of
from tools.modelctl.console import next_step, note, out, print_json, steps, table, transfer
from tools.modelctl.deployment import Deployment
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, Name, Profile

if TYPE_CHECKING:
    from modelserve.manifest import Manifest
    from tools.modelctl.compress.results import Comparison, Result
    from tools.modelctl.migrate import Origin

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

    Exits 1, and publishes nothing, when the result is worse than the limit or not smaller. What it says of speed holds for this CPU.
    Examples: `modelctl compress digits --method static-int8`, `modelctl compress digits --method auto --dry-run`
    """
    if force and method is MethodName.AUTO:
        raise UsageFailed("--force needs one method that it is about; expected another --method than auto")
    config = _config(name, max_drop)
    target = target_of(deployment, profile, optional=dry_run and parent == "latest")
    with tempfile.TemporaryDirectory() as scratch:
        origin = origin_of(target, name, parent, Path(scratch))
        comparison = _compare(config, origin, method, student)
        chosen = _chosen(comparison, method, every=every, forced=bool(force))
        if output and chosen:
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(chosen[-1].model, output)
        published = {} if dry_run or target is None else _publish(target, chosen, force)
        if as_json:
            print_json(_document(comparison, published))
        else:
            _show(config, comparison, chosen, output)
            _show_end(comparison, chosen, published, method, deployment, dry_run=dry_run)
    if not chosen:
        raise typer.Exit(1)


def _config(name: str, max_drop: float | None) -> ModelConfig:
    config = ModelConfig.load(paths.MODELS / name)
    if max_drop is None:
        return config
    return config.model_copy(update={"compress": config.compress.model_copy(update={"max_drop": max_drop})})


def _compare(config: ModelConfig, origin: Origin, method: MethodName, student: Student | None) -> Comparison:
    with steps(config.name) as begin:
        begin("loading its data")
        from tools.modelctl.compress.run import METHODS, compress  # noqa: PLC0415 - onnx is slow to import
        from tools.modelctl.data import split  # noqa: PLC0415
        from tools.modelctl.source import Source  # noqa: PLC0415

        source = Source.of(paths.MODELS / config.name)
        rows = split(config, *source.load())
        methods = list(METHODS) if method is MethodName.AUTO else [str(method)]
        return compress(config, source, origin, rows, methods, output=paths.BUILD, student=student, progress=begin)


def _chosen(comparison: Comparison, method: MethodName, *, every: bool, forced: bool) -> list[Result]:
    """What is to be published, the best last, so that it is the latest."""
    if method is not MethodName.AUTO:
        return [each for each in comparison.results if forced or not comparison.problems(each)]
    return comparison.held[::-1] if every else comparison.held[:1]


def _publish(target: Deployment, chosen: list[Result], force: str | None) -> dict[str, Manifest]:
    """By method. Nothing is published before everything was made and judged."""
    from tools.modelctl.compress.run import publish  # noqa: PLC0415 - as above

    published = {}
    for result in chosen:
        assert result.built is not None
        size = sum(file.stat().st_size for file in result.built.files.values())
        with transfer(f"Uploading {result.method}", size) as moved:
            published[result.method] = publish(target.registry(moved), result, forced=force)
    return published


def _show(config: ModelConfig, comparison: Comparison, chosen: list[Result], output: Path | None) -> None:
    from tools.modelctl.compress.front import scatter  # noqa: PLC0415 - as above

    rows = [str(batch.rows) for batch in comparison.parent.measured.latency]
    shown = table("=method", ">kB", ">smaller", f">{comparison.metric}", ">drop", *(f">µs, {count}" for count in rows), ">load, ms")
    for result in (comparison.parent, *comparison.results):
        shown.add_row(*_cells(comparison, result), style="bold green" if result in chosen else None)
    out.print(shown)
    for method, why in comparison.left_out.items():
        out.print(Text.assemble((f"{method} was left out: ", "dim"), why), soft_wrap=True)
    if len(comparison.results) > 1 and rows:
        out.print()
        for line in scatter(comparison.points, lambda point: point.size / 1000, x="kB", y=comparison.metric):
            out.print(line, soft_wrap=True)
        for line in scatter(comparison.points, lambda point: point.latency_us, x=f"µs, {rows[0]}", y=comparison.metric):
            out.print(line, soft_wrap=True)
        out.print("● on the front: no other is as small, as good and as fast   ○ beaten in all three", soft_wrap=True)
    gpu = "; it will run on a GPU, which was not measured" if config.target == "gpu" else ""
    out.print(
        f"µs are medians of a run with that many rows, measured in turns, on one thread of this CPU: {comparison.cpu}{gpu}", soft_wrap=True
    )
    for result in comparison.results:
        if text := comparison.note(result):
            note(f"{result.method}: {text}")
    if output and chosen:
        out.print(f"Wrote {chosen[-1].method} to {output}", soft_wrap=True)


def _cells(comparison: Comparison, result: Result) -> list[str]:
    against = ["", ""]
    if result is not comparison.parent:
        against = [f"{comparison.parent.size / result.size:.2f}x", f"{comparison.drop(result):.4g}"]
    times = [f"{batch.p50_us:,.0f}" for batch in result.measured.latency]
    return [
        result.method,
        f"{result.size / 1000:,.1f}",
        against[0],
        f"{result.metric:.4g}",
        against[1],
        *times,
        f"{result.measured.load_ms:.3g}",
    ]


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
        next_step(f"modelctl compress {name} --method {chosen[-1].method}", deployment)
    else:
        out.print("Nothing was published" if not dry_run else "Nothing would be published", soft_wrap=True)
        other = "auto --dry-run" if method is not MethodName.AUTO else f"auto --dry-run --max-drop {2 * comparison.limit:g}"
        next_step(f"modelctl compress {name} --method {other}", deployment)


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
    return {"name": comparison.name, "parent": comparison.version, "results": results, "left_out": dict(comparison.left_out)}
