"""Federated learning: three sites train the same network on images of their own, and only its weights travel, as ONNX models.

Each site has few or none of some digits, as a clinic sees few of some illnesses. The images are scikit-learn's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from tools.modelctl.federated import average

SEED = 0
HIDDEN, ROUNDS, EPOCHS = 32, 8, 4
SHARES = {"north": [8, 8, 8, 8, 1, 1, 1, 1, 1, 1], "middle": [1, 1, 1, 1, 6, 6, 6, 1, 1, 1], "south": [1, 1, 1, 1, 1, 1, 1, 4, 4, 4]}
"""Of each digit's images that a site has, relative to the other sites."""
SHAPES = {"hidden": (64, HIDDEN), "hidden_bias": (HIDDEN,), "last": (HIDDEN, 10), "last_bias": (10,)}
SENT = Path(__file__).parents[2] / "build" / "federated"
Weights = dict[str, np.ndarray]


class Network:
    """A dense layer of 32 and one of 10; its ONNX model holds weights by name, so that those of several can be averaged."""

    framework = "federated averaging of scikit-learn networks"
    classes_ = np.arange(10)

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(self.predict_proba(X).argmax(axis=1))

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        hidden = np.maximum(X / 16 @ self.weights["hidden"] + self.weights["hidden_bias"], 0)
        powers = np.exp(hidden @ self.weights["last"] + self.weights["last_bias"])
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def to_onnx(self, name: str) -> onnx.ModelProto:
        nodes = [
            helper.make_node("Div", ["input", "white"], ["pixels"]),
            helper.make_node("Gemm", ["pixels", "hidden", "hidden_bias"], ["dense"]),
            helper.make_node("Relu", ["dense"], ["rectified"]),
            helper.make_node("Gemm", ["rectified", "last", "last_bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        stored = {**self.weights, "white": np.array(16.0)}
        tensors = [numpy_helper.from_array(values.astype(np.float32), weight) for weight, values in stored.items()]
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 64])
        label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
        probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 10])
        graph = helper.make_graph(nodes, name, [image], [label, probabilities], tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def load() -> tuple[np.ndarray, np.ndarray]:
    """8x8 pixels of handwritten digits; the digit."""
    X, y = load_digits(return_X_y=True)
    return X, y


def train(X: np.ndarray, y: np.ndarray) -> Network:
    """Every round each site goes on from the common weights, and the coordinator averages what it is sent, by rows."""
    common = Network(start())
    rows = list(sites(X, y).values())
    for _ in range(ROUNDS):
        models = [local(common, *own).to_onnx("site") for own in rows]
        common = Network(read(average(models, [len(digits) for _, digits in rows])))
    return common


def sites(X: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each row is at one site."""
    shares = np.array(list(SHARES.values()), dtype=float)
    draws = np.random.default_rng(SEED).random(len(y))
    owner = (draws[:, np.newaxis] > np.cumsum(shares / shares.sum(axis=0), axis=0).T[y]).sum(axis=1)
    return {name: (X[owner == place], y[owner == place]) for place, name in enumerate(SHARES)}


def local(common: Network, X: np.ndarray, y: np.ndarray, *, epochs: int = EPOCHS) -> Network:
    """What a site does by itself, on rows that stay there."""
    fitted: Any = MLPClassifier(hidden_layer_sizes=(HIDDEN,), learning_rate_init=0.005, batch_size=16, random_state=SEED)
    fitted.partial_fit(X[:16] / 16, y[:16], classes=np.arange(10))  # makes the layers, whose weights are replaced
    fitted.coefs_ = [common.weights["hidden"].copy(), common.weights["last"].copy()]
    fitted.intercepts_ = [common.weights["hidden_bias"].copy(), common.weights["last_bias"].copy()]
    for _ in range(epochs):
        fitted.partial_fit(X / 16, y)
    (hidden, last), (hidden_bias, last_bias) = fitted.coefs_, fitted.intercepts_
    return Network({"hidden": hidden, "hidden_bias": hidden_bias, "last": last, "last_bias": last_bias})


def start() -> Weights:
    """All sites begin with the same: averages of networks that began apart mean nothing."""
    random = np.random.default_rng(SEED)
    return {name: random.normal(0, 0.2, shape) if len(shape) == 2 else np.zeros(shape) for name, shape in SHAPES.items()}


def read(model: onnx.ModelProto) -> Weights:
    """The weights by name, as they came over the wire."""
    return {tensor.name: numpy_helper.to_array(tensor).astype(float) for tensor in model.graph.initializer if tensor.name in SHAPES}


def main() -> None:
    """Each site alone against all together, on images that none has seen; and in `SENT` what each would send in a first round."""
    SENT.mkdir(parents=True, exist_ok=True)
    X, held_out_X, y, held_out_y = train_test_split(*load(), stratify=load()[1], random_state=SEED)
    for name, rows in sites(X, y).items():
        alone = local(Network(start()), *rows, epochs=ROUNDS * EPOCHS)
        print(f"{name} alone, {len(rows[1])} rows: accuracy {np.mean(alone.predict(held_out_X) == held_out_y):.3f}")
        (SENT / f"{name}.onnx").write_bytes(local(Network(start()), *rows).to_onnx(name).SerializeToString())
    print(f"together, {len(y)} rows: accuracy {np.mean(train(X, y).predict(held_out_X) == held_out_y):.3f}")


if __name__ == "__main__":
    main()
