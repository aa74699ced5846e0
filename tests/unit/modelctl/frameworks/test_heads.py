"""A graph of any origin becomes one that a served model of its task has, and answers as its numbers say."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from tools.modelctl import convert
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks.heads import answers, kind_of, served
from tools.modelctl.lint import lint

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(9, 4)).astype(np.float32)


def graph(
    columns: int = 3,
    *,
    after: tuple[str, ...] = (),
    rows: str | int = "batch",
    shape: tuple[str | int, ...] | None = None,
    names: tuple[str, str] = ("x", "y"),
    kind: int = FLOAT,
    **attributes: Any,
) -> ModelProto:
    """A dense layer from [rows, 4], and an operator that may follow."""
    weights = np.random.default_rng(1).normal(size=(4, columns)).astype(helper.tensor_dtype_to_np_dtype(kind))
    nodes = [helper.make_node("MatMul", [names[0], "w"], ["dense" if after else names[1]], doc_string="/home/me/net.py:3")]
    if after:
        nodes.append(helper.make_node(after[0], ["dense", *after[1:]], [names[1]], **attributes))
    stored = [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(np.array([2, -1]), "two")]
    inputs = [helper.make_tensor_value_info(names[0], kind, [rows, 4])]
    outputs = [helper.make_tensor_value_info(names[1], kind, [rows, columns] if shape is None else shape)]
    made = helper.make_graph(nodes, "net", inputs, outputs, stored if "two" in after else stored[:1])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: ModelProto, **rows: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, rows or {"input": X}), strict=True))


def specs(model: ModelProto) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(spec.name, spec.datatype, spec.shape) for spec in convert.signature(model)[1]]


def same(model: ModelProto, outputs: list[np.ndarray], task: str, **of: Any) -> None:
    """What the graph answers for one row and for many is what the numbers say that it answers."""
    for count in (1, len(X)):
        expected = answers(task, [values[:count] for values in outputs], **of)
        found = run(model, input=X[:count])
        assert list(found) == list(expected)
        for name, values in expected.items():
            assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype)
            if name == "label":
                assert found[name].tolist() == values.tolist()
            else:
                np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("classes", "datatype"),
    [
        ((), "INT64"),
        ((0, 1, 2), "INT64"),
        ((7, 8, 11), "INT64"),
        ((0.0, 1.0, 2.0), "INT64"),
        (("ash", "elm", "oak"), "BYTES"),
        ((0.5, 1.5, 2.5), "BYTES"),
    ],
)
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_a_classifier_answers_a_label_and_a_probability_for_each_class(classes: tuple[Any, ...], datatype: str, kind: Any) -> None:
    net = graph(after=("Softmax",)) if kind == "probabilities" else graph()
    (numbers,) = run(net, x=X).values()
    assert kind_of("classification", [numbers]) == kind
    model = served(net, name="tree", task="classification", classes=classes, kind=kind)
    assert specs(model) == [("label", datatype, (-1,)), ("probabilities", "FP32", (-1, 3))]
    same(model, [numbers], "classification", classes=classes, kind=kind)
    np.testing.assert_allclose(run(model)["probabilities"].sum(axis=1), 1, atol=1e-6)
    named = [classes[place] if classes else place for place in numbers.argmax(axis=1)]
    assert run(model)["label"].tolist() == (named if datatype == "INT64" else list(map(str, named)))


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("shape", [("batch", 1), ("batch",)])
def test_one_column_is_the_second_of_two_classes(kind: Any, shape: tuple[str | int, ...]) -> None:
    net = graph(1, after=("Sigmoid",)) if kind == "probabilities" else graph(1)
    (numbers,) = run(net, x=X).values()
    if len(shape) == 1:
        net.graph.node.append(helper.make_node("Flatten", ["y"], ["flat"], axis=0))
        net.graph.node.append(helper.make_node("Squeeze", ["flat"], ["z"]))
        net.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", FLOAT, shape))
        net.graph.node[-1].input.append("first")
        net.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
    assert kind_of("classification", [numbers]) == kind
    model = served(net, name="net", task="classification", classes=("no", "yes"), kind=kind)
    assert specs(model)[1] == ("probabilities", "FP32", (-1, 2))
    same(model, [numbers], "classification", classes=("no", "yes"), kind=kind)
    second = numbers.ravel() > (0.5 if kind == "probabilities" else 0)
    assert run(model)["label"].tolist() == np.where(second, "yes", "no").tolist()


@pytest.mark.parametrize("kind", [FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16])
def test_a_regressor_of_any_float_takes_and_answers_fp32(kind: int) -> None:
    net = graph(2, kind=kind)
    model = served(net, name="net", task="regression")
    assert [(spec.name, spec.datatype, spec.shape) for spec in convert.signature(model)[0]] == [("input", "FP32", (-1, 4))]
    assert specs(model) == [("prediction", "FP32", (-1, 2))]
    (numbers,) = run(net, x=X.astype(helper.tensor_dtype_to_np_dtype(kind))).values()
    np.testing.assert_allclose(run(model)["prediction"], numbers.astype(np.float32), rtol=2e-3 if kind == TensorProto.FLOAT16 else 1e-6)


def test_dimensions_of_one_are_left_out() -> None:
    net = graph(2, after=("Unsqueeze", "two"), shape=("batch", 2, 1))
    net.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([2]), "two"))
    model = served(net, name="net", task="classification", kind="logits")
    same(model, list(run(net, x=X).values()), "classification", kind="logits")


@pytest.mark.parametrize("task", ["classification", "clustering"])
def test_a_label_under_another_name_stays_what_it_is(task: str) -> None:
    """As of scikit-learn's converter, whose outputs are output_label and output_probability unless they are named."""
    y = np.arange(9) % 3
    fitted = LogisticRegression().fit(X, np.array(["ash", "elm", "oak"])[y]) if task == "classification" else KMeans(3, n_init=1).fit(X)
    original = convert.convert("net", task, fitted, X)
    model = ModelProto.FromString(original.SerializeToString())
    served_again = served(model, name="net", task=task, classes=("ash", "elm", "oak"), kind="probabilities")
    found, expected = run(served_again), run(original)
    assert [list(values) for values in (found, expected)] == [list(convert.OUTPUTS[task])] * 2
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def labelled(kind: int, *, columns: int = 3) -> ModelProto:
    """[1, 1] is how some converters state the shape of a label."""
    net = graph(columns, after=("Softmax",), names=("label", "probabilities_of"))
    net.graph.node.append(helper.make_node("ArgMax", ["probabilities_of"], ["raw"], axis=1, keepdims=1))
    net.graph.node.append(helper.make_node("Cast", ["raw"], ["variable"], to=kind))
    net.graph.output.insert(0, helper.make_tensor_value_info("variable", kind, [1, 1]))
    return net


