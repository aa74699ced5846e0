"""Weights as halves."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from models.config import GpuConfig
from tests.unit.modelctl.compress import subjects
from tests.unit.modelctl.compress.networks import convolutional, dense, rows_of, subject
from tools.modelctl import convert
from tools.modelctl.compress.precision import fp16
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.subject import Inapplicable


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """With its large weights as exact as halves are."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for tensor in found.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.size >= 512:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16).astype(np.float32), tensor.name))
    return found


@pytest.mark.parametrize("graph", [dense(), dense(operator="MatMul"), convolutional()], ids=["gemm", "matmul", "convolution"])
def test_a_function_computes_as_before_with_weights_of_half_the_bytes(graph: onnx.ModelProto) -> None:
    parent = graph.SerializeToString(deterministic=True)
    found = fp16(subject(graph))
    onnx.checker.check_model(found, full_check=True)
    halves = [tensor for tensor in found.graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    assert halves
    assert {node.op_type for node in found.graph.node if node.input[0] in {tensor.name for tensor in halves}} == {"Cast"}
    rows = {"input": rows_of(graph, 50)}
    if not any(node.op_type == "BatchNormalization" for node in graph.graph.node):  # which is folded before weights are rounded
        np.testing.assert_array_equal(answers(found, rows)["probabilities"], answers(rounded(graph), rows)["probabilities"])
    np.testing.assert_allclose(answers(found, rows)["probabilities"], answers(graph, rows)["probabilities"], atol=5e-3)
    assert graph.SerializeToString(deterministic=True) == parent
    assert fp16(subject(graph)).SerializeToString(deterministic=True) == found.SerializeToString(deterministic=True)


def test_a_gpu_computes_in_halves_and_is_asked_as_before() -> None:
    graph = dense()
    found = fp16(subject(graph, gpu=GpuConfig()))
    onnx.checker.check_model(found, full_check=True)
    assert {tensor.data_type for tensor in found.graph.initializer} == {TensorProto.FLOAT16}
    assert (found.graph.input, found.graph.output) == (graph.graph.input, graph.graph.output)
    rows = {"input": rows_of(graph, 50)}
    np.testing.assert_allclose(answers(found, rows)["probabilities"], answers(graph, rows)["probabilities"], atol=0.02)


def test_operators_that_take_no_halves_keep_floats_on_a_gpu_too() -> None:
    """skl2onnx ends a classifier in operators of ai.onnx.ml."""
    X = subjects.numbers(60, 16)
    model = convert.convert(
        "small", "classification", MLPClassifier((64,), max_iter=60, tol=1, n_iter_no_change=1, random_state=0).fit(X, X[:, 0] > 0), X
    )
    found = fp16(subject(model, X, gpu=GpuConfig()))
    np.testing.assert_allclose(answers(found, {"input": X})["probabilities"], answers(model, {"input": X})["probabilities"], atol=5e-3)


@pytest.mark.parametrize("value", [1e5, np.inf, np.nan])
def test_weights_that_no_half_can_hold_stay_floats(value: float) -> None:
    graph = dense((8, 128, 4))
    weight = numpy_helper.to_array(graph.graph.initializer[0]).copy()
    weight[0, 0] = value
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight0"))
    kinds = {tensor.name: tensor.data_type for tensor in fp16(subject(graph)).graph.initializer}
    assert kinds["weight0"] == TensorProto.FLOAT
    assert TensorProto.FLOAT16 in kinds.values()


def test_a_weight_that_a_caller_may_give_stays() -> None:
    graph = dense((64, 16))
    graph.graph.input.append(helper.make_tensor_value_info("weight0", TensorProto.FLOAT, [64, 16]))
    with pytest.raises(Inapplicable):
        fp16(subject(graph))


def test_a_name_that_is_taken_is_not_taken_again() -> None:
    graph = dense()
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = ["weight0_fp16" if name == "layer0" else name for name in names]
    onnx.checker.check_model(fp16(subject(graph)), full_check=True)


def test_trees_are_sent_to_tree_prune() -> None:
    X = subjects.numbers(60, 2)
    with pytest.raises(Inapplicable, match="use tree-prune"):
        fp16(subjects.subject("classification", DecisionTreeClassifier().fit(X, X[:, 0] > 0), X, X[:, 0] > 0))
