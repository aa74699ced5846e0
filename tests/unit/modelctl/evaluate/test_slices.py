"""Groups of rows that are scored apart."""

from typing import Any

import numpy as np
import pytest

from tools.modelctl.evaluate.features import features
from tools.modelctl.evaluate.slices import slices


def groups(values: Any) -> dict[str, int]:
    """Rows of each slice of one column of numbers."""
    found = slices(["input"], features(values, {"input": values}), lambda _: {})
    return {each["value"]: each["rows"] for each in found}


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (1000 + np.linspace(0, 1, 101), ("1000.25", "1000.5", "1000.75")),
        (np.repeat(np.arange(1975, 2025), 2), ("1987", "2000", "2012")),
        (1e7 + np.arange(100), ("10000025", "10000050", "10000074")),
        (np.linspace(-0.001, 0.003, 101), ("0", "0.001", "0.002")),
        (np.r_[np.arange(99) / 100, 1e9], ("0.25", "0.49", "0.74")),
    ],
    ids=["far from zero", "years", "millions", "around zero", "with one far off"],
)
def test_quartiles_stay_four_groups_wherever_the_numbers_lie(values: np.ndarray, bounds: tuple[str, str, str]) -> None:
    found = groups(values.astype(np.float64))
    low, middle, high = bounds
    assert list(found) == [f"< {low}", f"{low} to {middle}", f"{middle} to {high}", f">= {high}"]
    assert all(24 <= rows <= 27 for rows in found.values())


@pytest.mark.parametrize("values", [np.r_[np.full(30, -1.7e308), np.arange(5), np.full(65, 1.7e308)], np.linspace(0, 5e-323, 100)])
def test_numbers_at_the_end_of_what_a_float_holds_are_grouped_too(values: np.ndarray) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        assert sum(groups(values).values()) == 100
