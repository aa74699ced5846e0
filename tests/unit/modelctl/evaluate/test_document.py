"""All that is known of a model from its held-out rows: numbers that add up, nothing made up, and no row."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import orjson
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from models.config import METRICS, ModelConfig
from tools.modelctl import convert, parity
from tools.modelctl.data import Split, split, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.evaluate import Evaluation, evaluate
from tools.modelctl.frameworks import Context, onnx_files

ROWS = 400


def table() -> tuple[pd.DataFrame, np.ndarray]:
    """What decides is `size`; `town` and `paid` say nothing, and in the south all is answered by chance."""
    random = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": random.normal(0, 1, ROWS).astype(np.float32),
            "town": random.choice(["north", "south"], ROWS),
            "paid": random.random(ROWS) < 0.5,
        }
    )
    chance = random.random(ROWS) < 0.5
    return X, np.where(np.where(X["town"] == "south", chance, X["size"] > 0), "yes", "no")


def model(folder: Path, config: ModelConfig, estimator: Any, rows: Split) -> tuple[Path, parity.Answers, parity.Answers]:
    file = folder / "model.onnx"
    file.write_bytes(convert.convert("x", config.task, estimator, rows.held_out_X).SerializeToString())
    inputs = tensors(rows.held_out_X)
    return file, inputs, parity.run(file, inputs)


def judged(config: ModelConfig, rows: Split, found: tuple[Path, parity.Answers, parity.Answers]) -> Evaluation:
    file, inputs, answers = found
    return evaluate(config, rows, inputs, answers, file, space=rows.held_out_X, labels=("no", "yes"))


CLASSES = ModelConfig(name="x", task="classification")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Split, tuple[Path, parity.Answers, parity.Answers]]:
    rows = split(CLASSES, *table())
    columns = ColumnTransformer([("text", OneHotEncoder(), ["town"]), ("size", "passthrough", ["size"])])
    estimator = make_pipeline(columns, GradientBoostingClassifier(n_estimators=10, random_state=0))
    rows = Split(rows.X[["size", "town"]], rows.y, rows.held_out_X[["size", "town"]], rows.held_out_y)
    return rows, model(tmp_path_factory.mktemp("model"), CLASSES, estimator.fit(rows.X, rows.y), rows)


def numbers(document: Any) -> Iterator[float]:
    """Every number anywhere in a document."""
    if isinstance(document, dict | list):
        for item in document.values() if isinstance(document, dict) else document:
            yield from numbers(item)
    elif isinstance(document, float):
        yield document


def test_a_classifier_is_told_by_counts_that_add_up(classifier: Any) -> None:
    found = judged(CLASSES, *classifier).document
    assert found["data"]["classes"] == [
        {"name": "no", "trained": 154, "held_out": 51},
        {"name": "yes", "trained": 146, "held_out": 49},
    ]
    counts = np.array(found["confusion"]["counts"])
    assert counts.sum() == sum(item["rows"] for item in found["calibration"]["bins"]) == 100
    assert counts.sum(axis=1).tolist() == [item["support"] for item in found["per_class"]] == [51, 49]
    assert found["metrics"]["accuracy"]["value"] == np.trace(counts) / 100
    assert found["per_class"][1]["recall"] == pytest.approx(counts[1, 1] / 49)
    assert found["metrics"]["accuracy"]["low"] < np.trace(counts) / 100 < found["metrics"]["accuracy"]["high"]
    assert found["calibration"]["class"] == "yes"
    (curve,) = found["roc"]
    assert (curve["name"], curve["points"][0], curve["points"][-1]) == ("yes", [0, 0], [1, 1])
    assert list(found["metrics"]) == list(METRICS["classification"])


def test_the_document_is_the_same_each_time_and_can_be_written(classifier: Any) -> None:
    first, second = (judged(CLASSES, *classifier).document for _ in range(2))
    assert orjson.dumps(first) == orjson.dumps(second)
    assert all(math.isfinite(number) for number in numbers(first))


def test_a_group_that_is_served_badly_shows_in_its_slice(classifier: Any) -> None:
    found = judged(CLASSES, *classifier).document["slices"]
    by_value = {item["value"]: item for item in found}
    assert {item["column"] for item in found} == {"town"}
    assert by_value["north"]["metrics"]["accuracy"] > by_value["south"]["metrics"]["accuracy"] + 0.2
    assert by_value["north"]["rows"] + by_value["south"]["rows"] == 100


def test_a_column_of_numbers_is_cut_into_quartiles_when_named(classifier: Any) -> None:
    config = ModelConfig.model_validate({"name": "x", "task": "classification", "evaluate": {"slices": ["size"]}})
    found = judged(config, *classifier).document["slices"]
    assert [item["column"] for item in found] == ["size"] * 4
    assert next(item["value"] for item in found).startswith("<")
    assert sum(item["rows"] for item in found) == 100


def test_a_slice_of_a_column_that_is_not_there_names_those_that_are(classifier: Any) -> None:
    config = ModelConfig.model_validate({"name": "x", "task": "classification", "evaluate": {"slices": ["weight"]}})
    with pytest.raises(BuildFailed, match="names weight; expected columns of the rows: size, town"):
        judged(config, *classifier)


def test_the_feature_that_decides_is_the_most_important(classifier: Any) -> None:
    found = judged(CLASSES, *classifier).document["importance"]
    size, town = found["features"]
    assert (found["metric"], size["name"], town["name"]) == ("accuracy", "size", "town")
    assert size["mean"] > 0.1 > town["mean"] + 0.05


def test_gates_may_name_a_class(classifier: Any) -> None:
    found = judged(CLASSES, *classifier)
    assert found.gated["recall[yes]"] == found.document["per_class"][1]["recall"]
    assert set(found.metrics) < set(found.gated)


def test_a_graph_whose_columns_are_not_in_the_order_of_the_alphabet_is_told_by_its_own_names(tmp_path: Path) -> None:
    """All cats are found, and nine of ten dogs; what is probable of a dog is said first."""
    config = ModelConfig(name="x", task="classification", labels=("dog", "cat"))
    graph = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["": 18]>
        pets (float[N, 1] size) => (float[N, 2] scores) { less = Neg(size)
            both = Concat<axis = 1>(size, less)
            scores = Softmax<axis = 1>(both) }""")
    X = np.linspace(-2, 2, 60, dtype=np.float32).reshape(-1, 1)
    y = np.where(X[:, 0] > 0, "dog", "cat")
    X[[30, 40, 59]] *= -1
    rows = Split(X, y, X, y)
    adapted = onnx_files.adapt(graph, Context(config=config, rows=rows, folder=tmp_path))
    file, inputs, answers = model(tmp_path, config, adapted, rows)
    found = evaluate(config, rows, inputs, answers, file, space=X, labels=config.labels)
    assert found.document["confusion"] == {"names": ["dog", "cat"], "counts": [[27, 3], [0, 30]]}
    assert (found.gated["recall[dog]"], found.gated["recall[cat]"]) == (0.9, 1)
    assert found.document["data"]["classes"][0]["name"] == found.document["per_class"][0]["name"] == "dog"
    assert found.metrics["roc_auc"] > 0.9
    assert found.metrics["log_loss"] < 0.5


