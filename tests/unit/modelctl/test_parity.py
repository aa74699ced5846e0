"""How far the ONNX model is from the estimator it was made from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ParityConfig
from modelserve.manifest import Parity
from tools.modelctl.parity import MOST, compare, failures

NUMBERS = st.floats(-1e6, 1e6)


def difference(expected: list[float], found: list[float]) -> Parity:
    answers = [{"prediction": np.array(values).reshape(-1, 1)} for values in (expected, found)]
    return compare(answers[0], answers[1], ParityConfig())


@given(st.lists(NUMBERS, min_size=1, max_size=5))
def test_equal_answers_do_not_differ(values: list[float]) -> None:
    assert difference(values, values) == Parity(rows=len(values), disagreement=0.0, largest_difference=0.0, passed=True)


@given(NUMBERS, st.floats(1e-3, 1e3))
def test_a_difference_is_relative_to_the_larger_of_one_and_the_number(value: float, error: float) -> None:
    expected = error / max(1.0, abs(value))
    assert difference([value], [value + error]).largest_difference == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_missing_on_both_sides_is_equal() -> None:
    assert difference([np.nan], [np.nan]).passed


@pytest.mark.parametrize(("expected", "found"), [(np.nan, 1.0), (1.0, np.nan), (1.0, np.inf)])
def test_missing_on_one_side_is_the_largest_difference(expected: float, found: float) -> None:
    assert difference([expected], [found]).largest_difference == MOST


def test_another_shape_is_the_largest_difference() -> None:
    found = compare({"prediction": np.zeros((2, 1))}, {"prediction": np.zeros((2, 2))}, ParityConfig())
    assert found.largest_difference == MOST


@pytest.mark.parametrize(("allowed", "passed"), [(0.2, False), (0.25, True)])
def test_labels_may_differ_in_the_share_that_model_toml_allows(allowed: float, passed: bool) -> None:
    expected, found = np.array(["a", "b", "a", "b"]), np.array(["a", "b", "a", "a"], dtype=object)
    assert compare({"label": expected}, {"label": found}, ParityConfig(disagreement=allowed)) == Parity(
        rows=4, disagreement=0.25, largest_difference=0.0, passed=passed
    )


def test_a_failure_says_how_much_differs() -> None:
    (text,) = failures(Parity(rows=40, disagreement=0.1, largest_difference=0.5, passed=False))
    assert "10.00% of 40 labels" in text
    assert "0.5" in text