@pytest.mark.parametrize("classes", [(), ("ash", "elm", "oak")])
def test_a_label_that_is_a_place_is_named_where_classes_are_text_and_its_shape_corrected(classes: tuple[str, ...]) -> None:
    net = labelled(TensorProto.INT32)
    outputs = list(run(net, label=X).values())
    model = served(net, name="net", task="classification", classes=classes, kind="probabilities", rows={"input": X})
    assert specs(model) == [("label", "BYTES" if classes else "INT64", (-1,)), ("probabilities", "FP32", (-1, 3))]
    same(model, outputs, "classification", classes=classes, kind="probabilities")


def test_what_is_named_as_a_served_tensor_within_gets_another_name() -> None:
    net = graph(after=("Relu",), names=("w0", "label"))
    net.graph.node[0].output[0] = net.graph.node[1].input[0] = "input"
    (numbers,) = run(net, w0=X).values()
    same(served(net, name="net", task="classification", kind="logits"), [numbers], "classification", kind="logits")


def test_the_same_graph_is_the_same_bytes_without_where_it_was_made() -> None:
    first, second = (served(graph(), name="net", task="regression", rows={"input": X}).SerializeToString() for _ in range(2))
    assert first == second
    assert b"/home/me" not in first
    assert b"/home/me" in graph().SerializeToString()


