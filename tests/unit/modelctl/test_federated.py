"""Only weights travel: means of networks of one shape, and a refusal of anything else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from sklearn.metrics import accuracy_score
from typer.testing import CliRunner

from models.config import ModelConfig
from tools.modelctl import parity
from tools.modelctl.cli import app
from tools.modelctl.data import split
from tools.modelctl.errors import BuildFailed, UsageFailed
from tools.modelctl.federated import average
from tools.modelctl.scaffold.federated import train as example

TEXT = """<ir_version: 8, opset_import: ["" : 18]>
agraph (float[N,2] input) => (float[N,2] prediction)
<float[2,2] weight = {1.0, 2.0, 3.0, 4.0}, int64[1] place = {1}> {
  bias = Constant<value = float[2] {0.5, 0.25}>()
  product = MatMul(input, weight)
  prediction = Add(product, bias)
}"""


def network(weight: list[float], bias: list[float] | None = None, *, kind: type = np.float32, place: int = 1) -> onnx.ModelProto:
    model = parser.parse_model(TEXT)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(weight, kind).reshape(2, 2), "weight"))
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([place]), "place"))
    if bias:
        model.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(np.array(bias, np.float32)))
    return model


def weight(model: onnx.ModelProto) -> list[float]:
    values: list[float] = numpy_helper.to_array(model.graph.initializer[0]).ravel().tolist()
    return values


def test_weights_are_the_mean_by_rows_constants_too() -> None:
    averaged = average([network([0, 0, 0, 0], [0, 0]), network([4, 8, 12, 16], [1, 2])], [300, 100])
    assert weight(averaged) == [1, 2, 3, 4]
    assert numpy_helper.to_array(averaged.graph.node[0].attribute[0].t).tolist() == [0.25, 0.5]


def test_without_rows_every_model_counts_the_same() -> None:
    assert weight(average([network([0, 0, 0, 0]), network([4, 8, 12, 16])])) == [2, 4, 6, 8]


def test_the_same_models_give_the_same_bytes_and_the_models_stay_as_they_are() -> None:
    models = [network([number, 0.1, 0.2, 0.3]) for number in range(3)]
    before = [model.SerializeToString(deterministic=True) for model in models]
    first, second = (average(models, [1, 2, 3]).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert [model.SerializeToString(deterministic=True) for model in models] == before


def test_the_average_of_equal_models_is_that_model() -> None:
    model = network([0.1, 0.7, -3.3, 1e-8])
    assert weight(average([model] * 7, [13, 1, 999, 2, 5, 8, 21])) == pytest.approx(weight(model), rel=1e-7)


def test_halves_stay_halves() -> None:
    averaged = average([network([1, 2, 3, 4], kind=np.float16), network([2, 3, 4, 5], kind=np.float16)])
    assert averaged.graph.initializer[0].data_type == TensorProto.FLOAT16
    assert weight(averaged) == [1.5, 2.5, 3.5, 4.5]


def other_operator() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    model.graph.node[2].op_type = "Sub"
    return model


def other_wiring() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    model.graph.node[2].input[:] = ["bias", "product"]
    return model


def other_shape() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((2, 3), np.float32), "weight"))
    return model


def one_node_more() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    model.graph.node.append(helper.make_node("Neg", ["prediction"], ["negative"]))
    return model


def other_opset() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    model.opset_import[0].version = 17
    return model


def other_input() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    model.graph.input[0].name = "rows"
    return model


def with_an_encoder(learnt: float) -> onnx.ModelProto:
    """What it answers for each number lies in tensors that are attributes."""
    model = network([1, 2, 3, 4])
    tables = {"keys_tensor": np.array([1.0], np.float32), "values_tensor": np.array([learnt], np.float32)}
    attributes = {name: numpy_helper.from_array(values, name) for name, values in tables.items()}
    attributes["default_tensor"] = numpy_helper.from_array(np.array([0.0], np.float32), "default_tensor")
    model.graph.node.append(helper.make_node("LabelEncoder", ["prediction"], ["encoded"], domain="ai.onnx.ml", **attributes))
    return model


def sparse() -> onnx.ModelProto:
    model = network([1, 2, 3, 4])
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [5.0])
    places = helper.make_tensor("places", TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
    return model


def test_what_an_encoder_has_learnt_has_no_mean() -> None:
    average([with_an_encoder(2.0), with_an_encoder(2.0)])
    with pytest.raises(BuildFailed, match="node 3, LabelEncoder '', has other inputs, outputs or attributes"):
        average([with_an_encoder(2.0), with_an_encoder(3.0)])


def not_a_number() -> onnx.ModelProto:
    return network([1, 2, 3, float("nan")])


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (other_operator, "model 2 is not of the shape of model 1: node 2 is Sub '' instead of Add ''"),
        (other_wiring, "node 2, Add '', has other inputs, outputs or attributes"),
        (other_shape, r"weight 'weight' FLOAT \[2, 3\] instead of 'weight' FLOAT \[2, 2\]"),
        (one_node_more, "node 3 is Neg '' instead of missing"),
        (other_opset, "operator sets"),
        (other_input, "input 'rows' instead of 'input'"),
        (sparse, "sparse weights"),
        (not_a_number, "'weight' holds NaN or infinity"),
        (lambda: network([1, 2, 3, 4], place=2), "'place' is INT64 and not the same in all models"),
        (lambda: network([1, 2, 3, 4], kind=np.float64), "weight 'weight' DOUBLE"),
    ],
)
def test_what_is_not_of_one_shape_is_refused_and_the_difference_named(other: object, told: str) -> None:
    with pytest.raises(BuildFailed, match=told):
        average([network([1, 2, 3, 4]), other()])  # type: ignore[operator]


@pytest.mark.parametrize("rows", [[1], [1, 2, 3], [0, 1], [-1, 2]])
def test_rows_that_fit_no_models_are_refused(rows: list[int]) -> None:
    with pytest.raises(UsageFailed, match="expected one positive number for each of 2 models"):
        average([network([1, 2, 3, 4])] * 2, rows)


def test_one_model_is_no_average() -> None:
    with pytest.raises(UsageFailed, match="expected two or more"):
        average([network([1, 2, 3, 4])])


def test_the_command_writes_what_the_example_of_three_sites_needs_and_it_beats_each_of_them(tmp_path: Path) -> None:
    """One round: every site trains a little by itself, and the average of the three is better than any."""
    folder = Path(example.__file__).parent
    rows = split(ModelConfig.load(folder), *example.load())
    sites = example.sites(rows.X, rows.y)
    assert sum(len(y) for _, y in sites.values()) == rows.trained
    arguments = []
    for name, (X, y) in sites.items():
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(example.local(example.Network(example.start()), X, y).to_onnx(name).SerializeToString())
        arguments += [str(file), "--rows", str(len(y))]

    result = CliRunner().invoke(app, ["average", *arguments, "--output", str(tmp_path / "all.onnx")])

    assert result.exit_code == 0, result.output
    pixels = {"input": rows.held_out_X.astype(np.float32)}
    found = {file.stem: accuracy_score(rows.held_out_y, parity.run(file, pixels)["label"]) for file in sorted(tmp_path.glob("*.onnx"))}
    assert found.pop("all") > max(found.values()) + 0.03


def test_the_example_leaves_its_files_in_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(example.__file__).parents[2]
    assert folder / "build" / "federated" == example.SENT  # of a folder of models/
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(example, "SENT", tmp_path / "build" / "federated")
    monkeypatch.setattr(example, "ROUNDS", 1)
    monkeypatch.setattr(example, "EPOCHS", 1)
    example.main()
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.onnx")) == [
        f"build/federated/{name}.onnx" for name in ("middle", "north", "south")
    ]


def test_the_command_refuses_a_file_that_the_lint_refuses_and_one_of_the_models_as_its_output(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.onnx", tmp_path / "bad.onnx"
    good.write_bytes(network([1, 2, 3, 4]).SerializeToString())
    bad.write_bytes(b"no model")
    for files, output, told in (([good, bad], "all.onnx", "may not be averaged"), ([good, good], "good.onnx", "one of the models")):
        result = CliRunner().invoke(app, ["average", *map(str, files), "--output", str(tmp_path / output)])
        assert result.exit_code == 1
        assert told in " ".join(result.output.split())
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.onnx", "good.onnx"]
