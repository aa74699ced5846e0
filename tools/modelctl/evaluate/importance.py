"""How much worse the served model is once a feature says nothing: permutation importance.

A column's values change rows, the others stay; what the metric loses is what the column was worth. Features that say the same share
their worth, so that each looks worth little. L. Breiman, "Random Forests", 2001.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.config import LOWER_IS_BETTER
from tools.modelctl.evaluate.features import Feature
from tools.modelctl.parity import Answers, run_each

__all__ = ["importance"]

SHOWN = 30
"""Features at most, those that matter most."""
_ROWS = 500
_REPEATS = 3
_FEATURES = 128  # more would take long, and none of them matters much
_BYTES = 20_000_000  # of a model whose runs take no longer than its training was worth
Score = Callable[[Answers, int, str], float]


def importance(model: Path, metric: str, features: Sequence[Feature], inputs: Answers, score: Score) -> dict[str, Any] | None:
    """How much of `metric` is lost, by feature; `score` is given answers for that many of the first rows, and `metric`.

    None of a model of one feature or of very many, of one so large that it would take long, and where `metric` isn't defined.
    """
    columns = [feature for feature in features if feature.column is not None]
    if not 2 <= len(columns) <= _FEATURES or model.stat().st_size > _BYTES:
        return None
    rows = min(_ROWS, len(columns[0].values))
    some = {name: values[:rows] for name, values in inputs.items()}
    random = np.random.default_rng(0)
    orders = [random.permutation(rows) for _ in range(_REPEATS)]
    permuted = (_permuted(some, feature, order) for feature in columns for order in orders)
    base, *others = (score(answers, rows, metric) for answers in run_each(model, (some, *permuted)))
    if not np.isfinite([base, *others]).all():
        return None
    losses = np.reshape(others, (len(columns), _REPEATS)) - base
    losses = losses if metric in LOWER_IS_BETTER else -losses
    ranked = sorted(zip(columns, losses.mean(axis=1), losses.std(axis=1), strict=True), key=lambda each: -each[1])
    shown = [{"name": feature.name, "mean": float(mean), "deviation": float(deviation)} for feature, mean, deviation in ranked[:SHOWN]]
    return {"metric": metric, "features": shown}


def _permuted(inputs: Answers, feature: Feature, order: Any) -> Answers:
    changed = inputs[feature.tensor].copy()
    column = changed.reshape(len(changed), -1)[:, feature.column]
    changed.reshape(len(changed), -1)[:, feature.column] = column[order]
    return {**inputs, feature.tensor: changed}
