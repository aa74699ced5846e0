"""What stands behind the metrics, in counts, bins and quantiles: no row of the data is in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from tools.modelctl.evaluate.classes import Classified
from tools.modelctl.evaluate.metrics import BINS, areas, bins, clusterable, confidence

__all__ = ["Parts", "calibration", "clusters", "confusion", "per_class", "residuals", "roc"]

Parts = dict[str, Any]
MOST_CLASSES = 100
"""In a matrix of confusion."""
_CURVES = 20
_POINTS = 50  # of a curve
_HISTOGRAM = 20  # bins
_QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
_TOGETHER = 10  # rows at least, of which quantiles are told


def per_class(rows: Classified) -> list[Parts]:
    """Without what has nothing to divide by: the precision of a class that was never answered, the recall of one that no row has."""
    places = np.arange(len(rows.names))
    found = metrics.precision_recall_fscore_support(rows.truth, rows.label, labels=places, average=None, zero_division=np.nan)
    shares = [dict(zip(("precision", "recall", "f1"), map(float, values), strict=True)) for values in zip(*found[:3], strict=True)]
    return [
        {"name": name} | {key: value for key, value in share.items() if np.isfinite(value)} | {"support": int(support)}
        for name, share, support in zip(rows.names, shares, found[3], strict=True)
    ]


def confusion(rows: Classified) -> Parts | None:
    """Rows are the true classes, columns the answered ones; None of more classes than anybody can look at."""
    if len(rows.names) > MOST_CLASSES:
        return None
    counts = metrics.confusion_matrix(rows.truth, rows.label, labels=np.arange(len(rows.names)))
    return {"names": list(rows.names), "counts": counts.tolist()}


def roc(rows: Classified) -> list[Parts]:
    """Of each class against the rest, of two classes the second's: true over false positives, from (0, 0) to (1, 1)."""
    found = []
    for place, area in list(areas(rows).items())[:_CURVES]:
        assert rows.scores is not None  # there are no areas without
        false, true, _ = metrics.roc_curve(rows.truth == place, rows.scores[:, place])
        shown = np.unique(np.linspace(0, len(false) - 1, _POINTS).round().astype(int))
        found.append({"name": rows.names[place], "auc": area, "points": np.column_stack([false, true])[shown].round(4).tolist()})
    return found


def calibration(rows: Classified) -> Parts | None:
    """How often what was said to be this probable came true. Of two classes `class` is whose probability it is."""
    pair = confidence(rows)
    if pair is None:
        return None
    right, sure = pair
    which = bins(sure)
    counts = np.bincount(which, minlength=BINS)
    sums = [np.bincount(which, weights=values, minlength=BINS) for values in (sure, right)]
    shown = [
        {"predicted": float(said / count), "observed": float(came / count), "rows": int(count)}
        for said, came, count in zip(*sums, counts, strict=True)
        if count
    ]
    error = sum(item["rows"] * abs(item["observed"] - item["predicted"]) for item in shown) / len(sure)
    of = {"class": rows.names[1]} if len(rows.names) == 2 else {}
    return {"error": error, **of, "bins": shown}


def residuals(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> Parts | None:
    """y less its prediction, both [rows, outputs]; None of several outputs, whose units differ, and of few rows or endless ones."""
    if truth.shape[1] != 1 or len(truth) < _TOGETHER or not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        return None
    predicted, rest = prediction.ravel(), (truth - prediction).ravel()
    quantiles = {f"{share:g}": float(value) for share, value in zip(_QUANTILES, np.quantile(rest, _QUANTILES), strict=True)}
    counts, edges = np.histogram(rest, _edges(rest))
    histogram = {"edges": edges.tolist(), "counts": counts.tolist()}
    return {"unit": "", "quantiles": quantiles, "histogram": histogram, "by_prediction": _by_prediction(predicted, rest)}


def clusters(X: Any, label: NDArray[Any]) -> list[Parts]:
    """How far each cluster is from the others, where that is defined."""
    names, place = np.unique(label, return_inverse=True)
    width = metrics.silhouette_samples(X, label) if clusterable(X, label) else None
    return [
        {"name": str(name), "rows": int((place == i).sum())} | ({} if width is None else {"silhouette": float(width[place == i].mean())})
        for i, name in enumerate(names)
    ]


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of bins whose width is 1, 2 or 5 times a power of ten, so that no edge is a value."""
    span = float(np.ptp(values)) or abs(float(values[0])) or 1.0
    rough = span / _HISTOGRAM
    power = 10.0 ** np.floor(np.log10(rough))
    width = power * next(step for step in (1, 2, 5, 10) if step * power >= rough)
    first, last = np.floor(np.min(values) / width), np.floor(np.max(values) / width) + 1
    edges: NDArray[np.float64] = np.arange(first, last + 1) * width
    return edges


def _by_prediction(predicted: NDArray[np.float64], rest: NDArray[np.float64]) -> list[Parts]:
    """Residuals where predictions are alike: in at most `BINS` groups of as many rows each."""
    order = np.argsort(predicted, kind="stable")
    found = []
    for group in np.array_split(order, min(BINS, len(order) // _TOGETHER)):
        low, median, high = (float(value) for value in np.quantile(rest[group], (0.1, 0.5, 0.9)))
        found.append({"predicted": float(predicted[group].mean()), "low": low, "median": median, "high": high, "rows": len(group)})
    return found