def test_other_held_out_rows_have_another_digest(classifier: Any) -> None:
    rows, found = classifier
    other = Split(rows.X, rows.y, rows.held_out_X, np.where(rows.held_out_y == "yes", "no", "yes"))
    digests = {judged(CLASSES, each, found).document["data"]["held_out_sha256"] for each in (rows, rows, other)}
    assert len(digests) == 2


def test_a_regressor_is_told_by_what_its_residuals_are(tmp_path: Path) -> None:
    config = ModelConfig(name="x", task="regression")
    random = np.random.default_rng(0)
    X = random.normal(0, 1, (ROWS, 2))
    rows = split(config, X, 3 * X[:, 0] + random.normal(0, 1, ROWS))
    found = judged(config, rows, model(tmp_path, config, LinearRegression().fit(rows.X, rows.y), rows)).document
    residuals = found["residuals"]
    assert residuals["quantiles"]["0.5"] == pytest.approx(0, abs=0.3)
    assert residuals["quantiles"]["0.95"] == pytest.approx(1.64, abs=0.5)
    assert sum(residuals["histogram"]["counts"]) == sum(item["rows"] for item in residuals["by_prediction"]) == 100
    assert [item["name"] for item in found["importance"]["features"]] == ["input[0]", "input[1]"]
    assert "slices" not in found


