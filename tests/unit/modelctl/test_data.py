"""Rows become held-out rows, tensors and an example request."""

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ModelConfig
from tools.modelctl.data import split, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.example import example


def config(task: str = "classification") -> ModelConfig:
    return ModelConfig.model_validate({"name": "x", "task": task})


@given(st.integers(20, 200), st.integers(2, 5))
def test_each_class_keeps_its_share_among_held_out_rows(rows: int, classes: int) -> None:
    y = np.arange(rows) % classes
    found = split(config(), np.arange(rows).reshape(-1, 1), y)
    shares = np.bincount(found.held_out_y, minlength=classes) / len(found.held_out_y)
    assert np.ptp(shares) <= 2 / len(found.held_out_y)


@given(st.integers(8, 200))
def test_no_row_is_both_trained_on_and_held_out(rows: int) -> None:
    found = split(config("regression"), np.arange(rows).reshape(-1, 1), np.arange(rows))
    assert sorted([*found.X.ravel(), *found.held_out_X.ravel()]) == list(range(rows))


def test_the_split_is_the_same_each_time() -> None:
    X, y = np.arange(40).reshape(-1, 1), np.arange(40) % 2
    assert np.array_equal(split(config(), X, y).held_out_X, split(config(), X, y).held_out_X)


def test_numbers_are_one_tensor() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, 1.5]})
    assert {name: (values.dtype.name, values.shape) for name, values in tensors(frame).items()} == {"input": ("float32", (2, 2))}


def test_mixed_columns_are_a_tensor_each() -> None:
    frame = pd.DataFrame({"age": [30, 40], "score": [0.5, 1.5], "city": ["Rome", "Oslo"], "owner": [True, False]})
    assert {name: (values.dtype.name, values.shape) for name, values in tensors(frame).items()} == {
        "age": ("int64", (2, 1)),
        "score": ("float32", (2, 1)),
        "city": ("object", (2, 1)),
        "owner": ("bool", (2, 1)),
    }


@pytest.mark.parametrize("column", [["a", None], ["a", 1], [pd.Timestamp(0), pd.Timestamp(1)]])
def test_a_column_that_no_tensor_can_hold_is_named(column: list[object]) -> None:
    frame = pd.DataFrame({"odd": pd.Series(column), "city": ["Rome", "Oslo"]})
    with pytest.raises(BuildFailed, match="column 'odd'"):
        tensors(frame)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_number_of_the_example_is_the_very_float32_of_its_row(value: float) -> None:
    (tensor,) = orjson.loads(example(tensors([[value]])))["inputs"]
    assert np.float32(tensor["data"][0]) == np.float32(value)


def test_a_number_of_the_example_is_as_short_as_it_can_be() -> None:
    assert b'"data":[0.1,17.99]' in example(tensors([[0.1, 17.99]]))
