"""Held-out metrics against scikit-learn called by itself, and what isn't defined is not there."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.config import METRICS
from tools.modelctl.errors import BuildFailed
from tools.modelctl.evaluate import score, space
from tools.modelctl.evaluate.classes import classified

RANDOM = np.random.default_rng(1)
NAMES = np.array(["apple", "lemon", "orange"])


def guessed(classes: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Places of the true classes, and probabilities that know something of them."""
    random = np.random.default_rng(classes)
    truth = random.integers(classes, size=rows)
    scores = random.random((rows, classes)) + np.eye(classes)[truth] * 0.6
    return truth, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


def answered(values: np.ndarray, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": values[probabilities.argmax(axis=1)], "probabilities": probabilities}


def test_several_classes_are_scored_as_scikit_learn_scores_them() -> None:
    truth, probabilities = guessed(3)
    y, answers = NAMES[truth], answered(NAMES, probabilities)
    found = score("classification", None, y, answers)
    expected = {
        "accuracy": metrics.accuracy_score(y, answers["label"]),
        "precision": metrics.precision_score(y, answers["label"], average="macro"),
        "recall": metrics.recall_score(y, answers["label"], average="macro"),
        "f1": metrics.f1_score(y, answers["label"], average="macro"),
        "f1_micro": metrics.f1_score(y, answers["label"], average="micro"),
        "roc_auc": metrics.roc_auc_score(y, probabilities, multi_class="ovr"),
        "log_loss": metrics.log_loss(y, probabilities),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert list(found) == list(METRICS["classification"])


def test_two_classes_are_scored_by_the_probability_of_the_second() -> None:
    truth, probabilities = guessed(2)
    found = score("classification", None, truth, answered(np.array([0, 1]), probabilities))
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(truth, probabilities[:, 1]))


def test_calibration_is_the_mean_gap_between_what_was_said_and_what_came() -> None:
    """Four rows that were called 0.9 likely, of which half came true: the gap is 0.4, and nothing else was said."""
    probabilities = np.array([[0.1, 0.9]] * 4)
    found = score("classification", None, [1, 1, 0, 0], {"label": np.ones(4, np.int64), "probabilities": probabilities})
    assert found["calibration_error"] == pytest.approx(0.4)


def test_classes_count_alike_however_rare_they_are() -> None:
    """Three of four right, and of the rare class none: accuracy hides what macro recall shows."""
    found = score("classification", None, ["a", "a", "a", "b"], {"label": np.array(["a"] * 4)})
    micro = dict.fromkeys(("precision_micro", "recall_micro", "f1_micro"), 0.75)
    assert found == pytest.approx({"accuracy": 0.75, "precision": 0.375, "recall": 0.5, "f1": 3 / 7} | micro)


def test_errors_are_in_the_unit_of_what_is_predicted() -> None:
    found = score("regression", None, [1.0, 2.0, 3.0, 6.0], {"prediction": np.array([[1.0], [2.0], [3.0], [2.0]])})
    assert found == pytest.approx({"mae": 1.0, "mse": 4.0, "rmse": 2.0, "r2": 1 - 16 / 14, "error_p50": 0.0, "error_p90": 2.8})


def test_clusters_are_judged_where_the_pipeline_measures_distance() -> None:
    """A column in the millions that says nothing must not drown the one that separates."""
    X = np.column_stack([np.repeat([0.0, 1.0], 50) + RANDOM.normal(0, 0.02, 100), RANDOM.normal(0, 1e6, 100)])
    label = np.repeat([0, 1], 50)
    scaled = make_pipeline(StandardScaler(), KMeans(2, n_init=1, random_state=0)).fit(X)
    plain = KMeans(2, n_init=1, random_state=0).fit(X)
    assert score("clustering", space(scaled, X), None, {"label": label})["silhouette"] > 0.3
    assert score("clustering", space(plain, X), None, {"label": label})["silhouette"] < 0.1


LABELS = METRICS["classification"][:7]
SURE = {"label": np.zeros(4, np.int64), "probabilities": np.array([[0.8, 0.2]] * 4)}


@pytest.mark.parametrize(
    ("task", "y", "answers", "defined"),
    [
        ("clustering", None, {"label": np.zeros(4, np.int64)}, ()),
        ("clustering", None, {"label": np.arange(4)}, ()),
        ("regression", [1.0, 2.0, 3.0, 4.0], {"prediction": np.full((4, 1), np.nan)}, ()),
        ("regression", [2.0] * 4, {"prediction": np.ones((4, 1))}, ("mae", "mse", "rmse", "error_p50", "error_p90")),
        ("regression", [2.0], {"prediction": np.ones((1, 1))}, ("mae", "mse", "rmse", "error_p50", "error_p90")),
        ("classification", [0] * 4, SURE, (*LABELS, "log_loss", "calibration_error")),
        ("classification", [0, 1, 0, 1], SURE | {"probabilities": np.full((4, 2), np.nan)}, LABELS),
        ("classification", [0, 1, 0, 1], SURE | {"probabilities": np.array([[3.0, -1.0]] * 4)}, (*LABELS, "roc_auc")),
        ("classification", [0, 1, 0, 1], {"label": np.full(4, 7)}, LABELS),
        ("classification", None, SURE, ()),
        ("custom", [0, 1, 0, 1], {}, ()),
    ],
    ids=[
        "one cluster",
        "all alone",
        "NaN",
        "constant y",
        "one row",
        "one class",
        "NaN probabilities",
        "scores",
        "unknown",
        "no y",
        "custom",
    ],
)
def test_a_metric_that_is_not_defined_is_left_out(task: str, y: Any, answers: Mapping[str, np.ndarray], defined: tuple[str, ...]) -> None:
    found = score(task, np.arange(4.0).reshape(-1, 1), y, answers, known=[0, 1] if task == "classification" else None)
    assert tuple(found) == defined
    assert np.isfinite(list(found.values())).all()


def test_a_prediction_of_another_shape_than_y_is_told() -> None:
    with pytest.raises(BuildFailed, match=r"y has shape \[3, 1\] and prediction \[3, 2\]"):
        score("regression", None, [1.0, 2.0, 3.0], {"prediction": np.ones((3, 2))})


@pytest.mark.parametrize(
    ("y", "label", "labels", "names"),
    [
        ([0, 1, 1], np.array([0, 1, 1]), ("low", "high"), ("low", "high")),
        ([True, False, True], np.array([1, 0, 1]), (), ("False", "True")),
        (pd.Series(["b", "a", "b"]), np.array(["b", "a", "b"], object), (), ("a", "b")),
        ([2.0, 1.0, 2.0], np.array([2, 1, 2]), (), ("1.0", "2.0")),
        ([2, 0, 2], np.array([2, 0, 2]), ("x", "y", "z"), ("x", "y", "z")),
        (["c", "a", "c"], np.array(["c", "a", "c"]), ("a", "b", "c"), ("a", "b", "c")),
        (np.array([10, 9, 10], object), np.array([10, 9, 10]), (), ("9", "10")),
        (np.array([True, False, True], object), np.array([1, 0, 1]), (), ("False", "True")),
        (np.array([1.0, 0.0, 1.0], object), np.array([1, 0, 1]), (), ("0.0", "1.0")),
        ([1.0, 2.0, 1.0], np.array(["1", "2", "1"], object), (), ("1.0", "2.0")),
        ([True, False, True], np.array(["True", "False", "True"], object), (), ("False", "True")),
        (["cat", "dog", "cat"], np.array(["cat", "dog", "cat"], object), ("dog", "cat"), ("dog", "cat")),
        (["cat", "bird", "cat"], np.array(["cat", "bird", "cat"], object), ("dog", "cat"), ("dog", "cat", "bird")),
    ],
    ids=[
        "named numbers",
        "truth",
        "text",
        "floats",
        "a number that no row has",
        "a name that no row has",
        "objects",
        "objects of truth",
        "objects of floats",
        "numbers as text",
        "truth as text",
        "text that is not sorted",
        "text that has no label",
    ],
)
def test_answers_are_the_classes_of_y_whatever_their_types(
    y: Any, label: np.ndarray, labels: tuple[str, ...], names: tuple[str, ...]
) -> None:
    found = classified(y, {"label": label}, labels=labels)
    assert found.names == names
    assert (found.truth == found.label).all()


def test_texts_that_are_the_same_number_are_two_classes() -> None:
    found = classified(["01", "1"], {"label": np.array(["01", "1"], object)})
    assert (found.names, found.truth.tolist()) == (("01", "1"), [0, 1])


def test_an_answer_that_is_no_class_of_y_is_one_more() -> None:
    found = classified([0, 1], {"label": np.array([0, 5])}, labels=("low", "high"))
    assert found.names == ("low", "high", "5.0")
    assert found.label.tolist() == [0, 2]
