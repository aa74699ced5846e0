"""Networks of PyTorch become versions that answer as they do, from train() and from their files."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models.config import ModelConfig
from tests.unit.modelctl.factories import model_folder
from tools.modelctl import convert, lifecycle
from tools.modelctl.built import Built
from tools.modelctl.data import split
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, adapt, torch_nets
from tools.modelctl.source import Source

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
pytest.importorskip("onnxscript", reason="the extra torch is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of PyTorch's own insides
CLASSIFIER, REGRESSOR, CUSTOM = (f'task = "{task}"\n' for task in ("classification", "regression", "custom"))
START = """
import numpy as np
import torch
from torch import nn

def fitted(net, X, y, loss, steps=30):
    torch.manual_seed(0)
    for layer in net.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        optimizer.step()
    return net

random = np.random.default_rng(0)
"""
MLP = """
def load():
    X = random.normal(size=(200, 4)).astype(np.float32)
    return X, np.array(["ash", "elm", "oak"])[np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])]

def train(X, y):
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    return fitted(net, X, np.unique(y, return_inverse=True)[1], nn.functional.cross_entropy)
"""
CNN = """
def load():
    X = random.normal(size=(120, 3, 8, 8)).astype(np.float32)
    return X, (X.mean(axis=(1, 2, 3)) > 0).astype(np.int64) * 5

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 1), nn.Sigmoid())

    def forward(self, images):
        return self.layers(images).squeeze(-1)

def train(X, y):
    return fitted(Net(), X, (y > 0).astype(np.float32), nn.functional.binary_cross_entropy)
"""
LSTM = """
def load():
    X = random.normal(size=(120, 6, 3)).astype(np.float32)
    return X, X.sum(axis=(1, 2)).astype(np.float64)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.last = nn.LSTM(3, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, steps):
        return self.last(self.cells(steps)[0][:, -1])

def train(X, y):
    return fitted(Net(), X, y.astype(np.float32)[:, None], nn.functional.mse_loss)
"""
TRANSFORMER = """
def load():
    X = random.integers(0, 20, size=(120, 7))
    return X, (X.sum(axis=1) > 66).astype(int)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.last = nn.Embedding(20, 16), nn.Linear(16, 2)
        self.layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)

    def forward(self, tokens):
        return self.last(self.layer(self.words(tokens)).mean(dim=1))

def train(X, y):
    return fitted(Net(), X, y, nn.functional.cross_entropy)
"""
PAIR = """
def load():
    return {"image": random.normal(size=(60, 1, 4, 4)).astype(np.float32), "age": random.integers(0, 90, size=(60, 1))}, None

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(16, 3)

    def forward(self, image, age):
        scores = self.dense(image.flatten(1)) + age
        return {"scores": scores, "best": scores.argmax(dim=1)}

def train(X, y):
    torch.manual_seed(0)
    return Net()
