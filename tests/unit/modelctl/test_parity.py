"""How far the ONNX model is from the estimator it was made from."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import ParityConfig
from modelserve.manifest import Parity
from tests.unit.modelserve.graphs import endless_for
from tools.modelctl import parity
from tools.modelctl.errors import BuildFailed
from tools.modelctl.evaluate.features import Feature
from tools.modelctl.evaluate.importance import importance
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


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A graph that never ends for five rows, and only for five."""
    (tmp_path / "step").mkdir()
    (tmp_path / "step" / "model.onnx").write_bytes(endless_for(5))
    return tmp_path / "step" / "model.onnx"


def asked(rows: int) -> parity.Answers:
    return {"x": np.ones((rows, 2), np.float32)}


def test_a_graph_that_never_ends_for_so_many_rows_is_refused(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_SECONDS", 0.1)
    assert parity.run(endless, asked(4))["y"].shape == (4, 2)
    with pytest.raises(BuildFailed, match=r"^step did not answer 5 rows at once within 0\.1 s; .* a Loop, or hold out fewer rows"):
        parity.run(endless, asked(5))
    features = [Feature(name, "number", "x", column, np.ones(5)) for column, name in enumerate("ab")]
    with pytest.raises(BuildFailed, match="step did not answer 5 rows"):
        importance(endless, "f1", features, asked(9), lambda *_: 0.0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whoever starts the tests in the background may have SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_graph_that_does_not(endless: Path) -> None:
    main = threading.main_thread().ident
    assert main is not None
    interrupt = threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        parity.run(endless, asked(5))
    interrupt.join()
