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


def loading(root: Path, section: str) -> ModelConfig:
    (root / "fruit").mkdir()
    (root / "fruit" / "model.toml").write_text(f'task = "custom"\n[loading]\n{section}\n', "utf-8")
    return ModelConfig.load(root / "fruit")


@pytest.mark.parametrize(
    ("section", "key", "expected"),
    [
        ('format = "onx"', "loading.format", "'auto', 'onnx', 'optimized', 'external' or 'ort'"),
        ('cpu = "avx2"', "loading.cpu", "'any' or 'native'"),
        ('cpu = "native"\nformat = "onnx"', "loading", 'another format than "onnx" with cpu = "native"'),
        ('prepack = "no"', "loading.prepack", "a valid boolean"),
        ("zstd = true", "loading.zstd", "no such key"),
    ],
)
def test_a_way_of_loading_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, section: str, key: str, expected: str) -> None:
    with pytest.raises(ModelConfigError) as caught:
        loading(tmp_path, section)
    ((found, _, hint),) = caught.value.problems
    assert found == key
    assert expected in hint


@pytest.mark.parametrize(
    ("section", "asked", "insists"),
    [
        ("", None, False),
        ('format = "auto"\ncpu = "any"', None, False),
        ('cpu = "native"', "cpu = native", False),
        ('format = "ort"\nprepack = false', "format = ort, prepack = false", True),
    ],
)
def test_what_is_asked_of_loading_is_told_in_its_own_words(tmp_path: Path, section: str, asked: str | None, insists: bool) -> None:
    found = loading(tmp_path, section).loading
    assert (found.asked, found.insists) == (asked, insists)
