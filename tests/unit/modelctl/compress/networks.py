"""Small networks with seeded weights, and a folder of models/ that answers one."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.config import GpuConfig, ModelConfig
from tests.unit.modelctl.compress.subjects import numbers
from tools.modelctl.compress.subject import Subject
from tools.modelctl.data import Split

TOML = """
task = "classification"
gates = ["accuracy >= 0.9"]
"""
TRAIN = """
import numpy as np
from tests.unit.modelctl.compress.networks import dense, numbers
from tools.modelctl.compress.probing import answers

class Network:
    framework = "numpy"
    classes_ = np.arange(4)

    def to_onnx(self, name):
        return dense((8, 128, 4))

    def predict(self, X):
        return answers(dense((8, 128, 4)), {"input": np.asarray(X, np.float32)})["label"]

    def predict_proba(self, X):
        return answers(dense((8, 128, 4)), {"input": np.asarray(X, np.float32)})["probabilities"]

def load():
    X = numbers(400, 8)
    return X, Network().predict(X)

def train(X, y):
    return Network()
"""
"""A model that is always right, as its y is what it answers."""


def dense(sizes: Sequence[int] = (8, 128, 4), *, operator: str = "Gemm", rows: int | None = None, opset: int = 18) -> onnx.ModelProto:
    """Layers of these sizes: `Gemm`, `Gemm` with the weights transposed (`transposed`), or `MatMul` and `Add`; without names for nodes."""
    random = np.random.default_rng(1)
    nodes, weights, before = [], [], "input"
    for place, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight, bias, last = f"weight{place}", f"bias{place}", place == len(sizes) - 2
        values = random.normal(size=(inputs, outputs)).astype(np.float32)
        weights.append(numpy_helper.from_array(values.T.copy() if operator == "transposed" else values, weight))
        shape = (1, outputs) if operator == "MatMul" else (outputs,)
        weights.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), bias))
        after = "logits" if last else f"layer{place}"
        if operator == "MatMul":
            nodes += [helper.make_node("MatMul", [before, weight], [f"{after}_"]), helper.make_node("Add", [f"{after}_", bias], [after])]
        else:
            nodes.append(helper.make_node("Gemm", [before, weight, bias], [after], transB=int(operator == "transposed")))
        before = after
        if not last:
            nodes.append(helper.make_node("Relu", [after], [before := f"{after}_rectified"]))
    return _classifier([*nodes, *_answers()], weights, [rows, sizes[0]], sizes[-1], opset)


def convolutional() -> onnx.ModelProto:
    """From [rows, 8, 6, 6] by 16 filters of 8x3x3 and batch normalization to 4 classes."""
    random = np.random.default_rng(2)
    shapes = {"filters": (16, 8, 3, 3), "last": (64, 4), **dict.fromkeys(("scale", "shift", "mean"), (16,))}
    values = {name: random.normal(size=shape) / 4 for name, shape in shapes.items()} | {"variance": np.full(16, 0.5)}
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    nodes = [
        helper.make_node("Conv", ["input", "filters"], ["convolved"]),
        helper.make_node("BatchNormalization", ["convolved", "scale", "shift", "mean", "variance"], ["normal"]),
        helper.make_node("Relu", ["normal"], ["features"]),
        helper.make_node("MaxPool", ["features"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "last"], ["logits"]),
    ]
    return _classifier([*nodes, *_answers()], weights, [None, 8, 6, 6], 4, 18)


def subject(model: onnx.ModelProto, X: np.ndarray | None = None, *, gpu: GpuConfig | None = None) -> Subject:
    """Held-out rows are no rows: a method that looked at them would fail."""
    config = ModelConfig(name="small", task="classification", target="gpu" if gpu else "lambda", gpu=gpu or GpuConfig())
    return Subject(config=config, model=model, rows=Split(rows_of(model) if X is None else X, None, None, None))


def rows_of(model: onnx.ModelProto, count: int = 100, *, seed: int = 3) -> np.ndarray:
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return numbers(count, int(np.prod(shape)), seed=seed).reshape(count, *shape)


def _answers() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]


def _classifier(
    nodes: list[onnx.NodeProto], weights: list[TensorProto], shape: list[int | None], classes: int, opset: int
) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    label = helper.make_tensor_value_info("label", TensorProto.INT64, shape[:1])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [shape[0], classes])
    graph = helper.make_graph(nodes, "small", [given], [label, probabilities], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
