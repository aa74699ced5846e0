"""Gates: what model.toml may say, and what it is held against when a version is made."""

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.config import LOWER_IS_BETTER, METRICS, METRICS_OF_A_CLASS, Gate, ModelConfig
from modelserve.manifest import GateResult
from tools.modelctl.errors import BuildFailed
from tools.modelctl.gates import check, failures, measured, relative

LIMITS = st.floats(-1e6, 1e6)
NAMES = st.text(min_size=1).filter(lambda text: text.strip() == text and "]" not in text[-1:])


@st.composite
def gates(draw: st.DrawFn) -> Gate:
    """Any that model.toml may have."""
    of = draw(st.none() | NAMES)
    metric = draw(st.sampled_from(METRICS_OF_A_CLASS if of is not None else [name for names in METRICS.values() for name in names]))
    moves = draw(st.booleans())
    operator = draw(st.sampled_from([">=", "<="])) if not moves else "<=" if metric in LOWER_IS_BETTER else ">="
    return Gate.model_validate({"metric": metric, "of": of, "operator": operator, "relative": moves, "limit": draw(LIMITS)})


@given(gates())
@example(Gate(metric="recall", of="a] >= 1", operator=">=", limit=0.5))
@example(Gate(metric="f1", of="not production", operator=">=", relative=True, limit=-0.005))
def test_a_gate_is_read_again_as_it_was_written(gate: Gate) -> None:
    """As the manifest keeps it: no digit is lost, and its parts are found without reading it."""
    assert Gate.parse(str(gate)) == gate
    assert measured(str(gate)) == gate.measured
    assert relative(str(gate)) == gate.relative


@given(st.text(alphabet="f1mae[]<>=production+-0.5 e"))
def test_any_text_is_a_gate_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        gate = Gate.parse(text)
        assert Gate.parse(str(gate)) == gate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f1 >= production", "f1 >= production"),
        ("f1>=production-0.005", "f1 >= production - 0.005"),
        ("mae <= production + 1.5", "mae <= production + 1.5"),
        (" recall[a b] >= .95 ", "recall[a b] >= 0.95"),
        ("r2 >= 0.123456789", "r2 >= 0.123456789"),
    ],
)
def test_spaces_and_zeros_are_free(text: str, expected: str) -> None:
    assert str(Gate.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("f1 > 0.9", "a gate such as"),
        ("f1[] >= 0.9", "a gate such as"),
        ("f1 >= staging", "a number after >="),
        ("f1 >= production - nan", "a number after >="),
        ("f1 >= production 0.1", "a number after >="),
        ("mae[apple] <= 4", "precision, recall, f1 of a class instead of mae"),
        ("f1 <= production + 0.1", "of f1 more is better"),
        ("mae >= production - 1", "of mae less is better"),
    ],
)
def test_what_is_no_gate_is_told_what_one_is(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        Gate.parse(text)


def test_a_class_that_is_no_label_is_refused() -> None:
    with pytest.raises(ValueError, match="a class of labels instead of 'pear': apple, lemon"):
        ModelConfig.model_validate({"name": "x", "task": "classification", "labels": ["apple", "lemon"], "gates": ["f1[pear] >= 0.5"]})


@pytest.mark.parametrize(
    ("gate", "value", "production", "holds"),
    [
        ("f1 >= production - 0.005", 0.95, 0.955, True),
        ("mae <= production + 0.1", 0.8, 0.7, True),  # though 0.7 + 0.1 is less than 0.8 in binary
        ("f1 >= production - 0.005", 0.9499, 0.955, False),
        ("f1 >= production + 0.01", 0.95, 0.95, False),
        ("mae <= production + 1.5", 11.5, 10.0, True),
        ("mae <= production + 1.5", 11.6, 10.0, False),
        ("mae <= production + 1.5", 1e9, None, True),
    ],
)
def test_a_gate_against_production_moves_with_it(gate: str, value: float, production: float | None, holds: bool) -> None:
    assert Gate.parse(gate).holds(value, production) == holds


def config(*gates: str, task: str = "regression") -> ModelConfig:
    return ModelConfig.model_validate({"name": "x", "task": task, "gates": list(gates)})


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_gate_holds_up_to_and_including_its_limit(value: float, limit: float) -> None:
    below, above = check(config(f"mae <= {limit!r}", f"mae >= {limit!r}"), {"mae": value})
    assert (below.passed, above.passed) == (value <= limit, value >= limit)


def test_a_gate_against_production_passes_until_there_is_one() -> None:
    assert check(config("mae <= production - 100"), {"mae": 3.0}) == (GateResult(gate="mae <= production - 100", value=3.0, passed=True),)


def test_a_failure_says_what_was_asked_and_what_was_found() -> None:
    assert failures(check(config("mae <= 2", "mae >= 1"), {"mae": 3.25})) == ["the gate mae <= 2 doesn't hold, held-out rows gave 3.25"]


@pytest.mark.parametrize(
    ("task", "gate", "found", "message"),
    [
        ("regression", "r2 >= 0.5", {"mae": 1.0}, "r2 is not defined for these held-out rows; that needs held-out rows whose y differ"),
        ("clustering", "silhouette >= 0.1", {}, "silhouette is not defined .* two clusters or more"),
        ("classification", "f1[b] >= 0.5", {"f1": 1.0, "f1[a]": 1.0}, r"f1\[b\] is not defined .* that is defined for f1\[a\]"),
        ("regression", "mae <= 5", {}, "mae is not defined .* that needs finite answers"),
    ],
)
def test_a_gate_on_what_is_not_defined_is_refused(task: str, gate: str, found: dict[str, float], message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        check(config(gate, task=task), found)


def test_gates_of_a_model_that_nothing_scores_are_refused() -> None:
    with pytest.raises(BuildFailed, match="has gates and no y to score it by; answer y in load"):
        check(config("mae <= 5"), {}, scored=False)