def test_without_y_nothing_is_scored(tmp_path: Path) -> None:
    config = ModelConfig(name="x", task="regression")
    X = np.random.default_rng(0).normal(0, 1, (40, 2))
    rows = split(config, X, None)
    found = judged(config, rows, model(tmp_path, config, LinearRegression().fit(rows.X, rows.X[:, 0]), rows))
    assert found.metrics == found.gated == {}
    assert set(found.document) == {"data"}


@pytest.mark.parametrize(("task", "without"), [("regression", True), ("clustering", False)])
def test_what_was_trained_elsewhere_is_marked_and_its_rows_where_they_have_nothing_to_predict(
    tmp_path: Path, task: Any, without: bool
) -> None:
    config = ModelConfig(name="x", task=task)
    rows = split(config, np.arange(40.0).reshape(-1, 1), None)
    file, inputs, _ = model(tmp_path, ModelConfig(name="x", task="regression"), LinearRegression().fit(rows.X, rows.X[:, 0]), rows)
    answers = {"label": np.zeros(rows.held_out, np.int64)}
    documents = [
        evaluate(config, rows, inputs, answers, file, space=rows.held_out_X, labels=(), elsewhere=elsewhere).document["data"]
        for elsewhere in (False, True)
    ]
    assert [sorted(set(found) & {"elsewhere", "without_target"}) for found in documents] == [
        [],
        ["elsewhere", "without_target"] if without else ["elsewhere"],
    ]


@pytest.mark.parametrize("answer", [np.nan, 1e300], ids=["NaN", "huge"])
@pytest.mark.parametrize("y", [[1.0] * 3, [1.0, 2.0, np.nan]], ids=["constant", "NaN"])
def test_three_rows_with_odd_numbers_make_a_document_all_the_same(tmp_path: Path, answer: float, y: list[float]) -> None:
    config = ModelConfig(name="x", task="regression")
    rows = Split(np.ones((3, 2)), np.array(y), np.ones((3, 2)), np.array(y))
    file, inputs, answers = model(tmp_path, config, LinearRegression().fit(np.ones((3, 2)), [1.0, 2.0, 3.0]), rows)
    found = judged(config, rows, (file, inputs, {"prediction": np.full_like(answers["prediction"], answer, np.float64)}))
    assert all(math.isfinite(number) for number in numbers(found.document))
    assert "r2" not in found.metrics


def test_one_class_in_the_held_out_rows_leaves_out_what_needs_both(classifier: Any) -> None:
    rows, (file, inputs, answers) = classifier
    only = rows.held_out_y == "no"
    some = Split(rows.X, rows.y, rows.held_out_X[only], rows.held_out_y[only])
    kept = (file, {name: values[only] for name, values in inputs.items()}, {name: values[only] for name, values in answers.items()})
    found = judged(CLASSES, some, kept)
    assert "roc_auc" not in found.metrics
    assert "recall[yes]" not in found.gated
    assert "roc" not in found.document
    assert found.document["data"]["classes"][1] == {"name": "yes", "trained": 146, "held_out": 0}