"""
DOUBLE = LSTM.replace("return fitted(Net(), X, y.astype(np.float32)[:, None], nn.functional.mse_loss)", "return Net().double()").replace(
    "def train(X, y):\n", "def train(X, y):\n    torch.manual_seed(0)\n"
)


def folder(root: Path, train: str, toml: str) -> Path:
    return model_folder(root / "models", "net", toml=toml, train=START + train)


def build(root: Path, train: str, toml: str) -> Built:
    return lifecycle.build(ModelConfig.load(folder(root, train, toml)), models=root / "models", output=root / "build")


def context(at: Path, *, module: str = "") -> tuple[Context, Any]:
    """And what train() answers."""
    config, source = ModelConfig.load(at), Source.of(at)
    rows = split(config, *source.load())
    return Context(config=config, rows=rows, folder=at, module=module), lifecycle.fit(source, rows.X, rows.y)


@pytest.mark.parametrize(
    ("train", "toml", "inputs", "outputs"),
    [
        (MLP, CLASSIFIER, {"input": ("FP32", (-1, 4))}, {"label": ("BYTES", (-1,)), "probabilities": ("FP32", (-1, 3))}),
        (CNN, CLASSIFIER, {"input": ("FP32", (-1, 3, 8, 8))}, {"label": ("INT64", (-1,)), "probabilities": ("FP32", (-1, 2))}),
        (LSTM, REGRESSOR, {"input": ("FP32", (-1, 6, 3))}, {"prediction": ("FP32", (-1, 1))}),
        (DOUBLE, REGRESSOR, {"input": ("FP32", (-1, 6, 3))}, {"prediction": ("FP32", (-1, 1))}),
        (TRANSFORMER, CLASSIFIER, {"input": ("INT64", (-1, 7))}, {"label": ("INT64", (-1,)), "probabilities": ("FP32", (-1, 2))}),
        (
            PAIR,
            CUSTOM,
            {"image": ("FP32", (-1, 1, 4, 4)), "age": ("INT64", (-1, 1))},
            {"scores": ("FP32", (-1, 3)), "best": ("INT64", (-1,))},
        ),
    ],
    ids=["mlp", "cnn", "lstm", "double", "transformer", "pair"],
)
def test_what_is_built_answers_as_the_network_does(tmp_path: Path, train: str, toml: str, inputs: Any, outputs: Any) -> None:
    manifest = (built := build(tmp_path, train, toml)).manifest
    assert built.failures == ()
    assert {spec.name: (spec.datatype, spec.shape) for spec in manifest.inputs} == inputs
    assert {spec.name: (spec.datatype, spec.shape) for spec in manifest.outputs} == outputs
    assert manifest.parity is not None
    assert (manifest.parity.disagreement, manifest.row_wise, manifest.opset[""]) == (0, True, 18)
    assert manifest.parity.largest_difference < 1e-5
    assert manifest.lineage is not None
    assert manifest.lineage.framework.startswith("torch 2.")
    if manifest.labels:
        assert manifest.labels == {"BYTES": ("ash", "elm", "oak"), "INT64": ("0", "5" if train is CNN else "1")}[outputs["label"][0]]


def test_two_exports_are_the_same_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """And nothing of it is told at the terminal."""
    at, trained = context(folder(tmp_path, MLP, CLASSIFIER))
    net = adapt(trained, at)
    first, second = (net.to_onnx("net").SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert str(tmp_path).encode() not in first
    assert b"stack_trace" not in first
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["script", "program", "weights", "checkpoint"])
def test_its_files_answer_as_the_network_that_was_saved(tmp_path: Path, kind: str) -> None:
    at = folder(tmp_path, CNN, CLASSIFIER)
    found, net = context(at, module="train.py:Net")
    file, rows = at / "net.pt", torch.from_numpy(found.rows.held_out_X[:4])
    expected = adapt(net, found).answers(found.rows.held_out_X)
    if kind == "script":
        torch.jit.trace(net, rows).save(file)
    elif kind == "program":
        torch.export.save(
            torch.export.export(net, (rows,), dynamic_shapes=({0: torch.export.Dim("rows")},)), file := file.with_suffix(".pt2")
        )
    else:
        weights = net.state_dict()
        torch.save({"model_state_dict": weights, "epoch": 3} if kind == "checkpoint" else weights, file)
    again = adapt(torch_nets.load(file, found), found)
    answers = again.answers(found.rows.held_out_X)
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=1e-6)
    model = convert.convert("net", "classification", again, found.rows.held_out_X)
    label, probabilities = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": found.rows.held_out_X})
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-5)
    assert np.array_equal(label, expected["label"])


@pytest.mark.parametrize(("train", "opens"), [(MLP, True), (CNN, False)], ids=["mlp", "cnn"])
def test_a_program_of_a_fixed_number_of_rows_is_opened_where_its_operators_allow(tmp_path: Path, train: str, opens: bool) -> None:
    found, net = context(folder(tmp_path, train, CLASSIFIER))
    program = torch.export.export(net.eval(), (torch.from_numpy(found.rows.held_out_X[:8]),))
    again, expected = adapt(program, found), adapt(net, found).answers(found.rows.held_out_X)
    answers = again.answers(found.rows.held_out_X)
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], atol=1e-6)
    if opens:
        assert [spec.shape for spec in convert.signature(again.to_onnx("net"))[0]] == [(-1, 4)]
    else:
        with pytest.raises(BuildFailed, match="net takes 8 rows at a time and fails with others; export it with a dynamic first dimension"):
            again.to_onnx("net")


def saved(file: Path, kind: str) -> Path:
    net = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Linear(2, 2))
    match kind:
        case "pickled":
            torch.save(net, file)
        case "text":
            file.write_text("not a network")
        case "cut":
            torch.save(net.state_dict(), file)
            file.write_bytes(file.read_bytes()[:500])
        case "tensor":
            torch.save(torch.zeros(3), file)
        case _:
            torch.save(net.state_dict(), file)
    return file


@pytest.mark.parametrize(
    ("kind", "module", "message"),
    [
        ("pickled", "train.py:Net", r"holds Python objects, which run code as they are opened.*state_dict\(\)"),
        ("text", "train.py:Net", r"net.pt .*(no file of PyTorch|holds Python objects)"),
        ("cut", "train.py:Net", "net.pt is no file of PyTorch that can be opened"),
        ("tensor", "train.py:Net", r"holds a Tensor; expected a state_dict\(\)"),
        ("weights", "", "weights without their network; give its class as --module FILE.py:Class"),
        ("weights", "train.py:Net", r"not those of train.py:Net: Missing key\(s\).*layers.0.weight.*Unexpected key\(s\).*0.weight"),
        ("weights", "train.py:Other", "train.py has no Other"),
        ("weights", "net.py:Net", "there is no 'net.py:Net' in"),
        ("weights", "train.py:START", "can't be used|TypeError|has no START"),
        ("weights", "train.py:dict", "has no dict|made a dict; expected a torch.nn.Module"),
    ],
)
def test_a_file_that_is_no_network_is_told(tmp_path: Path, kind: str, module: str, message: str) -> None:
    at = folder(tmp_path, CNN, CLASSIFIER)
    found = Context(config=ModelConfig.load(at), rows=split(ModelConfig.load(at), *Source.of(at).load()), folder=at, module=module)
    with pytest.raises(BuildFailed, match=message):
        torch_nets.load(saved(at / "net.pt", kind), found)


FORWARD = """
def load():
    return random.normal(size=(40, 4)).astype(np.float32), random.normal(size=40)

