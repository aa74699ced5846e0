"""Bootstrap intervals: each metric of a resample is scikit-learn's, and the intervals hold what they promise."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics

from tools.modelctl.evaluate import intervals
from tools.modelctl.evaluate.classes import Classified, classified
from tools.modelctl.evaluate.metrics import of_classes, of_labels, of_numbers

Draws = list[tuple[float, float]]


def classes(seed: int, count: int = 3, rows: int = 80) -> Classified:
    random = np.random.default_rng(seed)
    truth = random.integers(count, size=rows)
    scores = np.round(random.random((rows, count)) + np.eye(count)[truth] * 0.5, 1)  # rounded, so that some are alike
    probabilities = scores / scores.sum(axis=1, keepdims=True)
    return classified(truth, {"label": probabilities.argmax(axis=1), "probabilities": probabilities})


@pytest.mark.parametrize("count", [2, 3])
def test_each_resample_is_scored_as_scikit_learn_scores_it(count: int) -> None:
    """A row's weight is how often it is there: the same rows, repeated, must give the same metric."""
    rows = classes(1, count)
    (weights,) = intervals._weights(80)
    curves = [intervals._ordered(rows.truth == place, rows.scores[:, place]) for place in ([1] if count == 2 else range(count))]  # type: ignore[index]
    drawn = intervals._of_probabilities(rows, curves, weights[:5])
    for place, weight in enumerate(weights[:5].astype(int)):
        expected = of_classes(rows.at(np.repeat(np.arange(80), weight)))
        found = {name: values[place] for name, values in drawn.items()}
        assert found == pytest.approx({name: expected[name] for name in found})
    assert set(drawn) == {"roc_auc", "log_loss", "calibration_error"}


def test_each_resample_of_numbers_is_scored_as_scikit_learn_scores_it() -> None:
    random = np.random.default_rng(2)
    truth = random.normal(100, 5, 80)
    prediction = truth + random.normal(0, 2, 80).round()
    (weights,) = intervals._weights(80)
    drawn = intervals._of_errors(truth, prediction, weights[:5])
    for place, weight in enumerate(weights[:5].astype(int)):
        again = np.repeat(np.arange(80), weight)
        expected = of_numbers(truth[again, None], prediction[again, None])
        assert {name: values[place] for name, values in drawn.items()} == pytest.approx(expected)


def test_metrics_of_counts_are_those_of_scikit_learn() -> None:
    """Of a class that is often answered and seldom true, so that precision and recall differ."""
    truth, label = np.array([0] * 30 + [1] * 8 + [2] * 2), np.array([0] * 12 + [1] * 18 + [1] * 6 + [2] * 2 + [2, 0])
    matrix = metrics.confusion_matrix(truth, label).astype(float)
    found = intervals._of_counts(np.diag(matrix)[None], matrix.sum(axis=1)[None], matrix.sum(axis=0)[None])
    expected = of_labels(classified(truth, {"label": label}))
    assert {name: values[0] for name, values in found.items()} == pytest.approx(expected)


def test_counts_of_classes_are_drawn_as_rows_would_be() -> None:
    """Their spread must be that of resampling rows with scikit-learn."""
    rows = classes(3)
    random = np.random.default_rng(0)
    slow = [metrics.f1_score(rows.truth[some], rows.label[some], average="macro") for some in random.integers(80, size=(150, 80))]
    quick = intervals._counted(rows)["f1"]
    assert np.mean(quick) == pytest.approx(np.mean(slow), abs=0.01)
    assert np.std(quick) == pytest.approx(np.std(slow), rel=0.2)


def of_accuracy(seed: int) -> tuple[float, float]:
    truth = np.random.default_rng(seed).random(200) < 0.8
    rows = classified(np.ones(200, int), {"label": truth.astype(int)}, known=[0, 1])
    return intervals.of_classes(rows, {"accuracy": 0.0})["accuracy"]


def of_mae(seed: int) -> tuple[float, float]:
    error = np.random.default_rng(seed).normal(0, 1, 200)[:, None]
    return intervals.of_numbers(error, np.zeros((200, 1)), {"mae": 0.0})["mae"]


@pytest.mark.parametrize(("interval", "truth"), [(of_accuracy, 0.8), (of_mae, math.sqrt(2 / math.pi))], ids=["accuracy", "mae"])
def test_about_95_of_100_intervals_hold_the_value_that_all_rows_would_give(
    monkeypatch: pytest.MonkeyPatch, interval: Callable[[int], tuple[float, float]], truth: float
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    found: Draws = [interval(seed) for seed in range(100)]
    assert 88 <= sum(low <= truth <= high for low, high in found) <= 100
    assert 0.05 < np.mean([high - low for low, high in found]) < 0.5


def test_intervals_are_the_same_each_time_and_around_the_value() -> None:
    rows = classes(4)
    found = of_classes(rows)
    drawn = intervals.of_classes(rows, found)
    assert drawn == intervals.of_classes(rows, found)
    assert set(drawn) == set(found)
    assert all(low <= found[name] <= high for name, (low, high) in drawn.items() if name != "calibration_error")


def test_few_rows_have_no_interval() -> None:
    rows = classes(5, rows=9)
    assert intervals.of_classes(rows, of_classes(rows)) == {}
    assert intervals.of_numbers(np.ones((9, 1)), np.ones((9, 1)), {"mae": 0.0}) == {}


def test_what_most_resamples_have_no_value_for_has_no_interval() -> None:
    """One row of a class is missing from a third of the resamples: there is no curve then."""
    scores = np.linspace(0, 1, 40)
    rows = classified([0] * 39 + [1], {"label": np.zeros(40, int), "probabilities": np.column_stack([1 - scores, scores])})
    assert "roc_auc" not in intervals.of_classes(rows, of_classes(rows))
