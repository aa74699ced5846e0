"""Every scenario of docs/scenarios.md: it trains as `modelctl new` writes it, converts, and holds its gates."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from models.config import MODELS, ModelConfig
from tools.modelctl import lifecycle
from tools.modelctl.commands import training
from tools.modelctl.commands.training import Kind
from tools.modelctl.scaffold.federated import train as federated

# Too long for the default suite, and for no framework of its own: it runs where those do.
pytest.importorskip("torch", reason="the extra torch is not installed")
# Torch looks for a GPU, and says so where the machine's driver is of no use.
pytestmark = pytest.mark.filterwarnings("ignore:CUDA initialization", "ignore:Can't initialize NVML")

SCAFFOLD = Path(training.__file__).parents[1] / "scaffold"
KINDS = [SCAFFOLD / kind for kind in Kind if kind is not Kind.TRANSFORMER]
SAMPLES = [MODELS / name for name in ("fraud", "tumour", "digits_cnn")]


@pytest.mark.parametrize("folder", [*KINDS, *SAMPLES], ids=lambda folder: folder.name)
def test_a_scenario_holds_its_gates(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "models" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    config = ModelConfig.load(tmp_path / "models" / folder.name)
    built = lifecycle.build(config, models=tmp_path / "models", output=tmp_path / "build")
    assert built.passed, built.failures
    assert built.manifest.gates


def test_the_same_scenario_gives_the_same_bytes(tmp_path: Path) -> None:
    """Seeds are set wherever chance comes in."""
    for kind in KINDS:
        shutil.copytree(kind, tmp_path / "models" / kind.name, ignore=shutil.ignore_patterns("__pycache__"))
        config = ModelConfig.load(tmp_path / "models" / kind.name)
        first, second = (
            lifecycle.build(config, models=tmp_path / "models", output=tmp_path / place, fresh=True).model.read_bytes() for place in "ab"
        )
        assert first == second, kind.name


def test_the_sites_together_beat_each_of_them_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As docs/scenarios.md shows it: the same number of passes over the rows, and only weights travel."""
    monkeypatch.setattr(federated, "SENT", tmp_path)
    federated.main()
    accuracies = [float(line.rpartition(" ")[2]) for line in capsys.readouterr().out.splitlines()]
    assert len(accuracies) == 4
    assert accuracies[3] > max(accuracies[:3]) + 0.01
    assert sorted(file.name for file in tmp_path.iterdir()) == ["middle.onnx", "north.onnx", "south.onnx"]
