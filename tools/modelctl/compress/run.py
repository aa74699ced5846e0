"""Makes a version smaller by each method that is asked for, judges what comes of it against its parent in one run, and publishes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models.config import LOWER_IS_BETTER, ModelConfig, ParityConfig
from modelserve.manifest import Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tools.modelctl import assess, evaluate, latency, lifecycle, parity
from tools.modelctl.built import Built, amend
from tools.modelctl.compress.distilling import distill
from tools.modelctl.compress.optimize import optimize
from tools.modelctl.compress.precision import fp16
from tools.modelctl.compress.pruning import prune
from tools.modelctl.compress.quantize import dynamic_int8, static_int8
from tools.modelctl.compress.results import PARENT, UNSCORED, Comparison, Result
from tools.modelctl.compress.subject import Inapplicable, Method, Subject
from tools.modelctl.compress.trees import prune_trees
from tools.modelctl.compress.validation import deciding
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed
from tools.modelctl.origin import Origin, space
from tools.modelctl.parity import Answers
from tools.modelctl.source import Source

__all__ = ["METHODS", "compress", "opened", "publish"]

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
    """What the version answers that drops are held against."""
    space: Any
    """The held-out rows where clusters are judged."""
    metric: str
    labels: tuple[str, ...]

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
        found = evaluate.score(self.config.task, self.space, self.rows.held_out_y, answers, known=self.known, labels=self.labels)
        if self.metric not in found:
            expected = f"expected one of {', '.join(found)} as `metric` in [compress] of model.toml"
            raise BuildFailed(f"{self.metric} is not defined for the held-out rows of {self.config.name}; {expected}")
        return found[self.metric]


def _metric(config: ModelConfig, rows: Split, answers: Answers) -> str:
    """Where nothing is scored, one of `UNSCORED`."""
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
    against: Origin | None = None,
    student: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Each result lies in a folder of `output` named after the model and its method, with all that a version holds.

    Held-out rows judge, and methods see only those for training. Drops are held `against` that version, or else against `origin`. With
    several methods one that makes nothing is left out, and says why; one alone raises `Inapplicable` or `BuildFailed`.
    """
    inputs = origin.asked(rows)
    answers = parity.run(origin.model, inputs)
    judge = _Judge(
        config=config,
        rows=rows,
        inputs=inputs,
        expected=parity.run(against.model, against.asked(rows)) if against else answers,
        space=space(config, source, rows),
        metric=_metric(config, rows, answers),
        labels=origin.manifest.labels,
    )
    model = onnx.load_model(origin.model)
    subject = Subject(config=config, model=model, rows=rows, labels=judge.labels, student=student, tell=progress)
    made: dict[str, Built] = {}
    left_out: dict[str, str] = {}
    for method in methods:
        progress(method)
        try:
            converted = origin.converted(METHODS[method](subject), method, answers, judge.space)
            made[method] = assess.assess(config, converted, rows, output / f"{config.name}.{method}", allowed=_ANY, opening=False)
        except (Inapplicable, BuildFailed) as error:
            if len(methods) == 1:
                raise
            left_out[method] = str(error)
    progress(f"measuring {len(made) + 1} models in turns")
    comparison = _compared(origin, against, judge, made, left_out)
    for result in comparison.results:
        assert result.built is not None
        amend(result.built, compression=comparison.document(result))
    return comparison


def opened(config: ModelConfig, result: Result, rows: Split, *, progress: Callable[[str], None] = lambda _: None) -> Result:
    """A result that will be published, with how its function opens it; what is only compared does without. Raises `BuildFailed`."""
    assert result.built is not None
    return dataclasses.replace(result, built=assess.opened(config, result.built, rows, progress=progress))


def publish(registry: Registry, result: Result, *, forced: str | None = None) -> Manifest:
    """Stores a result as a new version, its parent in the lineage; with the reason in `forced` although it has problems."""
    assert result.built is not None
    built, lineage = result.built, result.built.manifest.lineage
    assert lineage is not None
    if forced:  # also where only the limit of compression speaks against it, of which no gate knows
        built = dataclasses.replace(built, manifest=replace(built.manifest, lineage=replace(lineage, forced=forced)))
    return lifecycle.publish(registry, built, forced=forced)


def _compared(origin: Origin, against: Origin | None, judge: _Judge, made: Mapping[str, Built], left_out: Mapping[str, str]) -> Comparison:
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
        transform=origin.transform,
        origin=against.version if against else None,
        reference=judge.value(judge.expected),
        metric=judge.metric,
        lower_is_better=judge.metric in LOWER_IS_BETTER | UNSCORED,
        limit=judge.config.compress.max_drop,
        cpu=latency.cpu(),
        parent=parent,
        results=tuple(results),
        left_out=left_out,
        notes=(*_unscored(judge), *_others(filter(None, (origin, against)), made.values())),
    )


def _unscored(judge: _Judge) -> Iterator[str]:
    if judge.metric in UNSCORED:
        why = "no metric of a custom task scores" if judge.config.task == "custom" else "load() of train.py gives no y for"
        yield (
            f"judged by {judge.rows.held_out:,} rows that {why}: how far its answers are from those before is known, and not whether they "
            "are right; where load() makes rows up, not even that of real ones"
        )


def _others(before: Iterable[Origin], made: Iterable[Built]) -> Iterator[str]:
    """Of versions that were judged by other held-out rows than the results."""
    now = {built.report["evaluation"]["data"]["held_out_sha256"] for built in made}
    for origin in before:
        if now and origin.held_out and origin.held_out not in now:
            yield (
                f"{origin.version or 'the local build'} was judged by other held-out rows, and may have been trained on some of these, "
                "which hides or feigns a drop; expected the data, train.py and [data] of model.toml that it was made with"
            )
