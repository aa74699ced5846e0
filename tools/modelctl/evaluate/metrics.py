"""Held-out metrics, every one from scikit-learn. One that isn't defined for the rows is left out, never made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context, metrics
from sklearn.calibration import calibration_curve
from sklearn.pipeline import Pipeline

from models.config import METRICS
from tools.modelctl.errors import BuildFailed
from tools.modelctl.evaluate.classes import Classified, classified

__all__ = [
    "BINS",
    "areas",
    "bins",
    "clusterable",
    "confidence",
    "macro",
    "of_classes",
    "of_clusters",
    "of_labels",
    "of_numbers",
    "paired",
    "score",
    "space",
]

BINS = 10
"""Of probabilities, each a tenth wide."""


def score(
    task: str, X: Any, y: Any, answers: Mapping[str, NDArray[Any]], *, known: Any = None, labels: Sequence[str] = ()
) -> dict[str, float]:
    """Held-out metrics by name; none without `y`, unless the task is clustering, which is judged by the distances within `X` (`space`).

    Means over classes are unweighted (macro) unless named micro; errors are in y's unit, mse in its square. `known` and `labels` as of
    `classified`. Metrics that aren't defined for the rows are left out. Raises `BuildFailed` where y and predictions have other shapes.
    """
    if task == "custom" or (y is None and task != "clustering"):
        return {}
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is left out
        match task:
            case "classification":
                found = of_classes(classified(y, answers, known=known, labels=labels))
            case "regression":
                found = of_numbers(*paired(y, answers))
            case _:
                found = of_clusters(X, answers["label"])
    return {name: float(found[name]) for name in METRICS[task] if name in found and np.isfinite(found[name])}


def space(estimator: Any, X: Any) -> Any:
    """`X` as the last step of a pipeline sees it, where distances mean something."""
    return estimator[:-1].transform(X) if isinstance(estimator, Pipeline) and len(estimator) > 1 else X


def of_classes(rows: Classified) -> dict[str, float]:
    """Of a classifier: of its labels, and of its probabilities where there are any."""
    return of_labels(rows) | _of_scores(rows)


def macro(rows: Classified, metric: str) -> float:
    """`accuracy`, or the mean over classes of `precision`, `recall` or `f1`, when the others would take too long."""
    if metric == "accuracy":
        return float(metrics.accuracy_score(rows.truth, rows.label))
    shares = metrics.precision_recall_fscore_support(rows.truth, rows.label, average="macro", zero_division=0)
    return float(shares[("precision", "recall", "f1").index(metric)])


def of_labels(rows: Classified) -> dict[str, float]:
    """Of the answered classes alone."""
    found = {"accuracy": metrics.accuracy_score(rows.truth, rows.label)}
    for suffix, average in (("", "macro"), ("_micro", "micro")):
        shares = metrics.precision_recall_fscore_support(rows.truth, rows.label, average=average, zero_division=0)
        found |= {name + suffix: value for name, value in zip(("precision", "recall", "f1"), shares[:3], strict=True)}
    return found


def _of_scores(rows: Classified) -> dict[str, float]:
    found = {}
    area = areas(rows)
    if area and len(area) == (len(rows.names) if len(rows.names) > 2 else 1):
        found["roc_auc"] = float(np.mean(list(area.values())))
    probabilities = rows.probabilities
    if probabilities is not None and np.max(rows.truth) < probabilities.shape[1] > 1:
        found["log_loss"] = metrics.log_loss(rows.truth, probabilities, labels=np.arange(probabilities.shape[1]))
    if (pair := confidence(rows)) is not None:
        right, sure = pair
        observed, predicted = calibration_curve(right, sure, n_bins=BINS)
        counts = np.bincount(bins(sure), minlength=BINS)
        found["calibration_error"] = float(np.abs(observed - predicted) @ counts[counts > 0] / len(sure))
    return found


def areas(rows: Classified) -> dict[int, float]:
    """ROC-AUC of each class against the rest, of two classes the second's, by its place; none of a class that all rows have, or no row."""
    if rows.scores is None:
        return {}
    places = [1] if rows.scores.shape[1] == 2 else range(rows.scores.shape[1])
    with config_context(skip_parameter_validation=True):  # a tenth of a millisecond a class
        return {
            place: float(metrics.roc_auc_score(is_it, rows.scores[:, place]))
            for place in places
            if (is_it := rows.truth == place).any() and not is_it.all()
        }


def confidence(rows: Classified) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
    """Whether it came true, and how probable it was said to be: of two classes the second, of more the one that was most probable."""
    probabilities = rows.probabilities
    if probabilities is None or probabilities.shape[1] < 2:
        return None
    if probabilities.shape[1] == 2:
        return rows.truth == 1, probabilities[:, 1]
    return rows.truth == probabilities.argmax(axis=1), probabilities.max(axis=1)


def bins(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of `BINS` each is in, as scikit-learn's calibration_curve has it."""
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probabilities)


def paired(y: Any, answers: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """y and its prediction, both [rows, outputs]. Raises `BuildFailed` where they have other shapes."""
    truth = np.asarray(y, np.float64)
    truth = truth.reshape(len(truth), -1)
    prediction = np.asarray(answers["prediction"], np.float64)
    if truth.size != prediction.size:
        raise BuildFailed(
            f"y has shape {list(truth.shape)} and prediction {list(prediction.shape)} for the held-out rows, which can't be compared; "
            "expected a number for each that load() answers"
        )
    return truth, prediction.reshape(truth.shape)


def of_numbers(truth: NDArray[np.float64], prediction: NDArray[np.float64]) -> dict[str, float]:
    """Of a regressor, of several outputs their mean; none where anything is not finite, and no r2 of a y that doesn't vary."""
    if not (np.isfinite(truth).all() and np.isfinite(prediction).all()):
        return {}
    found = {
        "mae": metrics.mean_absolute_error(truth, prediction),
        "mse": metrics.mean_squared_error(truth, prediction),
        "rmse": metrics.root_mean_squared_error(truth, prediction),
        "error_p50": metrics.median_absolute_error(truth, prediction),
        "error_p90": float(np.quantile(np.abs(truth - prediction), 0.9, axis=0).mean()),
    }
    if (np.ptp(truth, axis=0) > 0).all():
        found["r2"] = metrics.r2_score(truth, prediction)
    return found


def clusterable(X: Any, label: NDArray[Any]) -> bool:
    """Whether there are at least two clusters, and fewer than rows, of finite numbers."""
    try:
        finite = bool(np.isfinite(np.asarray(X, np.float64)).all())
    except (TypeError, ValueError):  # text has no distances
        return False
    return finite and 2 <= len(np.unique(label)) < len(label)


def of_clusters(X: Any, label: NDArray[Any]) -> dict[str, float]:
    """Of groups of rows, by the distances in `X`."""
    if not clusterable(X, label):
        return {}
    return {"silhouette": metrics.silhouette_score(X, label), "davies_bouldin": metrics.davies_bouldin_score(X, label)}
