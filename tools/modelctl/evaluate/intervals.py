"""How far a metric might be elsewhere: 95% bootstrap percentile intervals over held-out rows, the same each time.

Values are scikit-learn's; for a thousand resamples of each metric that would take minutes, so here each is written once more, for all
resamples at a time. A test holds both against each other. B. Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from tools.modelctl.evaluate.classes import Classified
from tools.modelctl.evaluate.metrics import BINS, areas, bins, confidence

__all__ = ["Drawn", "of_classes", "of_mean", "of_numbers"]

Floats = NDArray[np.float64]
Drawn = dict[str, tuple[float, float]]
"""Low and high, by metric."""
_Curve = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]
RESAMPLES = 1_000
LEAST_ROWS = 10
"""Fewer say too little of what other rows would give."""
_ELEMENTS = 2_000_000  # of an array at a time
_WORK = 50_000_000  # rows of all resamples together, beyond which there are fewer resamples, but not fewer than 200
_UNDEFINED = 0.05  # share of resamples in which a metric may have no value
_SMALLEST = float(np.finfo(np.float64).eps)  # probability, as in scikit-learn's log_loss


def of_classes(rows: Classified, found: Mapping[str, float]) -> Drawn:
    """Intervals of the metrics in `found`."""
    if len(rows.truth) < LEAST_ROWS:
        return {}
    curves = [] if rows.scores is None else [_ordered(rows.truth == place, rows.scores[:, place]) for place in areas(rows)]
    drawn = _counted(rows) | _summed(len(rows.truth), lambda weights: _of_probabilities(rows, curves, weights))
    return _intervals({name: drawn[name] for name in found if name in drawn})


def of_numbers(truth: Floats, prediction: Floats, found: Mapping[str, float]) -> Drawn:
    """As `of_classes`, of a single output; of several there is none."""
    if len(truth) < LEAST_ROWS or truth.shape[1] != 1:
        return {}
    drawn = _summed(len(truth), lambda weights: _of_errors(truth.ravel(), prediction.ravel(), weights))
    return _intervals({name: drawn[name] for name in found if name in drawn})


def of_mean(name: str, values: Floats) -> Drawn:
    """Of the mean of what each row has, such as its silhouette."""
    if len(values) < LEAST_ROWS:
        return {}
    return _intervals(_summed(len(values), lambda weights: {name: weights @ values / len(values)}))


def _intervals(drawn: Mapping[str, Floats]) -> Drawn:
    found: Drawn = {}
    for name, values in drawn.items():
        defined = values[np.isfinite(values)]
        if len(defined) >= (1 - _UNDEFINED) * len(values):
            low, high = np.quantile(defined, (0.025, 0.975))
            found[name] = float(low), float(high)
    return found


def _resamples(rows: int) -> int:
    return int(np.clip(_WORK // rows, 200, RESAMPLES))


def _weights(rows: int) -> Iterator[Floats]:
    """How often each row is in each resample, [some resamples, rows] at a time."""
    random = np.random.default_rng(0)
    left = _resamples(rows)
    while left:
        some = min(left, max(1, _ELEMENTS // rows))
        drawn = random.integers(rows, size=(some, rows)) + np.arange(some)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=some * rows).reshape(some, rows).astype(np.float64)
        left -= some


def _summed(rows: int, measure: Callable[[Floats], dict[str, Floats]]) -> dict[str, Floats]:
    parts = [measure(weights) for weights in _weights(rows)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _counted(rows: Classified) -> dict[str, Floats]:
    """Metrics of counts alone: to draw rows is to draw how many there are of each pair of a true and an answered class."""
    count, total = len(rows.names), len(rows.truth)
    pairs, counts = np.unique(rows.truth * count + rows.label, return_counts=True)
    drawn = np.random.default_rng(0).multinomial(total, counts / total, size=RESAMPLES).astype(np.float64)
    true, answered = np.eye(count)[pairs // count], np.eye(count)[pairs % count]
    return _of_counts(drawn @ (true * answered), drawn @ true, drawn @ answered)


def _of_counts(hits: Floats, support: Floats, called: Floats) -> dict[str, Floats]:
    """Of rows that are a class and are called so, that are it, and that are called so: each [resamples, classes]."""
    there = np.maximum((support + called > 0).sum(axis=1), 1)
    macro = {
        "precision": hits / np.maximum(called, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(support + called, 1),
    }
    accuracy = hits.sum(axis=1) / support.sum(axis=1)
    return {name: values.sum(axis=1) / there for name, values in macro.items()} | dict.fromkeys(
        ("accuracy", "precision_micro", "recall_micro", "f1_micro"), accuracy
    )


def _of_probabilities(rows: Classified, curves: list[_Curve], weights: Floats) -> dict[str, Floats]:
    found: dict[str, Floats] = {"roc_auc": np.mean([_area(*curve, weights) for curve in curves], axis=0)} if curves else {}
    probabilities, pair = rows.probabilities, confidence(rows)
    if probabilities is not None and np.max(rows.truth) < probabilities.shape[1]:
        loss = -np.log(np.clip(probabilities[np.arange(len(rows.truth)), rows.truth], _SMALLEST, 1))
        found["log_loss"] = weights @ loss / len(loss)
    if pair is not None:
        right, sure = pair
        gaps = np.eye(BINS)[bins(sure)] * (right - sure)[:, None]
        found["calibration_error"] = np.abs(weights @ gaps).sum(axis=1) / len(sure)
    return found


def _ordered(is_it: NDArray[np.bool_], scores: Floats) -> _Curve:
    """Rows by their score, where each other score begins among them, and which of them are it."""
    order = np.argsort(scores, kind="stable")
    return order, np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0]), is_it[order]


def _area(order: NDArray[np.intp], starts: NDArray[np.intp], is_it: NDArray[np.bool_], weights: Floats) -> Floats:
    """Share of pairs of one that is it and one that isn't whose scores are in that order; those alike count half."""
    drawn = weights[:, order]
    hits, misses = (np.add.reduceat(drawn * kept, starts, axis=1) for kept in (is_it, ~is_it))
    below = np.cumsum(misses, axis=1) - misses / 2
    pairs = hits.sum(axis=1) * misses.sum(axis=1)
    found: Floats = np.divide((hits * below).sum(axis=1), pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return found


def _of_errors(truth: Floats, prediction: Floats, weights: Floats) -> dict[str, Floats]:
    total = len(truth)
    error, around = np.abs(truth - prediction), truth - truth.mean()
    squares = weights @ error**2
    spread = weights @ around**2 - (weights @ around) ** 2 / total
    r2 = 1 - np.divide(squares, spread, out=np.full(len(spread), np.nan), where=spread > 0)
    order = np.argsort(error, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    quantiles = {name: _quantile(error[order], reached, share) for name, share in (("error_p50", 0.5), ("error_p90", 0.9))}
    return {"mae": weights @ error / total, "mse": squares / total, "rmse": np.sqrt(squares / total), "r2": r2, **quantiles}


def _quantile(values: Floats, reached: Floats, share: float) -> Floats:
    """Between the two rows that are nearest, as numpy.quantile has it; `reached` is how many rows there are up to each of `values`."""
    place = share * (len(values) - 1)
    low, high = (values[(reached <= rank).sum(axis=1)] for rank in (np.floor(place), np.ceil(place)))
    found: Floats = low + (high - low) * (place - np.floor(place))
    return found
