"""Commands that work in this repository and need no deployment: new, train, evaluate."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.config import NAME, ModelConfig, ModelConfigError
from tools.modelctl import paths, tables
from tools.modelctl.console import next_step, note, out, print_json, steps
from tools.modelctl.errors import UsageFailed
from tools.modelctl.loading import shown
from tools.modelctl.options import Json, Name
from tools.modelctl.scorecard import scorecard

if TYPE_CHECKING:
    from tools.modelctl.built import Built

__all__ = ["build", "evaluate", "new", "train"]

_SCAFFOLD = Path(__file__).parents[1] / "scaffold"  # a folder a kind


class Kind(StrEnum):
    """What a new folder holds: one of scaffold/."""

    ESTIMATOR = "estimator"
    CREDIT = "credit"
    DEMAND = "demand"
    RECOMMENDATION = "recommendation"
    PRICING = "pricing"
    TRAFFIC = "traffic"
    SPEECH = "speech"
    EDGE = "edge"
    FEDERATED = "federated"
    TRANSFORMER = "transformer"


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and _, a letter first.")],
    *,
    kind: Annotated[
        Kind, typer.Option("--kind", help="A scenario of docs/scenarios.md; `transformer` is random and as large as BERT base.")
    ] = Kind.ESTIMATOR,
) -> None:
    """Start a model: a folder that trains and deploys as it is.

    Example: `modelctl new churn`, then put your data and estimator in models/churn/train.py.
    """
    folder = paths.MODELS / name
    if not NAME.fullmatch(name):
        expected = "a lower-case letter, then lower-case letters, digits or _, at most 48 characters in all"
        raise ModelConfigError(folder / "model.toml", [("(folder name)", name, expected)])
    if folder.exists():
        raise UsageFailed(f"{folder} is there already; expected a new name, or delete that folder first")
    shutil.copytree(_SCAFFOLD / kind, folder, ignore=shutil.ignore_patterns("__pycache__"))
    out.print(f"Wrote models/{name}/model.toml and models/{name}/train.py", soft_wrap=True)
    next_step(f"modelctl train {name}")


def train(
    name: Name,
    *,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train again even if nothing changed.")] = False,
    as_json: Json = False,
) -> None:
    """Train, convert to ONNX, and compare with the original on held-out rows.

    What was built lies in build/models/NAME: the model, a report, and an example request. Example: `modelctl train fruit`
    """
    built = build(name, fresh=fresh)
    if as_json:
        print_json(_document(built))
        return
    out.print(tables.metrics(built.manifest))
    out.print(f"Model: {built.model} ({built.model.stat().st_size:,} bytes)", soft_wrap=True)
    for failure in built.failures:
        note(failure)
    next_step(f"modelctl publish {name}" if built.passed else f"modelctl train {name}   (after a change of models/{name}/train.py)")


def evaluate(
    name: Name,
    *,
    folds: Annotated[int, typer.Option("--folds", min=0, help="Also cross-validate with this many folds; 0 for none.")] = 0,
    as_json: Json = False,
) -> None:
    """Score the ONNX model on held-out rows, and hold it against its gates; exits 1 when one fails.

    Shows metrics with 95% intervals, classes and slices; what --folds finds goes into the report, too. Trains first if anything changed.
    Examples: `modelctl evaluate tumour`, `modelctl evaluate diabetes --folds 5`
    """
    if folds == 1:
        raise UsageFailed("one fold leaves no rows to score; expected --folds 2 or more, such as 5")
    built = build(name)
    if folds:
        _cross_validate(built, folds)
    evaluation = built.report["evaluation"]
    if as_json:
        folded = evaluation.get("cross_validation", {}).get("metrics", {}) if folds else {}
        print_json({**_document(built), "folds": folds, "cross_validation": folded, "evaluation": evaluation})
    else:
        for part in scorecard(built.manifest, evaluation):
            out.print(part)
            out.print()
        if opened := shown.sentence(built.manifest):
            out.print(opened, soft_wrap=True)
        for failure in built.failures:
            note(failure)
        next_step(f"modelctl publish {name}" if built.passed else f"modelctl evaluate {name}   (after a change of models/{name}/train.py)")
    if not built.passed:
        raise typer.Exit(1)


def build(name: str, *, fresh: bool = False) -> Built:
    """Shows the steps. Raises `ModelConfigError`, `TrainFailed`, `BuildFailed`."""
    config = ModelConfig.load(paths.MODELS / name)
    with steps(name) as begin:
        begin("starting scikit-learn")
        from tools.modelctl import lifecycle  # noqa: PLC0415  # takes a second to import, which `modelctl list` should not pay

        return lifecycle.build(config, models=paths.MODELS, output=paths.BUILD, fresh=fresh, progress=begin)


def _cross_validate(built: Built, folds: int) -> None:
    from tools.modelctl.built import amend  # noqa: PLC0415  # as above
    from tools.modelctl.crossval import cross_validate  # noqa: PLC0415  #
    from tools.modelctl.source import Source  # noqa: PLC0415

    folder = paths.MODELS / built.manifest.name
    with steps(built.manifest.name) as begin:
        found = cross_validate(ModelConfig.load(folder), Source.of(folder), folds, begin)
    metrics = {metric: {"mean": mean, "deviation": deviation} for metric, (mean, deviation) in found.items()}
    amend(built, cross_validation={"folds": folds, "metrics": metrics})


def _document(built: Built) -> dict[str, object]:
    manifest = built.manifest
    return {
        "name": manifest.name,
        "passed": built.passed,
        "failures": built.failures,
        "metrics": manifest.metrics,
        "gates": manifest.gates,
        "parity": manifest.parity,
        "model": str(built.model),
        "example": str(built.example),
    }
