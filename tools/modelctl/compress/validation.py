"""Rows of the training part set aside, so that a method can search for the smallest model without looking at the held-out rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from models.config import LOWER_IS_BETTER, METRICS, ModelConfig
from tools.modelctl import evaluate
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.subject import Inapplicable, Subject
from tools.modelctl.errors import BuildFailed
from tools.modelctl.parity import Answers

__all__ = ["Validation", "deciding", "furthest", "validation", "within"]

_SHARE = 0.25  # of the rows for training
_MOST = 5_000  # rows, enough for a hundredth of a point
_OF_PROBABILITIES = {"roc_auc", "log_loss", "calibration_error"}
_Candidate = TypeVar("_Candidate")


@dataclass(frozen=True)
class Validation:
    """Which rows a method fits on, and how much worse than its parent a graph is on the others."""

    config: ModelConfig
    fit: NDArray[np.intp]
    """Places of the rows to calibrate and fit on."""
    inputs: Answers
    """Of the rows to judge by."""
    y: Any
    parent: float
    limit: float
    known: Any
    """A y that has every class; None where `y` is all that is known."""
    labels: tuple[str, ...]

    def score(self, model: onnx.ModelProto) -> float:
        """In the deciding metric, larger is better; minus infinity for answers that it isn't defined for."""
        return _scored(self.config, self.y, answers(model, self.inputs), self.known, self.labels)

    def holds(self, model: onnx.ModelProto) -> bool:
        """Whether it is within the limit of its parent."""
        return within(self.parent - self.score(model), self.limit)


def validation(subject: Subject, *, caution: float = 1.0) -> Validation:
    """A quarter of the rows for training, drawn by the subject's seed. Without y the parent's own answers are what is right.

    The parent was fitted on these rows too, so a drop on them is not quite one on others: the limit is `caution` times [compress] max_drop.
    Raises `Inapplicable` for a task that nothing scores row by row, or a metric that those rows don't define.
    """
    config, inputs = subject.config, subject.calibration
    if config.task not in {"classification", "regression"}:
        raise Inapplicable(
            f"a {config.task} model has no metric that a search could hold row by row; "
            "`optimize` and `fp16` take it, which need none, and `dynamic-int8` where it has matrices"
        )
    rows = len(next(iter(inputs.values())))
    shuffled = np.random.default_rng(subject.seed).permutation(rows)
    fit, judged = np.sort(shuffled[(share := max(1, int(rows * _SHARE))) :]), np.sort(shuffled[: min(share, _MOST)])
    chosen = {name: values[judged] for name, values in inputs.items()}
    found = answers(subject.model, chosen)
    known = subject.rows.y
    y = np.asarray(known)[judged] if known is not None else found["label" if "label" in found else "prediction"]
    parent = _scored(config, y, found, known, subject.labels)
    if not np.isfinite(parent):
        raise Inapplicable(
            f"{deciding(config)} is not defined for the {len(judged):,} rows for training that were set aside, so no search could hold it; "
            "set another `metric` in [compress] of model.toml"
        )
    return Validation(config, fit, chosen, y, parent, caution * config.compress.max_drop, known, subject.labels)


def within(drop: float, limit: float) -> bool:
    """Also where only float noise keeps a drop from its limit: 0.98 - 0.97 is a little more than 0.01."""
    return drop <= limit or math.isclose(drop, limit, rel_tol=1e-9, abs_tol=1e-12)


def deciding(config: ModelConfig) -> str:
    """The metric that a drop is measured in: [compress] metric, or the first that a gate names, or the first of the task."""
    return config.compress.metric or next((gate.metric for gate in config.gates), METRICS[config.task][0])


def furthest(steps: Iterable[_Candidate], holds: Callable[[_Candidate], bool]) -> _Candidate | None:
    """The last of `steps` before the first that doesn't hold, each taking away more than the one before; None when not even one does.

    No bisection: a drop is a few rows more or less, and among many steps one too far would hold by chance.
    """
    found = None
    for step in steps:
        if not holds(step):
            break
        found = step
    return found


def _scored(config: ModelConfig, y: Any, found: Answers, known: Any, labels: tuple[str, ...]) -> float:
    metric = deciding(config)
    # What needs no probabilities is scored without them, in a tenth of the time.
    needed = found if metric in _OF_PROBABILITIES or "label" not in found else {"label": found["label"]}
    try:
        score = evaluate.score(config.task, None, y, needed, known=known, labels=labels).get(metric, -np.inf)
    except BuildFailed:
        return -np.inf
    return -score if metric in LOWER_IS_BETTER and np.isfinite(score) else score
