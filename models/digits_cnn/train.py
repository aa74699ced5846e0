"""A convolutional network on scikit-learn's images of handwritten digits, enlarged to 28x28.

With torch (`.venv/bin/uv sync --frozen --extra torch`) it is a convolution of 32 3x3 filters, a maximum over 2x2, and dense layers of
128 and 10. Without torch scikit-learn fits the two dense layers alone: less of a network, with the same input and the same answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import onnx
import sklearn
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

SEED = 0
HIDDEN = 128
FILTERS = 32
EPOCHS = 12
BATCH = 32
Array = NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A fitted network that writes its own ONNX graph: scikit-learn's converter takes no images, torch's needs a further package."""

    framework: str
    classes_: Array
    predict_proba: Callable[[Array], Array]
    """[n, 1, 28, 28] to [n, 10]."""
    weights: dict[str, Array]
    """A dense layer's as [inputs, outputs], the filters as [filters, 1, 3, 3], each with its bias."""

    def predict(self, X: Array) -> Array:
        found: Array = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def to_onnx(self, name: str) -> onnx.ModelProto:
        """The digits are their own places among the probabilities, so `label` is the place of the largest."""
        nodes = [
            helper.make_node("Conv", ["input", "filters", "filters_bias"], ["convolved"]),
            helper.make_node("Relu", ["convolved"], ["features"]),
            helper.make_node("MaxPool", ["features"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "hidden", "hidden_bias"], ["dense"]),
            helper.make_node("Relu", ["dense"], ["rectified"]),
            helper.make_node("Gemm", ["rectified", "last", "last_bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        if "filters" not in self.weights:
            nodes[:4] = [helper.make_node("Flatten", ["input"], ["flat"])]
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 1, 28, 28])
        label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
        probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(self.classes_)])
        stored = [numpy_helper.from_array(values.astype(np.float32), weight) for weight, values in self.weights.items()]
        graph = helper.make_graph(nodes, name, [image], [label, probabilities], stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def load() -> tuple[Array, Array]:
    """Images [n, 1, 28, 28]: each of the 8x8 pixels becomes 3x3, in a margin of 2; the digit."""
    pixels, digits = load_digits(return_X_y=True)
    large = np.kron(pixels.reshape(-1, 8, 8) / 16, np.ones((1, 3, 3)))
    return np.pad(large, ((0, 0), (2, 2), (2, 2)))[:, np.newaxis].astype(np.float32), digits


def train(X: Array, y: Array) -> Network:
    """Convolutional where torch is there, dense otherwise."""
    return _convolutional(X, y) if find_spec("torch") else _dense(X, y)


def _dense(X: Array, y: Array) -> Network:
    fitted = MLPClassifier(hidden_layer_sizes=(HIDDEN,), learning_rate_init=0.003, tol=1e-3, max_iter=400, random_state=SEED)
    fitted.fit(X.reshape(len(X), -1), y)
    (hidden, last), (hidden_bias, last_bias) = fitted.coefs_, fitted.intercepts_
    return Network(
        framework=f"scikit-learn {sklearn.__version__}",
        classes_=fitted.classes_,
        predict_proba=lambda images: fitted.predict_proba(images.reshape(len(images), -1)),
        weights={"hidden": hidden, "hidden_bias": hidden_bias, "last": last, "last_bias": last_bias},
    )


def _convolutional(X: Array, y: Array) -> Network:
    torch: Any = import_module("torch")  # an extra, and seconds to import
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    convolution, hidden, last = torch.nn.Conv2d(1, FILTERS, 3), torch.nn.Linear(FILTERS * 13 * 13, HIDDEN), torch.nn.Linear(HIDDEN, 10)
    network = torch.nn.Sequential(
        *(convolution, torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()),
        *(hidden, torch.nn.ReLU(), last),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    images, digits = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(images[rows]), digits[rows]).backward()
            optimizer.step()

    def probabilities(images: Array) -> Array:
        with torch.no_grad():
            answer: Array = torch.softmax(network(torch.from_numpy(images)), dim=1).numpy()
        return answer

    weights: dict[str, Array] = {}
    for name, layer in {"filters": convolution, "hidden": hidden, "last": last}.items():
        weight = layer.weight.detach().numpy()
        weights |= {name: weight.T if weight.ndim == 2 else weight, f"{name}_bias": layer.bias.detach().numpy()}
    return Network(framework=f"torch {torch.__version__}", classes_=np.unique(y), predict_proba=probabilities, weights=weights)