def test_what_is_served_passes_the_lint(tmp_path: Any) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(served(graph(), name="net", task="classification", classes=("a", "b", "c"), kind="logits").SerializeToString())
    assert lint(file, memory=512) == ()


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_fixed_number_of_rows_is_opened_where_a_run_shows_that_it_may(fixed: int) -> None:
    net = graph(rows=fixed)
    with pytest.raises(BuildFailed, match=f"takes {fixed} rows at a time; export it with a dynamic first dimension"):
        served(net, name="net", task="regression")
    model = served(net, name="net", task="regression", rows={"input": X})
    assert run(model)["prediction"].shape == (9, 3)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (graph(4, rows=2, after=("Reshape", "two"), shape=(2, 4)), "takes 2 rows at a time and (fails with|answers) others"),
        (graph(4, rows=2, after=("ReduceMax",), shape=(1, 1)), "takes 2 rows at a time and answers others otherwise"),
        (graph(4, rows=2, after=("Softmax",), axis=0), "takes 2 rows at a time and answers others otherwise"),
    ],
)
def test_a_graph_that_is_made_for_its_number_of_rows_is_refused(net: ModelProto, message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        served(net, name="net", task="regression", rows={"input": X})


def test_a_custom_graph_keeps_its_outputs_and_takes_the_names_of_its_rows() -> None:
    model = served(graph(names=("a", "scores")), name="net", task="custom", rows={"image": X})
    inputs, outputs = convert.signature(model)
    assert ([spec.name for spec in inputs], [spec.name for spec in outputs]) == (["image"], ["scores"])


def test_a_probability_for_each_of_classes_that_may_hold_together_is_none_of_one_class() -> None:
    with pytest.raises(BuildFailed, match=r"3 numbers between 0 and 1 that don't add up to 1.*custom"):
        kind_of("classification", [np.full((4, 3), 0.9, np.float32)])
    assert kind_of("regression", [np.full((4, 3), 0.9, np.float32)]) == "values"


def zipmapped() -> ModelProto:
    net = labelled(INT64)
    value = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    net.graph.node.append(helper.make_node("ZipMap", ["probabilities_of"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]))
    net.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    net.graph.output[1].CopyFrom(helper.make_value_info("maps", helper.make_sequence_type_proto(value)))
    return net


def several() -> ModelProto:
    net = graph()
    net.graph.input.append(helper.make_tensor_value_info("more", FLOAT, ["batch", 2]))
    return net


@pytest.mark.parametrize(
    ("net", "task", "message"),
    [
        (zipmapped(), "classification", r"net answers maps \(a sequence\), which the protocol can't carry; convert it with zipmap=False"),
        (graph(shape=("batch", 3, 5)), "classification", r"answers y \[rows, 3, 5\]; classification needs one tensor \[rows, classes\]"),
        (graph(shape=()), "classification", r"answers y \[\]; classification needs"),
        (graph(shape=("batch", "any")), "classification", "how many classes it has must be known"),
        (labelled(INT64), "regression", r"answers variable .*; regression needs one tensor \[rows, values\]"),
        (graph(), "clustering", "clustering needs a label and one tensor of distances"),
        (several(), "regression", r"takes x \[rows, 4\], more \[rows, 2\]; the rows have input; let load\(\) answer X as a dict"),
    ],
)
def test_outputs_that_can_not_be_those_of_the_task_are_told(net: ModelProto, task: str, message: str) -> None:
    with pytest.raises(BuildFailed, match=message):
        served(net, name="net", task=task, rows={"input": X} if "more" in str(net.graph.input) else None)


def test_every_column_has_a_class() -> None:
    with pytest.raises(BuildFailed, match="answers 3 numbers a row for 2 classes"):
        served(graph(), name="net", task="classification", classes=("a", "b"), kind="logits")