class Net(nn.Module):
    def forward(self, x):
        FORWARD

def train(X, y):
    return Net()
"""


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        ("return torch.linalg.svd(x.unsqueeze(-1) * x.unsqueeze(1))[1]", "ONNX has nothing for the operator .*svd"),
        ("return x.sum(dim=1) if x.sum() > 0 else x.mean(dim=1)", "branches on the rows' values.*torch.where"),
        ("return x.reshape(len(x) * 2, 2)[: int(x.shape[0])] if x.shape[0] == 4 else x[:, :2]", "fixes the number of rows"),
        ("return x + torch.rand_like(x)", "answers the same rows otherwise each time"),
        ("return [x, [x]]", "something else than tensors"),
        ("return x, x", "regression needs one tensor of numbers"),
        ("return x.unsqueeze(1).expand(-1, 3, 4)", r"regression needs one tensor \[rows, values\]"),
        ("return nn.functional.linear(x, torch.zeros(2, 5))", r"can't answer the rows input \[-1, 4\] of float32: RuntimeError"),
    ],
    ids=["operator", "branch", "rows", "random", "nested", "several", "rank", "shape"],
)
def test_a_network_that_can_not_be_served_is_told_with_the_way_out(tmp_path: Path, forward: str, message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        build(tmp_path, FORWARD.replace("FORWARD", forward), REGRESSOR)


def test_tensors_come_in_the_order_of_forward(tmp_path: Path) -> None:
    with pytest.raises(
        BuildFailed, match=r"X has the tensors image, age; let load\(\) answer them in the order of forward\(\): age, image"
    ):
        build(tmp_path, PAIR.replace("self, image, age", "self, age, image"), CUSTOM)
