"""What drift is measured from: how features and answers are distributed, and no row."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.linear_model import LinearRegression

from tools.modelctl import convert
from tools.modelctl.baseline import TOGETHER, _categories, _numbers, baseline
from tools.modelctl.data import Split, tensors

ROWS = 301  # so that quantiles fall on rows, not between them


def made(tmp_path: Path, X: Any) -> dict[str, Any]:
    """The baseline of a model of the numbers in `X`."""
    file = tmp_path / "model.onnx"
    inputs = tensors(X)
    estimator = LinearRegression().fit(inputs["input"], inputs["input"][:, 0] * 3)
    file.write_bytes(convert.convert("x", "regression", estimator, X).SerializeToString())
    first, second = (baseline(file, Split(X, None, X, None), inputs) for _ in range(2))
    assert first == second
    found: dict[str, Any] = orjson.loads(first)
    return found


def told(document: Any) -> set[float]:
    """Every number that is no count, anywhere in a document."""
    if isinstance(document, dict):
        return set().union(*(told(item) for key, item in document.items() if key not in {"counts", "count", "column", "rows", "schema"}))
    if isinstance(document, list):
        return set().union(*map(told, document))
    return {document} if isinstance(document, float) else set()


def test_no_value_of_a_row_is_in_it(tmp_path: Path) -> None:
    X = pd.DataFrame({"a": np.random.default_rng(0).normal(50, 9, ROWS), "b": np.random.default_rng(1).exponential(1e-4, ROWS)})
    found = made(tmp_path, X)
    rows = set(X.to_numpy().ravel().tolist()) | set(X.to_numpy(np.float32).astype(float).ravel().tolist())
    assert len(told(found)) > 40
    assert not told(found) & rows
    assert all(X[item["name"]].min() < min(item["histogram"]["edges"]) for item in found["features"])
    assert all(X[item["name"]].max() > max(item["histogram"]["edges"]) for item in found["features"])


def test_features_are_found_again_in_a_request(tmp_path: Path) -> None:
    found = made(tmp_path, pd.DataFrame({"a": np.arange(ROWS) * 1.0, "b": np.arange(ROWS) % 7}))
    assert found["rows"] == ROWS
    assert [(item["name"], item["kind"], item["input"], item["column"]) for item in found["features"]] == [
        ("a", "number", "input", 0),
        ("b", "number", "input", 1),
    ]
    assert sum(found["answers"]["prediction"]["histogram"]["counts"]) == ROWS


@given(arrays(np.float64, st.integers(0, 200), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_any_numbers_make_bins_of_enough_rows(values: np.ndarray) -> None:
    """Whatever they are: each is in one bin or missing, no bin stands for fewer than five, and JSON can hold all of it."""
    found = _numbers(values)
    counts, edges = found["histogram"]["counts"], found["histogram"]["edges"]
    assert sum(counts) + found["missing"] == len(values)
    assert len(counts) == len(edges) + 1
    assert edges == sorted(set(edges))
    assert len(counts) == 1 or min(counts) >= TOGETHER
    assert np.isfinite([*edges, *found["quantiles"].values()]).all()


def test_bins_hold_as_many_values_each_wherever_they_lie() -> None:
    found = _numbers(np.random.default_rng(0).lognormal(0, 2, 2_000))
    assert len(found["histogram"]["counts"]) == 20
    assert max(found["histogram"]["counts"]) < 2 * 100
    assert found["quantiles"]["0.5"] == pytest.approx(1, rel=0.2)


def test_rare_values_and_long_texts_are_counted_together() -> None:
    found = _categories(np.array(["often"] * 9 + ["five"] * 5 + ["four"] * 4 + ["x" * 65] * 6 + ["a name"]))
    assert found == {"categories": [{"value": "often", "count": 9}, {"value": "five", "count": 5}], "other": 11}


def test_no_more_than_fifty_values_are_told() -> None:
    found = _categories(np.repeat([f"value {i:02}" for i in range(60)], 5))
    assert (len(found["categories"]), found["other"]) == (50, 50)
