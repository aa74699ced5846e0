"""What train() may answer, and what is said of anything else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.config import ModelConfig
from tests.unit.modelctl.factories import model_folder
from tests.unit.modelserve.graphs import scaled
from tools.modelctl import lifecycle
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed, TrainFailed
from tools.modelctl.frameworks import Context, ModelFile, adapt, extra

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
CONTEXT = Context(config=ModelConfig(name="some", task="custom"), rows=Split({"x": X}, None, {"x": X}, None), folder=Path("models/some"))
TRAIN = """
import numpy as np
import onnx
from onnx import TensorProto, helper

class Doubled:
    framework = "made 1"
    classes_ = ()

    def answers(self, X):
        return {"prediction": 2 * X.astype(np.float32)}

    def to_onnx(self, name):
        value = lambda tensor: helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None, 1])
        node = helper.make_node("Add", ["input", "input"], ["prediction"])
        graph = helper.make_graph([node], name, [value("input")], [value("prediction")])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

def load():
    X = np.linspace(0, 1, 40).reshape(-1, 1)
    return X, 2 * X.ravel()

def train(X, y):
    return ANSWER
"""


def built(root: Path, answer: str) -> Any:
    folder = model_folder(root / "models", toml='task = "regression"\n', train=TRAIN.replace("ANSWER", answer))
    return lifecycle.build(ModelConfig.load(folder), models=root / "models", output=root / "build")


def test_what_answers_rows_and_writes_its_graph_is_a_model(tmp_path: Path) -> None:
    found = built(tmp_path, "Doubled()")
    assert found.passed
    assert found.manifest.lineage.framework == "made 1"
    assert found.manifest.metrics["r2"] > 0.999


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ("{'model': 1}", BuildFailed, "answered a dict; expected a fitted estimator, a model of PyTorch"),
        ("None", TrainFailed, "did it forget `return`"),
        ("__import__('pathlib').Path('model.joblib')", BuildFailed, "models/.*/model.joblib is not there"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, answer: str, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        built(tmp_path, answer)


def test_an_estimator_stays_as_it_is() -> None:
    estimator = LogisticRegression()
    assert adapt(estimator, CONTEXT) is estimator


def test_a_class_of_ones_own_is_known_by_what_it_is_derived_from(monkeypatch: pytest.MonkeyPatch) -> None:
    base = type("Module", (), {"__module__": "torch.nn.modules.module"})
    own = type("Net", (base,), {"__module__": "models.some.train"})
    seen: list[Any] = []
    monkeypatch.setattr("tools.modelctl.frameworks.torch_nets.adapt", lambda trained, _: seen.append(trained))
    trained = own()
    adapt(trained, CONTEXT)
    assert seen == [trained]


def test_a_graph_is_adapted_where_it_is_and_a_file_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import onnx

    assert np.array_equal(adapt(onnx.load_from_string(scaled(2)), CONTEXT).answers({"x": X})["y"], 2 * X)
    (tmp_path / "model.onnx").write_bytes(scaled(2))
    asked: list[Any] = []
    monkeypatch.setattr("tools.modelctl.frameworks.child.adapted", lambda *request: asked.extend(request))
    adapt(ModelFile(tmp_path / "model.onnx", module="net.py:Net"), CONTEXT)
    file, adapter, context = asked
    assert (file.path, adapter, context.module) == (tmp_path / "model.onnx", "onnx_files", "net.py:Net")


def test_a_missing_extra_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package.partition(".")[0])

    monkeypatch.setattr("tools.modelctl.frameworks.import_module", missing)
    with pytest.raises(BuildFailed, match=r"needs PyTorch, which is not installed; run: .*uv sync --frozen --inexact --extra torch"):
        extra("torch", "torch")
    with pytest.raises(BuildFailed, match="needs MLflow, which"):
        extra("mlflow", "mlflow.artifacts")


def test_an_extra_that_is_broken_is_not_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(package: str) -> None:
        raise ModuleNotFoundError("No module named 'sympy'", name="sympy")

    monkeypatch.setattr("tools.modelctl.frameworks.import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="sympy"):
        extra("torch", "torch")
