"""Neurons and filters that go: found through whatever lies between two layers, and made up for by those that stay."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from tests.unit.modelctl.compress.subjects import numbers, subject
from tools.modelctl import convert, evaluate
from tools.modelctl.compress import chains
from tools.modelctl.compress.elimination import eliminate, gram, refitted
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.pruning import measured, prune, without
from tools.modelctl.compress.subject import Inapplicable

RANDOM = np.random.default_rng(8)
ROWS = 64


@pytest.fixture(autouse=True)
def _same_weights_in_any_order() -> None:
    """Of tests, of which each draws some; a worker may run only some of them."""
    RANDOM.bit_generator.state = np.random.default_rng(8).bit_generator.state


class Net:
    """A graph, node by node; weights of [channels, ...] have every other channel be the double of the one before."""

    def __init__(self, *shape: int) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.shape = shape
        self.last = "input"

    def add(self, operator: str, *constants: np.ndarray, inputs: tuple[str, ...] = (), **attributes: Any) -> "Net":
        names = [self.constant(values) for values in constants]
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [*(inputs or [self.last]), *names], [output], **attributes))
        self.last = output
        return self

    def constant(self, values: np.ndarray) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def model(self, *more: str) -> ModelProto:
        """Answers the last tensor, and `more`."""
        rows = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", *self.shape])
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (self.last, *more)]
        made = helper.make_graph(self.nodes, "net", [rows], outputs, self.constants)
        return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def doubled(*shape: int, axis: int = 0) -> np.ndarray:
    """Random weights of which each second channel is twice the first: a rectifier keeps it so, and it can be made up for."""
    values = RANDOM.normal(size=shape).astype(np.float32)
    moved = np.moveaxis(values, axis, 0)
    moved[1::2] = 2 * moved[::2]
    return values


def weights(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape).astype(np.float32)


def dense() -> ModelProto:
    return Net(5).add("Gemm", doubled(5, 6, axis=1), doubled(6)).add("Relu").add("Gemm", weights(6, 3), weights(3)).model()


def dense_transposed() -> ModelProto:
    return Net(5).add("Gemm", doubled(6, 5), doubled(6), transB=1).add("Relu").add("Gemm", weights(3, 6), transB=1).model()


def of_scikit_learn() -> ModelProto:
    net = Net(5).add("MatMul", doubled(5, 6, axis=1)).add("Add", doubled(1, 6, axis=1)).add("Relu")
    return net.add("MatMul", weights(6, 3)).add("Add", weights(1, 3)).model()


def over_words() -> ModelProto:
    """A layer for each place of a sequence, [rows, places, channels]."""
    return Net(4, 5).add("MatMul", doubled(5, 6, axis=1)).add("Relu").add("MatMul", weights(6, 3)).model()


def gated() -> ModelProto:
    """x * sigmoid(0 * x): two branches that meet again."""
    net = Net(5).add("MatMul", doubled(5, 6, axis=1))
    net.add("Mul", np.zeros(1, np.float32)).add("Sigmoid").add("Mul", inputs=("t0", "t2"))
    return net.add("MatMul", weights(6, 3)).model()


def convolutions() -> ModelProto:
    net = Net(2, 8, 8).add("Conv", doubled(6, 2, 3, 3), doubled(6)).add("Relu").add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    return net.add("Conv", weights(4, 6, 2, 2), weights(4), pads=[1, 1, 1, 1]).model()


def convolutions_normalized() -> ModelProto:
    scale, shift, mean, variance = doubled(6), doubled(6), np.zeros(6, np.float32), np.ones(6, np.float32)
    scale[1::2] = scale[::2]
    net = Net(2, 8, 8).add("Conv", doubled(6, 2, 3, 3)).add("BatchNormalization", scale, shift, mean, variance).add("Relu")
    return net.add("GlobalAveragePool").add("Flatten").add("Gemm", weights(6, 3), weights(3)).model()


def of_torch() -> ModelProto:
    net = Net(1, 6, 6).add("Conv", doubled(4, 1, 3, 3), doubled(4)).add("Relu").add("Reshape", np.array([-1, 64]))
    return net.add("Gemm", weights(3, 64), weights(3), transB=1).model()


def of_keras() -> ModelProto:
    """Channels last, and a bias of its own node."""
    net = Net(1, 6, 6).add("Conv", doubled(4, 1, 3, 3)).add("Add", doubled(1, 4, 1, 1, axis=1)).add("Relu")
    net.add("Transpose", perm=[0, 2, 3, 1]).add("Reshape", np.array([-1, 64]))
    return net.add("MatMul", weights(64, 3)).add("Add", weights(3)).model()


def averaged_channels_last() -> ModelProto:
    net = Net(1, 6, 6).add("Conv", doubled(4, 1, 2, 2)).add("Relu").add("Transpose", perm=[0, 2, 3, 1])
    return net.add("ReduceMean", np.array([1, 2]), keepdims=0).add("MatMul", weights(4, 3)).model()


FOLLOWED = [
    *(dense, dense_transposed, of_scikit_learn, over_words, gated, convolutions, convolutions_normalized, of_torch, of_keras),
    averaged_channels_last,
]


@pytest.mark.parametrize("made", FOLLOWED)
def test_channels_that_others_determine_go_and_nothing_else_changes(made: Callable[[], ModelProto]) -> None:
    model = chains.inlined(made())
    rows = {"input": numbers(ROWS, int(np.prod(shape(model)))).reshape(ROWS, *shape(model))}
    (layer,) = measured(model, rows)
    kept = layer.eliminated.within(1e-5)
    smaller = without(model, [layer], (kept,))
    assert kept.sum() == len(kept) // 2
    assert smaller.ByteSize() < model.ByteSize()
    name = model.graph.output[0].name
    fresh = {"input": numbers(ROWS, rows["input"][0].size, seed=1).reshape(rows["input"].shape)}
    expected = answers(model, fresh)[name]
    np.testing.assert_allclose(answers(smaller, fresh)[name], expected, atol=2e-3 * np.abs(expected).max())


def shape(model: ModelProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim[1:])


def test_a_neuron_that_is_always_the_same_becomes_part_of_the_bias() -> None:
    first, bias = weights(5, 4), np.array([0, 0, 0, 3], np.float32)
    first[:, 3] = 0
    model = Net(5).add("Gemm", first, bias).add("Relu").add("Gemm", weights(4, 3), weights(3)).model()
    rows = {"input": numbers(ROWS, 5)}
    (layer,) = measured(model, rows)
    kept = layer.eliminated.within(1e-5)
    assert kept.tolist() == [True, True, True, False]
    found = answers(without(model, [layer], (kept,)), rows)["t2"]
    np.testing.assert_allclose(found, answers(model, rows)["t2"], atol=1e-3)


@pytest.mark.parametrize(("pads", "taken"), [([0, 0, 0, 0], True), ([1, 1, 1, 1], False)])
def test_a_padded_convolution_takes_no_constant_which_its_border_would_not_have(pads: list[int], taken: bool) -> None:
    model = Net(1, 6, 6).add("Conv", weights(4, 1, 2, 2), weights(4)).add("Conv", weights(2, 4, 2, 2), weights(2), pads=pads).model()
    (layer,) = measured(model, {"input": numbers(8, 36).reshape(8, 1, 6, 6)})
    assert (layer.chain.reader.bias is not None) is taken


def residual() -> ModelProto:
    return Net(6).add("MatMul", weights(6, 6)).add("Add", inputs=("t0", "input")).add("MatMul", weights(6, 3)).model()


def two_readers() -> ModelProto:
    net = Net(5).add("MatMul", weights(5, 6)).add("MatMul", weights(6, 3), inputs=("t0",))
    return net.add("MatMul", weights(6, 3), inputs=("t0",)).model("t1")


def answered_itself() -> ModelProto:
    return Net(5).add("MatMul", weights(5, 6)).add("MatMul", weights(6, 3)).model("t0")


def shared_weights() -> ModelProto:
    net = Net(6).add("MatMul", weights(6, 6)).add("Relu")
    return net.add("MatMul", inputs=("t1", "c0")).model()


def grouped() -> ModelProto:
    return Net(2, 8, 8).add("Conv", weights(4, 2, 3, 3)).add("Conv", weights(4, 2, 3, 3), group=2).model()


def normalized_over_channels() -> ModelProto:
    return Net(5).add("MatMul", weights(5, 6)).add("Softmax").add("MatMul", weights(6, 3)).model()


def split_into_heads() -> ModelProto:
    net = Net(5).add("MatMul", weights(5, 6)).add("Reshape", np.array([-1, 2, 3]))
    return net.add("MatMul", weights(3, 3)).model()


def reduced_over_channels() -> ModelProto:
    """[rows, 4, 4, 4] over the channels: by its sizes a mean over places."""
    net = Net(1, 5, 5).add("Conv", weights(4, 1, 2, 2)).add("ReduceMean", np.array([1]), keepdims=1)
    return net.add("Conv", weights(2, 1, 2, 2)).model()


LEFT_ALONE = [
    *(residual, two_readers, answered_itself, shared_weights, grouped, normalized_over_channels, split_into_heads, reduced_over_channels),
]


@pytest.mark.parametrize("made", LEFT_ALONE)
def test_what_cannot_be_followed_is_left_alone(made: Callable[[], ModelProto]) -> None:
    model = made()
    with pytest.raises(Inapplicable, match="tree-prune"):
        measured(model, {"input": numbers(4, int(np.prod(shape(model)))).reshape(4, *shape(model))})


def test_constants_of_nodes_are_weights_too() -> None:
    model = dense()
    inside = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in model.graph.initializer]
    nodes = [*inside, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    assert len(measured(chains.inlined(model), {"input": numbers(ROWS, 5)})) == 1


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_cost_of_channels_is_what_least_squares_leaves(seed: int, constant: bool) -> None:
    """Of Hassibi and Stork's saliency, added up over the channels that go."""
    random = np.random.default_rng(seed)
    activations, into = random.normal(1, 1, (40, 5)).astype(np.float32), random.normal(size=(5, 3))
    found = eliminate(gram(activations, constant=constant), into)
    answer = activations @ into
    columns = np.hstack([activations, np.ones((40, 1))]) if constant else activations
    for gone in range(5):
        stays = [column for column in range(columns.shape[1]) if column not in found.order[: gone + 1]]
        left = answer - columns[:, stays] @ np.linalg.lstsq(columns[:, stays], answer)[0]
        assert found.cost[gone] == pytest.approx(np.sum(left**2) / np.sum(answer**2), rel=1e-3, abs=1e-4)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_the_first_to_go_costs_least(seed: int) -> None:
    random = np.random.default_rng(seed)
    activations, into = random.normal(size=(40, 4)).astype(np.float32), random.normal(size=(4, 2))
    found = eliminate(gram(activations, constant=False), into)
    left = []
    for gone in range(4):
        others = np.delete(activations, gone, axis=1)
        left.append(np.sum((activations @ into - others @ np.linalg.lstsq(others, activations @ into)[0]) ** 2))
    assert left[found.order[0]] == pytest.approx(min(left), rel=1e-3)


