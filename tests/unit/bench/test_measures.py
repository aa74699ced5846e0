"""What a bench says of its numbers."""

from typing import Any

import pytest

from tools.bench.measures import Result, added, quartiles, ratios

SAID: dict[str, Any] = {"name": "load", "group": "cold", "unit": "ms", "bar": 1.1, "comparison": "a ratio"}


def a_result(**changes: Any) -> Result:
    values = {**SAID, "ours": 120.0, "floor": 100.0, "compared": 1.2, "spread": (1.1, 1.3), "runs": 15}
    return Result(**{**values, **changes})


@pytest.mark.parametrize(("compared", "met"), [(1.09, True), (1.1, True), (1.11, False)])
def test_a_promise_is_kept_up_to_its_bar(compared: float, met: bool) -> None:
    result = a_result(compared=compared, goal=0.5)
    assert (result.met, result.to_dict()["met"]) == (met, met)


def test_what_has_no_bar_is_told_and_not_held() -> None:
    assert a_result(compared=99.0, bar=None).met


def test_a_ratio_is_of_each_pair_and_not_of_two_medians() -> None:
    """The machine may be slower in one minute than in another; the ratio within a pair does not see it."""
    result = ratios([(0.1, 0.11), (0.2, 0.24), (0.4, 0.44)], scale=1000, goal=0.9, **SAID)
    assert result.compared == pytest.approx(1.1)
    assert (result.ours, result.floor, result.goal) == (240.0, 200.0, 0.9)
    assert result.runs == 3


def test_what_is_added_is_in_the_results_unit() -> None:
    result = added([(1000, 2000), (1000, 4000), (9000, 12_000), (1000, 5000), (1000, 101_000)], scale=1e-3, **SAID)
    assert (result.ours, result.floor, result.compared) == (5.0, 1.0, 3.0)
    assert result.spread == (2.0, 52.0)  # of what is added: 1, 3, 3, 4 and 100


def test_one_value_is_its_own_quartiles() -> None:
    assert quartiles([1.5]) == (1.5, 1.5)
