"""Makes a version smaller by each method that is asked for, judges what comes of it against its parent in one run, and publishes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models.config import LOWER_IS_BETTER, ModelConfig, ParityConfig
from modelserve.manifest import Lineage, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tools.modelctl import convert, evaluate, latency, lifecycle, parity
from tools.modelctl.assess import Converted, assess
from tools.modelctl.built import Built, amend
from tools.modelctl.compress.distilling import distill
from tools.modelctl.compress.optimize import optimize
from tools.modelctl.compress.precision import fp16
from tools.modelctl.compress.pruning import prune
from tools.modelctl.compress.quantize import dynamic_int8, static_int8
from tools.modelctl.compress.results import PARENT, Comparison, Result
from tools.modelctl.compress.subject import Inapplicable, Method, Subject
from tools.modelctl.compress.trees import prune_trees
from tools.modelctl.compress.validation import deciding
from tools.modelctl.data import Split, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.migrate import Origin
from tools.modelctl.parity import Answers
from tools.modelctl.source import Source

__all__ = ["METHODS", "compress", "publish"]

METHODS: dict[str, Method] = {
    "dynamic-int8": dynamic_int8,
    "static-int8": static_int8,
    "fp16": fp16,
    "prune": prune,
    "tree-prune": prune_trees,
    "distill": distill,
    "optimize": optimize,
}
"""By name, in the order that `auto` tries them in."""
_ANY = ParityConfig(disagreement=1.0, tolerance=parity.MOST)
"""Smaller is other: what counts is how much worse it is, which the limit on the metric says."""
_SECONDS = 2.0  # of measuring, for each model


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Judge:
    """What the parent and every result are held against."""

    config: ModelConfig
    rows: Split
    inputs: Answers
    expected: Answers
    """What the parent answers."""
    space: Any
    """The held-out rows where clusters are judged."""
    metric: str

    @property
    def known(self) -> Any:
        """Every class that there is."""
        return None if self.rows.y is None else np.unique(np.concatenate([np.ravel(self.rows.y), np.ravel(self.rows.held_out_y)]))

    def value(self, answers: Answers) -> float:
        """Raises `BuildFailed` where the metric isn't defined for the held-out rows."""
        if self.metric == "disagreement":
            return float(np.mean(answers["label"] != self.expected["label"]))
        if self.metric == "difference":
            return parity.compare(self.expected, answers, _ANY).largest_difference
        found = evaluate.score(self.config.task, self.space, self.rows.held_out_y, answers, known=self.known)
        if self.metric not in found:
            expected = f"expected one of {', '.join(found)} as `metric` in [compress] of model.toml"
            raise BuildFailed(f"{self.metric} is not defined for the held-out rows of {self.config.name}; {expected}")
        return found[self.metric]


def _metric(config: ModelConfig, rows: Split, answers: Answers) -> str:
    """Where nothing is scored, how far answers are from the parent's: the share of labels that differ, or the largest difference."""
    if config.task == "custom" or (rows.held_out_y is None and config.task != "clustering"):
        return "disagreement" if "label" in answers else "difference"
    return deciding(config)


def compress(
    config: ModelConfig,
    source: Source,
    origin: Origin,
    rows: Split,
    methods: Sequence[str],
    *,
    output: Path,
    student: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Each result lies in a folder of `output` named after the model and its method, with all that a version holds.

    Held-out rows judge, and methods see only those for training. With several methods one that makes nothing is left out, and says why;
    one alone raises `Inapplicable` or `BuildFailed`.
    """
    parent = onnx.load_model(origin.model)
    inputs = tensors(rows.held_out_X, convert.datatype(parent))
    expected = parity.run(origin.model, inputs)
    space = evaluate.space(lifecycle.fit(source, rows.X, rows.y), rows.held_out_X) if config.task == "clustering" else rows.held_out_X
    judge = _Judge(config=config, rows=rows, inputs=inputs, expected=expected, space=space, metric=_metric(config, rows, expected))
    subject = Subject(config=config, model=parent, rows=rows, student=student, tell=progress)
    made: dict[str, Built] = {}
    left_out: dict[str, str] = {}
    for method in methods:
        progress(method)
        try:
            made[method] = _made(subject, origin, judge, method, output)
        except (Inapplicable, BuildFailed) as error:
            if len(methods) == 1:
                raise
            left_out[method] = str(error)
    progress(f"measuring {len(made) + 1} models in turns")
    comparison = _compared(origin, judge, made, left_out)
    for result in comparison.results:
        assert result.built is not None
        amend(result.built, compression=comparison.document(result))
    return comparison


def publish(registry: Registry, result: Result, *, forced: str | None = None) -> Manifest:
    """Stores a result as a new version, its parent in the lineage; with the reason in `forced` although it has problems."""
    assert result.built is not None
    built, lineage = result.built, result.built.manifest.lineage
    assert lineage is not None
    if forced:  # also where only the limit of compression speaks against it, of which no gate knows
        built = dataclasses.replace(built, manifest=replace(built.manifest, lineage=replace(lineage, forced=forced)))
    return lifecycle.publish(registry, built, forced=forced)


def _made(subject: Subject, origin: Origin, judge: _Judge, method: str, output: Path) -> Built:
    lineage = origin.manifest.lineage
    converted = Converted(
        model=METHODS[method](subject),
        expected=judge.expected,
        labels=origin.manifest.labels,
        lineage=Lineage(
            framework=lineage.framework if lineage else "",
            source=lineage.source if lineage else "",
            parent=origin.version,
            transform=method,
        ),
        space=judge.space,
    )
    return assess(judge.config, converted, judge.rows, output / f"{judge.config.name}.{method}", allowed=_ANY)


def _compared(origin: Origin, judge: _Judge, made: Mapping[str, Built], left_out: Mapping[str, str]) -> Comparison:
    files = {PARENT: origin.model, **{method: built.model for method, built in made.items()}}
    measured = latency.measure(files, judge.inputs, seconds=_SECONDS * len(files))
    parent, *results = (
        Result(
            method=method,
            model=file,
            metric=judge.value(parity.run(file, judge.inputs)),
            measured=measured[method],
            built=made.get(method),
        )
        for method, file in files.items()
    )
    return Comparison(
        name=judge.config.name,
        version=origin.version,
        metric=judge.metric,
        lower_is_better=judge.metric in {*LOWER_IS_BETTER, "disagreement", "difference"},
        limit=judge.config.compress.max_drop,
        cpu=latency.cpu(),
        parent=parent,
        results=tuple(results),
        left_out=left_out,
    )