def test_what_stays_stands_in_for_the_rest() -> None:
    activations = numbers(30, 4)
    activations[:, 3] = activations[:, 0] - 2 * activations[:, 1]
    found = refitted(gram(activations, constant=False), np.array([True, True, True, False]))
    np.testing.assert_allclose(found, [[1, 0, 0, 1], [0, 1, 0, -2], [0, 0, 1, 0]], atol=1e-4)


@given(st.floats(0, 2))
def test_one_channel_always_stays(share: float) -> None:
    assert eliminate(np.eye(3), np.ones((3, 1))).within(share).sum() >= 1


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, MLPClassifier]:
    X, y = load_digits(return_X_y=True)
    X = (X[:900] / 16).astype(np.float32)
    network = MLPClassifier((32, 32), learning_rate_init=0.01, tol=1e-2, n_iter_no_change=3, random_state=0)
    return X, y[:900], network.fit(X[:600], y[:600])


def test_a_network_gets_smaller_within_the_limit(digits: tuple[np.ndarray, np.ndarray, MLPClassifier]) -> None:
    X, y, network = digits
    whole = subject("classification", network, X[:600], y[:600], max_drop=0.02)
    before = whole.model.SerializeToString()
    small = prune(whole)
    assert small.ByteSize() < 0.8 * whole.model.ByteSize()
    assert convert.signature(small) == convert.signature(whole.model)
    found = [evaluate.score("classification", None, y[600:], answers(graph, {"input": X[600:]})) for graph in (whole.model, small)]
    assert found[0]["accuracy"] - found[1]["accuracy"] <= 0.02
    assert whole.model.SerializeToString() == before
    assert prune(whole).SerializeToString() == small.SerializeToString()


