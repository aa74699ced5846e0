"""All that is known of a model from its held-out rows, as one document: no row of the data is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context, metrics

from models.config import METRICS, ModelConfig
from tools.modelctl.data import Split
from tools.modelctl.evaluate import details, intervals
from tools.modelctl.evaluate.classes import classified
from tools.modelctl.evaluate.features import Feature, features
from tools.modelctl.evaluate.importance import importance
from tools.modelctl.evaluate.metrics import clusterable, macro, of_classes, of_clusters, of_labels, of_numbers, paired
from tools.modelctl.evaluate.slices import slices
from tools.modelctl.gates import by_name
from tools.modelctl.parity import Answers

__all__ = ["Evaluation", "evaluate"]

_QUICK = {"classification": ("accuracy", "precision", "recall", "f1"), "regression": ("mae", "rmse", "mse", "r2")}
"""What slices and features are looked at by."""
Parts = dict[str, Any]
Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What held-out rows say of a model."""

    metrics: dict[str, float]
    """Those that are defined."""
    gated: dict[str, float]
    """What gates may name: the metrics, and those of each class as in `recall[malignant]`."""
    document: Parts
    """All of it as report.json has it: numbers are finite, and what isn't defined isn't there."""


@dataclass(frozen=True, kw_only=True)
class _Held:
    config: ModelConfig
    rows: Split
    inputs: Answers
    answers: Answers
    model: Path
    space: Any
    labels: tuple[str, ...]
    features: tuple[Feature, ...]
    elsewhere: bool


def evaluate(
    config: ModelConfig,
    rows: Split,
    inputs: Answers,
    answers: Answers,
    model: Path,
    *,
    space: Any,
    labels: tuple[str, ...],
    elsewhere: bool = False,
) -> Evaluation:
    """`inputs` are the held-out rows as tensors, `answers` what `model` answers for them, and `space` where clusters are judged.

    A model that was trained `elsewhere` has seen other rows than those that aren't held out, and maybe those that are.

    The same each time. Without y nothing is scored. Raises `BuildFailed` where model.toml names columns that aren't there, or y and
    predictions have other shapes.
    """
    found = features(rows.held_out_X, inputs)
    held = _Held(
        config=config,
        rows=rows,
        inputs=inputs,
        answers=answers,
        model=model,
        space=space,
        labels=labels,
        features=found,
        elsewhere=elsewhere,
    )
    parts = {name: part for name, part in _parts(held).items() if part}
    classes = parts.pop("classes", None)
    parts = {"data": _data(held) | ({"classes": classes} if classes else {})} | parts
    scored = {name: item["value"] for name, item in parts.get("metrics", {}).items()}
    return Evaluation(metrics=scored, gated=by_name(scored, parts.get("per_class", ())), document=parts)


def _parts(held: _Held) -> Parts:
    # The validation is most of the time of a metric of few rows; what overflows is left out.
    with config_context(skip_parameter_validation=True), np.errstate(over="ignore", invalid="ignore"):
        if held.config.task == "clustering":
            return _clusters(held)
        if held.rows.held_out_y is None or held.config.task == "custom":
            return {}
        return _classes(held) if held.config.task == "classification" else _numbers(held)


def _classes(held: _Held) -> Parts:
    known = np.unique(np.concatenate([np.asarray(held.rows.y).ravel(), np.asarray(held.rows.held_out_y).ravel()]))
    found = classified(held.rows.held_out_y, held.answers, known=known, labels=held.labels)
    trained = classified(held.rows.y, {"label": np.asarray(held.rows.y)}, known=known, labels=held.labels)

    def permuted(answers: Answers, count: int, metric: str) -> float:
        return macro(classified(np.asarray(held.rows.held_out_y)[:count], answers, known=known, labels=held.labels), metric)

    scored = of_classes(found)
    return {
        "classes": [
            {"name": name, "trained": int((trained.truth == place).sum()), "held_out": int((found.truth == place).sum())}
            for place, name in enumerate(found.names)
        ],
        "metrics": _with_intervals(held, scored, intervals.of_classes(found, scored)),
        "per_class": details.per_class(found),
        "confusion": details.confusion(found),
        "roc": details.roc(found),
        "calibration": details.calibration(found),
        **_looked_at(held, lambda places: of_labels(found.at(places)), permuted),
    }


def _numbers(held: _Held) -> Parts:
    truth, prediction = paired(held.rows.held_out_y, held.answers)

    def permuted(answers: Answers, count: int, metric: str) -> float:
        return of_numbers(*paired(truth[:count], answers)).get(metric, np.nan)

    scored = of_numbers(truth, prediction)
    return {
        "metrics": _with_intervals(held, scored, intervals.of_numbers(truth, prediction, scored)),
        "residuals": details.residuals(truth, prediction),
        **_looked_at(held, lambda places: of_numbers(truth[places], prediction[places]), permuted),
    }


def _clusters(held: _Held) -> Parts:
    label = held.answers["label"]
    scored = of_clusters(held.space, label)
    drawn = intervals.of_mean("silhouette", metrics.silhouette_samples(held.space, label)) if clusterable(held.space, label) else {}
    return {"metrics": _with_intervals(held, scored, drawn), "clusters": details.clusters(held.space, label)}


def _looked_at(held: _Held, score: Callable[[NDArray[np.intp]], Scores], permuted: Callable[[Answers, int, str], float]) -> Parts:
    quick = _QUICK[held.config.task]
    metric = next((gate.metric for gate in held.config.gates if gate.metric in quick), quick[0])
    apart = slices(held.config.evaluate.slices, held.features, lambda places: _chosen(score(places), quick))
    return {"slices": apart, "importance": importance(held.model, metric, held.features, held.inputs, permuted)}


def _chosen(scored: Scores, names: tuple[str, ...]) -> Scores:
    return {name: float(scored[name]) for name in names if name in scored and np.isfinite(scored[name])}


def _with_intervals(held: _Held, scored: Scores, drawn: intervals.Drawn) -> Parts:
    """In the order of `METRICS`."""
    found: Parts = {}
    for name, value in _chosen(scored, METRICS[held.config.task]).items():
        found[name] = {"value": value} | (dict(zip(("low", "high"), drawn[name], strict=True)) if name in drawn else {})
    return found


def _data(held: _Held) -> Parts:
    rows = held.rows
    return {
        "rows": rows.trained + rows.held_out,
        "trained": rows.trained,
        "held_out": rows.held_out,
        "held_out_sha256": _digest(held),
        "features": [{"name": feature.name, "kind": feature.kind} for feature in held.features],
    } | _told_elsewhere(held)


def _told_elsewhere(held: _Held) -> Parts:
    """Rows that came without a target may be made up."""
    if not held.elsewhere:
        return {}
    return {"elsewhere": True} | ({"without_target": True} if held.rows.y is None and held.config.task != "clustering" else {})


def _digest(held: _Held) -> str:
    """By which two versions know that they were judged on the same rows."""
    digest = hashlib.sha256()
    truth = {} if held.rows.held_out_y is None else {"y": np.asarray(held.rows.held_out_y)}
    for name, values in (*held.inputs.items(), *truth.items()):
        plain = np.ascontiguousarray(values.astype(np.str_) if values.dtype.kind == "O" else values)
        digest.update(f"{name} {plain.dtype.str} {plain.shape}\n".encode())
        digest.update(plain.tobytes())
    return digest.hexdigest()
