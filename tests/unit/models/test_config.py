"""What a model.toml may say of gates is refused before anything is trained."""

from pathlib import Path

import pytest

from models.config import METRICS, ModelConfig, ModelConfigError


def load(root: Path, gate: str, task: str = "classification") -> ModelConfig:
    (root / "fruit").mkdir()
    (root / "fruit" / "model.toml").write_text(f'task = "{task}"\ngates = ["{gate}"]\n', "utf-8")
    return ModelConfig.load(root / "fruit")


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("f1 >= abc", 'a number after >= in "f1 >= abc"'),
        ("f1 >= nan", 'a number after >= in "f1 >= nan"'),
        ("f1 <= inf", 'a number after <= in "f1 <= inf"'),
        ("f1 = 1", 'a gate such as "f1 >= 0.9"'),
        ("auc >= 0.9", "a metric of classification instead of auc: accuracy, precision, recall, f1, precision_micro"),
        ("mae <= 3", "a metric of classification instead of mae: accuracy, precision, recall, f1, precision_micro"),
    ],
)
def test_a_gate_that_can_not_hold_is_refused_with_what_was_found_and_expected(tmp_path: Path, gate: str, expected: str) -> None:
    with pytest.raises(ModelConfigError) as caught:
        load(tmp_path, gate)
    ((key, found, hint),) = caught.value.problems
    assert (key, found) == ("gates", [gate])
    assert hint.startswith(expected)


@pytest.mark.parametrize(("task", "metric"), [(task, metric) for task, metrics in METRICS.items() for metric in metrics])
def test_every_metric_of_a_task_makes_a_gate(tmp_path: Path, task: str, metric: str) -> None:
    assert str(load(tmp_path, f"{metric} >= 0.5", task).gates[0]) == f"{metric} >= 0.5"


def test_a_wrong_task_is_told_alone(tmp_path: Path) -> None:
    with pytest.raises(ModelConfigError) as caught:
        load(tmp_path, "f1 >= 0.9", "ranking")
    assert [key for key, _, _ in caught.value.problems] == ["task"]
