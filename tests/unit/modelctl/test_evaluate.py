"""Held-out metrics, and the gates that they must pass."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.config import METRICS, ModelConfig
from tools.modelctl.errors import BuildFailed
from tools.modelctl.evaluate import score, space
from tools.modelctl.gates import check, failures


def test_classes_count_alike_however_rare_they_are() -> None:
    """Three of four right, and of the rare class none: accuracy hides what macro recall shows."""
    found = score("classification", None, ["a", "a", "a", "b"], {"label": np.array(["a"] * 4)})
    assert found == pytest.approx(
        {"accuracy": 0.75, "precision": 0.375, "recall": 0.5, "f1": 3 / 7}
        | dict.fromkeys(("precision_micro", "recall_micro", "f1_micro"), 0.75)
    )


def test_errors_are_in_the_unit_of_what_is_predicted() -> None:
    found = score("regression", None, [1.0, 2.0, 3.0, 6.0], {"prediction": np.array([[1.0], [2.0], [3.0], [2.0]])})
    assert found == pytest.approx({"mae": 1.0, "mse": 4.0, "rmse": 2.0, "r2": 1 - 16 / 14, "error_p50": 0.0, "error_p90": 2.8})


def test_clusters_are_judged_where_the_pipeline_measures_distance() -> None:
    """A column in the millions that says nothing must not drown the one that separates."""
    random = np.random.default_rng(0)
    X = np.column_stack([np.repeat([0.0, 1.0], 50) + random.normal(0, 0.02, 100), random.normal(0, 1e6, 100)])
    label = np.repeat([0, 1], 50)
    scaled = make_pipeline(StandardScaler(), KMeans(2, n_init=1, random_state=0)).fit(X)
    plain = KMeans(2, n_init=1, random_state=0).fit(X)
    assert score("clustering", space(scaled, X), None, {"label": label})["silhouette"] > 0.3
    assert score("clustering", space(plain, X), None, {"label": label})["silhouette"] < 0.1


@pytest.mark.parametrize(
    ("task", "y", "answers"),
    [
        ("clustering", None, {"label": np.zeros(4, np.int64)}),
        ("regression", [1.0, 2.0, 3.0, 4.0], {"prediction": np.full((4, 1), np.nan)}),
    ],
    ids=["one cluster", "NaN"],
)
def test_a_gate_on_what_is_not_defined_for_the_answers_is_refused(task: str, y: object, answers: dict[str, np.ndarray]) -> None:
    found = score(task, np.arange(4).reshape(-1, 1), y, answers)
    assert found == {}
    gated = ModelConfig.model_validate({"name": "x", "task": task, "gates": [f"{METRICS[task][0]} >= 0.1"]})
    with pytest.raises(BuildFailed, match="is not defined for these held-out rows; that needs"):
        check(gated, found)


def config(*gates: str) -> ModelConfig:
    return ModelConfig.model_validate({"name": "x", "task": "regression", "gates": list(gates)})


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_gate_holds_up_to_and_including_its_limit(value: float, limit: float) -> None:
    below, above = check(config(f"mae <= {limit!r}", f"mae >= {limit!r}"), {"mae": value})
    assert (below.passed, above.passed) == (value <= limit, value >= limit)


def test_a_failure_says_what_was_asked_and_what_was_found() -> None:
    assert failures(check(config("mae <= 2", "mae >= 1"), {"mae": 3.25})) == ["the gate mae <= 2 doesn't hold, held-out rows gave 3.25"]
