"""Makes a model ready to be published, and publishes it: train, convert, score, compare, hold against the gates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sklearn
from threadpoolctl import threadpool_limits

from models.config import MODELS, ModelConfig, ModelConfigError
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Lineage, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tools.modelctl import convert, evaluate, parity, report, triton
from tools.modelctl.data import Split, split, tensors
from tools.modelctl.errors import BuildFailed, GateFailed
from tools.modelctl.example import example
from tools.modelctl.fingerprint import fingerprint
from tools.modelctl.limits import Limits
from tools.modelctl.lint import lint
from tools.modelctl.paths import BUILD, EXAMPLE_FILE
from tools.modelctl.report import Built
from tools.modelctl.source import Source
from tools.modelctl.trial import Refused, Trial, attempt

__all__ = ["BUILD", "Built", "Progress", "build", "fit", "publish"]

Progress = Callable[[str], None]
"""Is told each step as it begins."""


def build(
    config: ModelConfig, *, models: Path = MODELS, output: Path = BUILD, fresh: bool = False, progress: Progress | None = None
) -> Built:
    """Trains, converts and checks a model, or answers what an earlier build left when nothing changed since (`fresh` insists).

    Raises `TrainFailed`, `BuildFailed`, `ModelConfigError`. A model that fails its gates or the lint is built all the same; see `failures`.
    """
    tell = progress or (lambda _: None)
    folder = output / config.name
    state = fingerprint(models / config.name)
    if not fresh and (known := report.read(folder, state)):
        tell("unchanged since it was built")
        return known
    source = Source.of(models / config.name)
    tell("loading its data")
    rows = split(config, *source.load())
    tell(f"training on {len(rows.X)} rows")
    estimator = fit(source, rows.X, rows.y)
    tell(f"converting, and comparing on {len(rows.held_out_X)} held-out rows")
    draft, trial, inputs = _convert(config, models, estimator, rows, folder)
    framework = getattr(estimator, "framework", f"scikit-learn {sklearn.__version__}")
    lineage = Lineage(framework=framework, source=hashlib.sha256(source.file.read_bytes()).hexdigest())
    findings = tuple(map(str, lint(folder / MODEL_FILE, memory=Limits.of(config).memory)))
    draft = _packed(config, folder, replace(draft, row_wise=parity.row_wise(folder / MODEL_FILE, draft, inputs)), trial, inputs)
    if draft.max_batch == 0 and config.realtime:
        tell("packed for a GPU that runs each request by itself: its rows can't be joined with those of others")
    return report.write(folder, state, replace(draft, lineage=lineage), trial=trial, findings=findings)


def fit(source: Source, X: Any, y: Any) -> Any:
    """Trains on one thread: sums in another order round otherwise, and the same data would give another model elsewhere."""
    with threadpool_limits(1):
        return source.train(X, y)


def publish(registry: Registry, built: Built, *, forced: str | None = None) -> Manifest:
    """Stores a model that passed, or any with the reason in `forced`, which the manifest keeps. Raises `GateFailed`."""
    draft = built.manifest
    if not built.passed:
        if not forced:
            raise GateFailed(draft.name, built.failures)
        assert draft.lineage is not None  # build always writes one
        draft = replace(draft, lineage=replace(draft.lineage, forced=forced))
    return registry.publish(draft, built.files)


def _convert(config: ModelConfig, models: Path, estimator: Any, rows: Split, folder: Path) -> tuple[Manifest, Trial, parity.Answers]:
    expected = parity.original(config.task, estimator, rows.held_out_X)
    model = convert.convert(config.name, config.task, estimator, rows.held_out_X)
    inputs = tensors(rows.held_out_X, convert.datatype(model))
    report.write_file(folder / MODEL_FILE, model.SerializeToString(deterministic=True))
    report.write_file(folder / EXAMPLE_FILE, example(inputs))
    trial = _try(config, folder)
    answers = parity.run(folder / MODEL_FILE, inputs)
    # What is scored is what will be served, not the estimator it was made from.
    metrics = evaluate.score(config.task, estimator, rows.held_out_X, rows.held_out_y, answers)
    served_inputs, served_outputs = convert.signature(model)
    draft = Manifest(
        name=config.name,
        version="",
        created="",
        task=config.task,
        inputs=served_inputs,
        outputs=served_outputs,
        files=(),
        opset=convert.opsets(model),
        ir=model.ir_version,
        description=config.description,
        labels=_labels(config, models, estimator),
        metrics=metrics,
        gates=evaluate.check(config, metrics),
        parity=parity.compare(expected, answers, config.parity),
    )
    return draft, trial, inputs


def _try(config: ModelConfig, folder: Path) -> Trial:
    """Before this process runs the model itself, and without a bound."""
    outcome = attempt(folder / MODEL_FILE, folder / EXAMPLE_FILE, Limits.of(config))
    if isinstance(outcome, Refused):
        raise BuildFailed(f"{config.name} was converted, but {outcome}")
    return outcome


def _packed(config: ModelConfig, folder: Path, draft: Manifest, trial: Trial, inputs: parity.Answers) -> Manifest:
    """With the archive beside it that Triton loads, where Triton is to run it. Raises `BuildFailed`."""
    if config.target != "gpu":
        return draft
    gpu = config.gpu
    if triton.max_batch(draft, gpu) and not parity.apart(folder / MODEL_FILE, inputs, config.parity):
        if gpu.max_batch:
            raise BuildFailed(
                f"{config.name} answers a row otherwise alone than among others, and Triton would run it beside rows of other requests; "
                "set max_batch = 0 in [gpu] of model.toml, or leave it out"
            )
        gpu = gpu.model_copy(update={"max_batch": 0})
    triton.archive(folder / MODEL_FILE, draft, gpu, folder / ARCHIVE_FILE, warm_up=trial.answers_zeros)
    return replace(draft, max_batch=triton.max_batch(draft, gpu))


def _labels(config: ModelConfig, models: Path, estimator: Any) -> tuple[str, ...]:
    """Those of model.toml, or else the classes as they were trained. Raises `ModelConfigError` when these don't fit each other."""
    classes = [item.item() if hasattr(item, "item") else item for item in getattr(estimator, "classes_", ())]
    if not config.labels or not classes:
        return config.labels or tuple(map(str, classes))
    named = all(isinstance(item, str) for item in classes)
    if len(config.labels) != len(classes) or (named and list(config.labels) != classes):
        expected = f"a label for each of the {len(classes)} classes, in the order {classes}"
        raise ModelConfigError(models / config.name / "model.toml", [("labels", list(config.labels), expected)])
    return config.labels
