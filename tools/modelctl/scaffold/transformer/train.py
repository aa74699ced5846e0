"""A made model for load tests: a transformer encoder the size of BERT base, whose weights are random and seeded.

It costs what a real one costs, and its answers mean nothing. Every row has as many tokens as the next, so there is no mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.special import erf

SEED = 0
ROWS = 16
Array = NDArray[Any]


@dataclass(frozen=True)
class Sizes:
    """Those of BERT base: 109 million weights, 436 MB."""

    layers: int = 12
    hidden: int = 768
    heads: int = 12
    inner: int = 3072
    vocabulary: int = 30_522
    tokens: int = 128
    classes: int = 2


def load() -> tuple[Array, Array]:
    """Random token ids INT64 [rows, 128], and classes that have nothing to do with them."""
    sizes = Sizes()
    return np.random.default_rng(SEED).integers(0, sizes.vocabulary, (ROWS, sizes.tokens)), np.arange(ROWS) % sizes.classes


def train(X: Array, y: Array) -> Encoder:  # noqa: ARG001  # every train has the same two parameters
    """Nothing is learnt."""
    return Encoder(Sizes())


class Encoder:
    """Token ids [n, tokens] to probabilities [n, classes]; norms follow attention and dense layers, as in BERT."""

    framework = f"random weights, numpy {np.__version__}"

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.classes_ = np.arange(sizes.classes)
        self.weights = _weights(sizes)

    def predict(self, X: Array) -> Array:
        found: Array = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return found

    def predict_proba(self, X: Array) -> Array:
        """In numpy, apart from the graph: what parity compares the graph with."""
        states = self._norm("embedding", self.weights["tokens"][X] + self.weights["positions"])
        for layer in range(self.sizes.layers):
            states = self._norm(f"{layer}.attended", states + self._attention(layer, states))
            inner = self._dense(f"{layer}.inner", states)
            gelu = inner * (1 + erf(inner / np.float32(sqrt(2)))) / 2
            states = self._norm(f"{layer}.answered", states + self._dense(f"{layer}.outer", gelu))
        return _softmax(self._dense("classifier", states[:, 0]))

    def to_onnx(self, name: str) -> onnx.ModelProto:
        """The same function as a graph of opset 18, one node an operation, as exporters write it."""
        graph = _Graph(self.weights)
        states = graph.norm("embedding", graph.add("Add", graph.add("Gather", "tokens", "input"), "positions"))
        for layer in range(self.sizes.layers):
            states = graph.norm(f"{layer}.attended", graph.add("Add", states, self._attention_nodes(graph, layer, states)))
            gelu = graph.gelu(graph.dense(f"{layer}.inner", states))
            states = graph.norm(f"{layer}.answered", graph.add("Add", states, graph.dense(f"{layer}.outer", gelu)))
        first = graph.add("Gather", states, graph.constant("first", np.int64(0)), axis=1)
        logits = graph.dense("classifier", first)
        graph.add("Softmax", logits, to="probabilities")
        graph.add("ArgMax", "probabilities", to="label", axis=1, keepdims=0)
        return graph.model(name, self.sizes)

    def _attention(self, layer: int, states: Array) -> Array:
        rows, tokens, hidden = states.shape
        parts = (self._dense(f"{layer}.{part}", states) for part in ("query", "key", "value"))
        query, key, value = (part.reshape(rows, tokens, self.sizes.heads, -1).transpose(0, 2, 1, 3) for part in parts)
        weights = _softmax(query @ key.transpose(0, 1, 3, 2) / np.float32(sqrt(hidden / self.sizes.heads)))
        return self._dense(f"{layer}.attention", (weights @ value).transpose(0, 2, 1, 3).reshape(rows, tokens, hidden))

    def _attention_nodes(self, graph: _Graph, layer: int, states: str) -> str:
        size = self.sizes.hidden // self.sizes.heads
        split = graph.constant("split", np.array([0, 0, self.sizes.heads, size]))
        parts = [graph.add("Reshape", graph.dense(f"{layer}.{part}", states), split) for part in ("query", "key", "value")]
        query, value = (graph.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (parts[0], parts[2]))
        products = graph.add("MatMul", query, graph.add("Transpose", parts[1], perm=[0, 2, 3, 1]))
        weights = graph.add("Softmax", graph.add("Div", products, graph.constant("root", np.float32(sqrt(size)))))
        mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])
        joined = graph.add("Reshape", mixed, graph.constant("join", np.array([0, 0, self.sizes.hidden])))
        return graph.dense(f"{layer}.attention", joined)

    def _dense(self, name: str, states: Array) -> Array:
        answer: Array = states @ self.weights[name] + self.weights[f"{name}.bias"]
        return answer

    def _norm(self, name: str, states: Array) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        answer: Array = centred / deviation * self.weights[f"{name}.scale"] + self.weights[f"{name}.bias"]
        return answer


class _Graph:
    """Nodes in the order in which they are added, named by their number."""

    def __init__(self, weights: dict[str, Array]) -> None:
        self._weights = dict(weights)
        self._nodes: list[onnx.NodeProto] = []

    def add(self, operator: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        """The name of its output."""
        output = to or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        self._weights[name] = np.asarray(value)
        return name

    def dense(self, name: str, states: str) -> str:
        return self.add("Add", self.add("MatMul", states, name), f"{name}.bias")

    def norm(self, name: str, states: str) -> str:
        return self.add("LayerNormalization", states, f"{name}.scale", f"{name}.bias", epsilon=1e-5)

    def gelu(self, states: str) -> str:
        """Opset 18 has none of its own; ONNX Runtime knows it by these five nodes."""
        numbers = {"one": 1, "half": 0.5, "root of two": sqrt(2)}
        one, half, root = (self.constant(name, np.float32(value)) for name, value in numbers.items())
        tail = self.add("Add", self.add("Erf", self.add("Div", states, root)), one)
        return self.add("Mul", self.add("Mul", states, tail), half)

    def model(self, name: str, sizes: Sizes) -> onnx.ModelProto:
        ids = helper.make_tensor_value_info("input", TensorProto.INT64, [None, sizes.tokens])
        label = helper.make_tensor_value_info("label", TensorProto.INT64, [None])
        probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, sizes.classes])
        stored = [numpy_helper.from_array(values, weight) for weight, values in self._weights.items()]
        graph = helper.make_graph(self._nodes, name, [ids], [label, probabilities], stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _weights(sizes: Sizes) -> dict[str, Array]:
    """Matrices whose products are as large as what they multiply, so that attention looks somewhere and rows differ."""
    random = np.random.default_rng(SEED)

    def normal(scale: float, *shape: int) -> Array:
        return random.standard_normal(shape, np.float32) * np.float32(scale)

    weights = {"tokens": normal(1, sizes.vocabulary, sizes.hidden), "positions": normal(1, sizes.tokens, sizes.hidden)}
    for name, (inputs, outputs) in _matrices(sizes).items():
        weights |= {name: normal(1 / sqrt(inputs), inputs, outputs), f"{name}.bias": normal(0.1, outputs)}
    for name in ("embedding", *(f"{layer}.{place}" for layer in range(sizes.layers) for place in ("attended", "answered"))):
        weights |= {f"{name}.scale": 1 + normal(0.1, sizes.hidden), f"{name}.bias": normal(0.1, sizes.hidden)}
    return weights


def _matrices(sizes: Sizes) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of each, by name."""
    square, found = (sizes.hidden, sizes.hidden), {"classifier": (sizes.hidden, sizes.classes)}
    for layer in range(sizes.layers):
        found |= {f"{layer}.{part}": square for part in ("query", "key", "value", "attention")}
        found |= {f"{layer}.inner": (sizes.hidden, sizes.inner), f"{layer}.outer": (sizes.inner, sizes.hidden)}
    return found


def _softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    answer: Array = powers / powers.sum(axis=-1, keepdims=True)
    return answer