def test_a_network_that_cannot_spare_a_neuron_says_so() -> None:
    X = numbers(80, 2)
    y = (X[:, 0] * X[:, 1] > 0).astype(np.int64)
    model = Net(2).add("Gemm", np.array([[1, -1, 1, -1], [1, -1, -1, 1]], np.float32)).add("Relu")
    model = model.add("Gemm", np.array([[-1, 1], [-1, 1], [1, -1], [1, -1]], np.float32)).add("Softmax").model()
    model.graph.node.append(helper.make_node("ArgMax", ["t3"], ["label"], axis=1, keepdims=0))
    model.graph.node.append(helper.make_node("Identity", ["t3"], ["probabilities"]))
    y = answers_of(model, X)
    with pytest.raises(Inapplicable, match="max_drop"):
        prune(subject("classification", classifier(model), X, y, max_drop=0.0))


def classifier(model: ModelProto) -> ModelProto:
    del model.graph.output[:]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"])
    model.graph.output.extend([label, helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2])])
    return model


def answers_of(model: ModelProto, X: np.ndarray) -> np.ndarray:
    return answers(classifier(model), {"input": X})["label"]


def test_trees_have_no_neurons() -> None:
    X = numbers(40, 3)
    y = (X[:, 0] > 0).astype(int)
    with pytest.raises(Inapplicable, match="tree-prune"):
        prune(subject("classification", DecisionTreeClassifier().fit(X, y), X, y))
