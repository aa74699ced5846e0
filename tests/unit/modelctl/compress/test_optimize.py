"""A graph without what no answer needs."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.tree import DecisionTreeClassifier

from tests.unit.modelctl.compress import subjects
from tests.unit.modelctl.compress.networks import convolutional, dense, rows_of, subject
from tools.modelctl.compress.optimize import optimize
from tools.modelctl.compress.probing import answers
from tools.modelctl.errors import BuildFailed


def cluttered() -> onnx.ModelProto:
    """A bias that is the sum of two constants, steps that do nothing, a tensor that nobody reads, and an exporter's notes."""
    graph = dense((8, 16))
    nodes = list(graph.graph.node)
    half = numpy_helper.from_array(np.full(16, 0.5, np.float32), "half")
    extra = [
        helper.make_node("Constant", [], ["one"], value=half, doc_string="File train.py, line 1"),
        helper.make_node("Add", ["bias0", "one"], ["bias"]),
        helper.make_node("Identity", ["input"], ["same"]),
    ]
    nodes[0].input[:] = ["same", "weight0", "bias"]
    del graph.graph.node[:]
    graph.graph.node.extend([*extra, *nodes])
    graph.graph.initializer.append(numpy_helper.from_array(np.zeros(1000, np.float32), "unread"))
    for part in (graph.graph.node[-1], graph.graph.initializer[0]):
        part.doc_string = "File train.py, line 3"
        part.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File train.py, line 2")
    graph.doc_string = "exported"
    graph.producer_name = "exporter"
    return graph


def test_only_what_answers_need_is_left() -> None:
    graph = cluttered()
    parent = graph.SerializeToString(deterministic=True)
    found = optimize(subject(graph))
    onnx.checker.check_model(found, full_check=True)
    assert [node.op_type for node in found.graph.node] == ["Gemm", "Softmax", "ArgMax"]
    assert len(found.graph.initializer) == 2
    assert b"train.py" not in found.SerializeToString()
    assert (found.doc_string, found.producer_name) == ("", "exporter")
    assert found.opset_import == graph.opset_import
    assert (found.graph.input, found.graph.output) == (graph.graph.input, graph.graph.output)
    rows = {"input": rows_of(graph)}
    np.testing.assert_array_equal(answers(found, rows)["probabilities"], answers(graph, rows)["probabilities"])
    assert graph.SerializeToString(deterministic=True) == parent
    assert optimize(subject(graph)).SerializeToString(deterministic=True) == found.SerializeToString(deterministic=True)


def test_batch_normalization_goes_into_the_convolution_before_it() -> None:
    graph = convolutional()
    found = optimize(subject(graph))
    assert "BatchNormalization" not in {node.op_type for node in found.graph.node}
    rows = {"input": rows_of(graph)}
    np.testing.assert_allclose(answers(found, rows)["probabilities"], answers(graph, rows)["probabilities"], atol=1e-5)


def test_trees_are_taken_too() -> None:
    X = subjects.numbers(60, 2)
    given = subjects.subject("classification", DecisionTreeClassifier().fit(X, X[:, 0] > 0), X, X[:, 0] > 0)
    found = optimize(given)
    assert [node.op_type for node in found.graph.node] == ["TreeEnsembleClassifier"]
    assert {opset.domain for opset in found.opset_import} == {opset.domain for opset in given.model.opset_import}


def test_what_can_not_be_loaded_is_told() -> None:
    graph = dense()
    graph.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(BuildFailed, match="can't load the graph that is to be made smaller"):
        optimize(subject(graph))
