"""Judges a graph, whoever made it: tries it, scores it on held-out rows, compares it with what it was made from, and packs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from models.config import ModelConfig, ParityConfig
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Lineage, Manifest
from modelserve.record import replace
from tools.modelctl import built, convert, evaluate, gates, latency, parity, triton
from tools.modelctl.baseline import baseline
from tools.modelctl.built import Built
from tools.modelctl.data import Split, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.example import example
from tools.modelctl.limits import Limits
from tools.modelctl.lint import lint
from tools.modelctl.loading.prepare import prepare
from tools.modelctl.paths import BASELINE_FILE, EXAMPLE_FILE
from tools.modelctl.trial import Refused, Trial, attempt

__all__ = ["Converted", "assess", "opened"]

_MEASURED_FOR = 0.06  # seconds, enough to see an order of magnitude; `compress` takes its time where it compares


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A graph, and what it is judged by."""

    model: onnx.ModelProto
    expected: parity.Answers
    """For the held-out rows: of the original, or of the version that this one was made from."""
    labels: tuple[str, ...]
    lineage: Lineage
    space: Any = None
    """The held-out rows where clusters are judged; None as they are."""
    elsewhere: bool = False
    """Whether it, or what it was made from, was trained by somebody else, on other rows."""


def assess(
    config: ModelConfig,
    converted: Converted,
    rows: Split,
    folder: Path,
    *,
    state: str = "",
    allowed: ParityConfig | None = None,
    opening: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """Leaves the model in `folder` with all that a version holds. `allowed` goes before [parity] of model.toml.

    Without `opening` it isn't measured how it is opened fastest, which takes a large model a minute: `opened` does that for one that will
    be published.

    A model that fails its gates or the lint is left all the same; see `failures`. Raises `BuildFailed` for one that can't be run or scored.
    """
    model = converted.model
    inputs = tensors(rows.held_out_X, convert.datatype(model))
    built.write_file(folder / MODEL_FILE, model.SerializeToString(deterministic=True))
    built.write_file(folder / EXAMPLE_FILE, example(inputs))
    trial = _try(config, folder)
    answers = parity.run(folder / MODEL_FILE, inputs)
    # What is scored is what will be served, not what it was made from.
    space = rows.held_out_X if converted.space is None else converted.space
    found = evaluate.evaluate(
        config, rows, inputs, answers, folder / MODEL_FILE, space=space, labels=converted.labels, elsewhere=converted.elsewhere
    )
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
        labels=converted.labels,
        metrics=found.metrics,
        gates=gates.check(config, found.gated, scored=_scored(config, rows)),
        parity=parity.compare(converted.expected, answers, allowed or config.parity),
        lineage=converted.lineage,
    )
    findings = tuple(map(str, lint(folder / MODEL_FILE, memory=Limits.of(config).memory)))
    draft = replace(draft, row_wise=parity.row_wise(folder / MODEL_FILE, draft, inputs))
    trained = tensors(rows.X, convert.datatype(model))
    built.write_file(folder / BASELINE_FILE, baseline(folder / MODEL_FILE, rows, trained))
    if opening:
        draft = prepare(config, folder, draft, inputs, tell=progress)
    packed = _packed(config, folder, draft, trial, inputs)
    return built.write(folder, state, packed, trial=trial, findings=findings, evaluation=found.document | _costs(folder, inputs))


def opened(config: ModelConfig, found: Built, rows: Split, *, progress: Callable[[str], None] = lambda _: None) -> Built:
    """What `assess` left without `opening`, with how it is opened."""
    inputs = tensors(rows.held_out_X, convert.datatype(onnx.load_model(found.model)))
    return built.remade(found, prepare(config, found.folder, found.manifest, inputs, tell=progress))


def _scored(config: ModelConfig, rows: Split) -> bool:
    return config.task == "clustering" or (config.task != "custom" and rows.held_out_y is not None)


def _try(config: ModelConfig, folder: Path) -> Trial:
    """Before this process runs the model itself, where its memory has no bound, and its time a wider one."""
    outcome = attempt(folder / MODEL_FILE, folder / EXAMPLE_FILE, Limits.of(config))
    if isinstance(outcome, Refused):
        raise BuildFailed(f"{config.name} was converted, but {outcome}")
    return outcome


def _costs(folder: Path, inputs: parity.Answers) -> dict[str, Any]:
    """What serving it takes on this machine, which differs from run to run."""
    measured = latency.measure({folder.name: folder / MODEL_FILE}, inputs, seconds=_MEASURED_FOR)[folder.name]
    return {
        "latency": [asdict(batch) for batch in measured.latency],
        "load_ms": measured.load_ms,
        "size": (folder / MODEL_FILE).stat().st_size,
    }


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
