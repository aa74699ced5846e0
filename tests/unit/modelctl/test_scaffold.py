"""What `modelctl new` starts from: scenarios hold their gates, and the made transformer is the function that it says it is."""

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from models.config import ModelConfig
from tools.modelctl import lifecycle, parity, paths
from tools.modelctl.commands import training
from tools.modelctl.commands.training import Kind, new
from tools.modelctl.convert import convert
from tools.modelctl.data import split, tensors
from tools.modelctl.evaluate import score
from tools.modelctl.scaffold.transformer.train import Encoder, Sizes
from tools.modelctl.source import Source

SMALL = Sizes(layers=2, hidden=32, heads=4, inner=48, vocabulary=50, tokens=6, classes=3)


def answers(encoder: Encoder, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    label, probabilities = onnxruntime.InferenceSession(encoder.to_onnx("made").SerializeToString()).run(None, {"input": ids})
    return label, probabilities


@pytest.mark.parametrize("sizes", [SMALL, Sizes(layers=1, hidden=8, heads=1, inner=8, vocabulary=9, tokens=1, classes=2)])
def test_graph_and_numpy_are_the_same_function(sizes: Sizes) -> None:
    encoder, ids = Encoder(sizes), np.random.default_rng(1).integers(0, sizes.vocabulary, (40, sizes.tokens))
    label, probabilities = answers(encoder, ids)
    assert np.array_equal(label, encoder.predict(ids))
    np.testing.assert_allclose(probabilities, encoder.predict_proba(ids), atol=1e-6)
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_every_token_and_its_place_count() -> None:
    """Otherwise a difference in attention would go unseen."""
    encoder, ids = Encoder(SMALL), np.arange(6).reshape(1, 6)
    _, whole = answers(encoder, ids)
    for token in range(6):
        other = ids.copy()
        other[0, token] = 49
        assert np.abs(answers(encoder, other)[1] - whole).max() > 1e-3
    assert np.abs(answers(encoder, ids[:, [0, 2, 1, 3, 4, 5]])[1] - whole).max() > 1e-3


def test_the_same_sizes_give_the_same_bytes() -> None:
    first, second = (Encoder(SMALL).to_onnx("made").SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_it_is_as_large_as_bert_base() -> None:
    """109.5 million weights, less the 0.6 million of BERT's pooler, its segments and positions beyond 128."""
    sizes = Sizes()
    layer = 4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768
    embeddings = (30_522 + 128 + 2) * 768
    assert (sizes.layers, sizes.hidden, sizes.heads) == (12, 768, 12)
    small = Encoder(Sizes(layers=1, vocabulary=10))
    assert sum(values.size for values in small.weights.values()) == layer + (10 + 128 + 2) * 768 + 2 * 768 + 2
    assert 108e6 < 12 * layer + embeddings < 110e6


def test_a_new_transformer_trains_as_it_is_and_says_that_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    (tmp_path / "models").mkdir()
    new("made", kind=Kind.TRANSFORMER)
    train = tmp_path / "models" / "made" / "train.py"
    small = re.sub(r"(layers|heads): int = 12", r"\1: int = 2", train.read_text("utf-8"))
    train.write_text(re.sub(r"(hidden|inner|vocabulary): int = [\d_]+", r"\1: int = 16", small), "utf-8")
    config = ModelConfig.load(train.parent)
    built = lifecycle.build(config, models=tmp_path / "models", output=tmp_path / "build")
    assert built.passed
    assert [(spec.datatype, spec.shape) for spec in built.manifest.inputs] == [("INT64", (-1, 128))]
    assert "random weights" in built.manifest.description
    assert built.manifest.lineage is not None
    assert built.manifest.lineage.framework.startswith("random weights")
    assert onnx.load(built.model).opset_import[0].version == 18


@pytest.mark.parametrize("kind", [Kind.CREDIT, Kind.DEMAND, Kind.TRAFFIC])
def test_a_scenario_trains_as_it_is_and_holds_its_gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    """The three that train soonest; frameworks/test_scenarios.py has all of them."""
    folder = scenario(tmp_path, monkeypatch, kind)
    config = ModelConfig.load(folder)
    source = Source.of(folder)
    rows = split(config, *source.load())
    estimator = lifecycle.fit(source, rows.X, rows.y)
    model = tmp_path / "model.onnx"
    model.write_bytes(convert(config.name, config.task, estimator, rows.held_out_X).SerializeToString())
    answers = parity.run(model, tensors(rows.held_out_X))
    found = score(config.task, rows.held_out_X, rows.held_out_y, answers)
    assert config.gates
    assert all(gate.holds(found[gate.metric]) for gate in config.gates), found
    assert parity.compare(parity.original(config.task, estimator, rows.held_out_X), answers, config.parity).passed


def test_every_kind_is_a_folder_whose_model_toml_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in Kind:
        folder = scenario(tmp_path, monkeypatch, kind)
        assert ModelConfig.load(folder).gates or kind is Kind.TRANSFORMER
        assert sorted(file.name for file in folder.iterdir()) == ["model.toml", "train.py"]
    scaffold = Path(training.__file__).parents[1] / "scaffold"
    assert {file.parent.name for file in scaffold.glob("*/model.toml")} == set(Kind)


def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> Path:
    """What `modelctl new` makes of it."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    (tmp_path / "models").mkdir(exist_ok=True)
    new(kind.value, kind=kind)
    return tmp_path / "models" / kind
