"""Every model of the repository trains, meets its gates and converts to what it was."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import orjson
import pytest

from models.config import MODELS, ModelConfig
from modelserve.session import BACKENDS, open_session
from modelserve.tensors import Tensor, encode_bytes
from tools.modelctl import convert, lifecycle
from tools.modelctl.data import split, tensors
from tools.modelctl.source import Source

pytestmark = pytest.mark.xdist_group("models")
CONFIGS = ModelConfig.load_all()
DTYPES = {"FP32": np.float32, "BYTES": object}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder: nothing that was built earlier can make a test pass."""
    return tmp_path_factory.mktemp("build")


def test_there_is_a_model_of_every_kind() -> None:
    assert {config.task for config in CONFIGS} == {"classification", "regression", "clustering"}
    assert len(CONFIGS) >= 7


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_a_model_meets_its_gates_and_is_what_was_trained(config: ModelConfig, output: Path) -> None:
    built = lifecycle.build(config, output=output)
    assert not built.cached
    assert built.manifest.gates
    assert built.failures == ()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_the_example_of_a_model_is_answered_for_one_row(config: ModelConfig, output: Path) -> None:
    built = lifecycle.build(config, output=output)
    request = orjson.loads(built.example.read_bytes())
    inputs = {item["name"]: np.array(item["data"], DTYPES[item["datatype"]]).reshape(item["shape"]) for item in request["inputs"]}
    session = onnxruntime.InferenceSession(built.model)
    answers = dict(zip((spec.name for spec in built.manifest.outputs), session.run(None, inputs), strict=True))
    assert {name: len(values) for name, values in answers.items()} == dict.fromkeys(answers, 1)
    assert all(np.isfinite(values).all() for values in answers.values() if values.dtype.kind == "f")


def sent(array: np.ndarray, name: str) -> Tensor:
    """Rows as a request brings them."""
    if array.dtype.kind in "OU":
        return Tensor(name, "BYTES", array.shape, encode_bytes([str(element).encode() for element in array.flat]))
    return Tensor(name, "FP64" if array.dtype == np.float64 else "FP32", array.shape, array.tobytes())


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_both_session_backends_answer_held_out_rows_with_the_same_bits(config: ModelConfig, output: Path) -> None:
    model = lifecycle.build(config, output=output).model
    X, y = Source.of(MODELS / config.name).load()
    columns = tensors(split(config, X, y).held_out_X, convert.datatype(onnx.load(model)))
    answers = []
    for backend in BACKENDS:
        session = open_session(str(model), name=config.name, threads=1, backend=backend)
        for rows in (1, 1, 1, 7, 64):  # one shape again and again, whose runs may share memory
            given = [sent(column[-rows:], name) for name, column in columns.items()]
            found = session.run(given, [spec.name for spec in session.outputs], seconds=60)
            answers.append([(tensor.name, tensor.datatype, tuple(tensor.shape), bytes(memoryview(tensor.data))) for tensor in found])
    assert answers[:5] == answers[5:]
    assert answers[0][0][2][0] == 1


@pytest.mark.parametrize("config", [config for config in CONFIGS if config.task == "classification"], ids=lambda config: config.name)
def test_a_classifier_has_a_label_for_each_probability(config: ModelConfig, output: Path) -> None:
    manifest = lifecycle.build(config, output=output).manifest
    probabilities = next(spec for spec in manifest.outputs if spec.name == "probabilities")
    assert probabilities.shape == (-1, len(config.labels))


def build_elsewhere(names: tuple[str, ...], folder: Path, hash_seed: int) -> list[bytes]:
    """The models that a process of its own builds, where sets of strings are in the order that `hash_seed` gives."""
    code = """
import sys
from pathlib import Path
from models.config import MODELS, ModelConfig
from tools.modelctl import lifecycle
for name in sys.argv[2:]:
    lifecycle.build(ModelConfig.load(MODELS / name), output=Path(sys.argv[1]))
"""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(MODELS.parent)}
    subprocess.run([sys.executable, "-c", code, str(folder), *names], check=True, env=environment)
    return [(folder / name / "model.onnx").read_bytes() for name in names]


@pytest.mark.parametrize(
    "names", [("fruit", "income"), pytest.param(("diabetes", "digits", "digits_cnn", "fraud"), marks=pytest.mark.slow)], ids="+".join
)
def test_another_process_trains_the_same_bytes(tmp_path: Path, names: tuple[str, ...]) -> None:
    """Seeds 0 and 4 give a set of the operator domains another order, which skl2onnx writes."""
    first, second = (build_elsewhere(names, tmp_path / str(seed), seed) for seed in (0, 4))
    assert first == second


def test_the_house_prices_rule_is_found_again() -> None:
    """The data are made from known prices, so the fit must come back to them: 3,200 a m², 11,000 a room, -1,500 a year."""
    source = Source.of(MODELS / "house_price")
    rows = split(ModelConfig.load(MODELS / "house_price"), *source.load())
    assert source.train(rows.X, rows.y).coef_ == pytest.approx([3_200, 11_000, -1_500], rel=0.25)


def test_an_unknown_word_in_a_text_column_is_answered(output: Path) -> None:
    built = lifecycle.build(ModelConfig.load(MODELS / "income"), output=output)
    numbers = {name: np.array([[40.0]], np.float32) for name in ("age", "hours", "education_years")}
    words = {name: np.array([["never seen"]], object) for name in ("occupation", "sector")}
    label, probabilities = onnxruntime.InferenceSession(built.model).run(None, {**numbers, **words})
    assert label[0] in built.manifest.labels
    assert probabilities.sum() == pytest.approx(1)
