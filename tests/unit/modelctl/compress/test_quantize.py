"""Weights as 8-bit integers."""

from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import numpy_helper
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from models.config import GpuConfig
from tests.unit.modelctl.compress import subjects
from tests.unit.modelctl.compress.networks import convolutional, dense, rows_of, subject
from tools.modelctl.compress import quantize
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.quantize import CALIBRATION, dynamic_int8, static_int8
from tools.modelctl.compress.subject import Inapplicable, Method
from tools.modelctl.errors import BuildFailed
from tools.modelctl.lint import lint

METHODS = [dynamic_int8, static_int8]
GRAPHS = {
    "gemm": dense(),
    "transposed": dense(operator="transposed"),
    "matmul-add": dense(operator="MatMul"),
    "fixed-rows": dense(rows=20),
    "old": dense(opset=13),
}


def stored(model: onnx.ModelProto, kind: int = onnx.TensorProto.INT8) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.data_type == kind}


def large(model: onnx.ModelProto) -> list[np.ndarray]:
    return [values for values in stored(model).values() if values.size >= 512]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_it_is_a_third_of_the_size_and_answers_much_the_same(graph: onnx.ModelProto, method: Method, tmp_path: Path) -> None:
    parent = graph.SerializeToString(deterministic=True)
    found = method(subject(graph))
    onnx.checker.check_model(found, full_check=True)
    (tmp_path / "model.onnx").write_bytes(found.SerializeToString())
    assert lint(tmp_path / "model.onnx", memory=512) == ()
    assert sum(values.nbytes for values in large(found)) == 8 * 128 + 128 * 4
    assert not any(values.size >= 512 for values in stored(found, onnx.TensorProto.FLOAT).values())
    assert (found.graph.input, found.graph.output) == (graph.graph.input, graph.graph.output)
    assert found.opset_import == graph.opset_import
    rows = {"input": rows_of(graph, 20, seed=9)}
    before, after = answers(graph, rows)["probabilities"], answers(found, rows)["probabilities"]
    assert 0 < np.abs(before - after).max() < 0.25
    assert np.abs(before - after).mean() < 0.01
    assert graph.SerializeToString(deterministic=True) == parent
    assert method(subject(graph)).SerializeToString(deterministic=True) == found.SerializeToString(deterministic=True)


def test_convolutions_are_quantized_by_static_int8_alone() -> None:
    graph = convolutional()
    found = static_int8(subject(graph))
    assert [values.shape for values in large(found)] == [(16, 8, 3, 3)]
    rows = {"input": rows_of(graph, 50, seed=9)}
    assert np.abs(answers(graph, rows)["probabilities"] - answers(found, rows)["probabilities"]).max() < 0.05
    with pytest.raises(Inapplicable, match="no dense layer of this graph has 512"):
        dynamic_int8(subject(graph))


def test_ranges_are_those_of_the_rows_for_training() -> None:
    X = rows_of(dense())
    found = static_int8(subject(dense(), X))
    quantized = next(node for node in found.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "input")
    scale = stored(found, onnx.TensorProto.FLOAT)[quantized.input[1]]
    assert float(scale) == pytest.approx(float(X.max() - X.min()) / 255, rel=1e-4)


def test_no_more_rows_than_said_are_looked_at() -> None:
    X = rows_of(dense(), CALIBRATION + 2)
    known = static_int8(subject(dense(), X)).SerializeToString(deterministic=True)
    X[-1] = 1e6
    assert static_int8(subject(dense(), X)).SerializeToString(deterministic=True) == known
    X[CALIBRATION - 1] = 1e6
    assert static_int8(subject(dense(), X)).SerializeToString(deterministic=True) != known


@pytest.mark.parametrize("method", METHODS)
def test_weights_take_seven_bits_so_that_no_cpu_answers_otherwise(method: Method) -> None:
    for values in large(method(subject(dense()))):
        assert 60 <= np.abs(values.astype(int)).max() <= 64


def test_each_output_has_a_scale_of_its_own() -> None:
    """One output with weights a thousand times as large takes nothing from the others."""
    graph = dense((64, 16))
    weight = numpy_helper.to_array(graph.graph.initializer[0]).copy()
    weight[:, 0] *= 1000
    graph.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "weight0"))
    (quantized,) = large(static_int8(subject(graph)))
    assert np.abs(quantized[:, 1:].astype(int)).max(axis=0).min() >= 60


def test_trees_are_sent_to_tree_prune() -> None:
    X = subjects.numbers(60, 2)
    trees = DecisionTreeClassifier(random_state=0).fit(X, X[:, 0] > 0)
    for method in METHODS:
        with pytest.raises(Inapplicable, match="use tree-prune"):
            method(subjects.subject("classification", trees, X, X[:, 0] > 0))


def test_text_is_sent_to_fewer_words() -> None:
    X, y = pd.DataFrame({"text": ["a lemon", "a hammer"] * 10}), np.array(["fruit", "tool"] * 10)
    model = make_pipeline(ColumnTransformer([("text", TfidfVectorizer(), "text")]), LogisticRegression()).fit(X, y)
    for method in METHODS:
        with pytest.raises(Inapplicable, match="max_features"):
            method(subjects.subject("classification", model, X, y))


def test_layers_of_few_weights_are_not_worth_it() -> None:
    for method in METHODS:
        with pytest.raises(Inapplicable, match="has 512 FP32 weights or more; use optimize"):
            method(subject(dense((8, 16, 4))))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_quantized_already_is_left_alone(method: Method) -> None:
    for first in METHODS:
        with pytest.raises(Inapplicable):
            method(subject(first(subject(dense()))))


def test_a_scale_for_each_channel_needs_a_newer_operator_set() -> None:
    with pytest.raises(Inapplicable, match="operator set 13, and this graph has 12"):
        static_int8(subject(dense(opset=12)))


def test_rows_that_triton_joins_are_not_scaled_by_each_other() -> None:
    with pytest.raises(Inapplicable, match="use static-int8"):
        dynamic_int8(subject(dense(), gpu=GpuConfig(max_batch=8)))
    assert large(dynamic_int8(subject(dense(), gpu=GpuConfig(max_batch=0))))


def test_what_onnx_runtime_can_not_quantize_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("what it says\nand more")

    monkeypatch.setattr(quantize, "quantize_static", refuse)
    with pytest.raises(BuildFailed, match=r"ValueError: what it says\. Compress it by another method than static-int8"):
        static_int8(subject(dense()))
