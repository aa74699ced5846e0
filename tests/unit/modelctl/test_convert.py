"""An estimator converts faithfully or is refused; one that brings its own ONNX graph is held to what its rows and its task say."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import orjson
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer

from models.config import ModelConfig
from tests.unit.modelctl.factories import model_folder
from tools.modelctl import convert, lifecycle
from tools.modelctl.built import Built
from tools.modelctl.data import tensors
from tools.modelctl.errors import BuildFailed

TRAIN = """
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DATATYPE, KIND = TensorProto.FLOAT, np.float32

def load():
    X = np.zeros((80, 1, 2, 3), KIND)
    X[::2] = 9_000_000_000 if KIND is np.int64 else 9
    return X, np.arange(80) % 2

def train(X, y):
    return Own()

class Own:
    framework = "own 1.0"
    classes_ = np.arange(2)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)

    def predict_proba(self, X):
        empty = (X.reshape(len(X), -1).sum(axis=1) < 5).astype(np.float32)
        return np.stack([1 - empty, empty], axis=1)

    def to_onnx(self, name):
        nodes = [
            helper.make_node("ReduceSum", ["input", "axes"], ["sum"], keepdims=0),
            helper.make_node("Less", ["sum", "five"], ["empty"]),
            helper.make_node("Cast", ["empty"], ["at"], to=TensorProto.INT64),
            helper.make_node("Gather", ["rows", "at"], ["probabilities"]),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        weights = {"axes": np.array([1, 2, 3]), "five": KIND(5), "rows": np.eye(2, dtype=np.float32)}
        graph = helper.make_graph(
            nodes, name,
            [helper.make_tensor_value_info("input", DATATYPE, [None, 1, 2, 3])],
            [helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
             helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
            [numpy_helper.from_array(np.asarray(values), weight) for weight, values in weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
"""
IDS = TRAIN.replace("TensorProto.FLOAT, np.float32", "TensorProto.INT64, np.int64")


def build(root: Path, train: str, **files: str) -> Built:
    config = ModelConfig.load(model_folder(root / "models", train=train, **files))
    return lifecycle.build(config, models=root / "models", output=root / "build")


@pytest.mark.parametrize(("train", "datatype"), [(TRAIN, "FP32"), (IDS, "INT64")])
def test_its_own_graph_takes_images_and_ids_and_is_compared_as_any_other(tmp_path: Path, train: str, datatype: str) -> None:
    built = build(tmp_path, train)
    assert built.failures == ()
    assert [(spec.name, spec.datatype, spec.shape) for spec in built.manifest.inputs] == [("input", datatype, (-1, 1, 2, 3))]
    assert [spec.name for spec in built.manifest.outputs] == ["label", "probabilities"]
    assert built.manifest.metrics["accuracy"] == 1
    assert built.manifest.lineage is not None
    assert built.manifest.lineage.framework == "own 1.0"


def test_the_example_has_the_datatype_and_shape_of_its_graph_and_every_digit_of_an_id(tmp_path: Path) -> None:
    built = build(tmp_path, IDS)
    (tensor,) = orjson.loads(built.example.read_bytes())["inputs"]
    assert (tensor["datatype"], tensor["shape"]) == ("INT64", [1, 1, 2, 3])
    assert set(tensor["data"]) <= {0, 9_000_000_000}
    values = np.array(tensor["data"], np.int64).reshape(tensor["shape"])
    label, _ = onnxruntime.InferenceSession(built.model).run(None, {"input": values})
    assert label.tolist() == [int(values.sum() == 0)]


def test_a_graph_that_answers_otherwise_than_its_estimator_is_not_published(tmp_path: Path) -> None:
    (failure,) = (text for text in build(tmp_path, TRAIN.replace("np.eye(2", "1 - np.eye(2")).failures if "trained" in text)
    assert failure.startswith("the ONNX model is not the one that was trained: 100.00% of 20 labels differ")


@pytest.mark.parametrize(
    ("found", "changed", "message"),
    [
        ('"input"', '"pixels"', r"a graph from pixels FP32 \[-1, 1, 2, 3\] to .*; expected one from input FP32 \[-1, 1, 2, 3\]"),
        ("DATATYPE, KIND = TensorProto.FLOAT", "DATATYPE, KIND = TensorProto.DOUBLE", r"from input FP64 .* expected one from input FP32"),
        ("[None, 1, 2, 3]", "[None, 1, 2, 4]", r"from input FP32 \[-1, 1, 2, 4\]"),
        ("[None, 1, 2, 3]", "[1, 1, 2, 3]", r"from input FP32 \[1, 1, 2, 3\]"),
        ("[None, 1, 2, 3]", "[None, 6]", r"from input FP32 \[-1, 6\]"),
        ('"probabilities"', '"scores"', r"to label INT64 \[-1\], scores FP32 \[-1, 2\]; .* to label, probabilities"),
        (
            "return helper.make_model(",
            "return dict(a=",
            r"to_onnx\(\) in models/step/train.py failed: TypeError: it answered a dict; expected",
        ),
        ('"ReduceSum"', '"NoSuchThing"', r"failed: ValidationError: No Op registered for NoSuchThing"),
        ("def to_onnx(self, name):", "def to_onnx(self):", r"failed: TypeError: .*to_onnx\(\) takes 1 positional argument"),
    ],
)
def test_a_graph_that_does_not_fit_is_told_what_was_expected(tmp_path: Path, found: str, changed: str, message: str) -> None:
    assert found in TRAIN
    with pytest.raises(BuildFailed, match=message):
        build(tmp_path, TRAIN.replace(found, changed))


def test_the_graph_may_leave_dimensions_open(tmp_path: Path) -> None:
    built = build(tmp_path, TRAIN.replace("[None, 1, 2, 3]", "[None, 1, None, None]"))
    assert [spec.shape for spec in built.manifest.inputs] == [(-1, 1, -1, -1)]
    assert built.passed


MIXING = (
    TRAIN.replace("(X.reshape(len(X), -1).sum(axis=1) < 5)", "((X - X.mean(axis=0)).reshape(len(X), -1).sum(axis=1) < -5)")
    .replace('"five": KIND(5)', '"five": KIND(-5), "first": np.array([0])')
    .replace('["input", "axes"]', '["apart", "axes"]')
    .replace(
        "nodes = [",
        """nodes = [
            helper.make_node("ReduceMean", ["input", "first"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["input", "mean"], ["apart"]),""",
    )
)
"""Answers a row by how it stands to all rows of the request."""
HEAVY = 'task = "classification"\ntarget = "gpu"\n'


def test_rows_that_are_answered_by_each_other_are_never_run_with_those_of_other_requests(tmp_path: Path) -> None:
    assert build(tmp_path / "apart", TRAIN, toml=HEAVY).manifest.max_batch == 32
    built = build(tmp_path / "mixing", MIXING, toml=HEAVY)
    assert (built.failures, built.manifest.max_batch, built.manifest.row_wise) == ((), 0, False)
    with pytest.raises(BuildFailed, match=r"answers a row otherwise alone than among others.*set max_batch = 0"):
        build(tmp_path / "asked", MIXING, toml=f"{HEAVY}[gpu]\nmax_batch = 8\n")


def test_whether_rows_may_run_together_is_known_of_every_model(tmp_path: Path) -> None:
    """Jobs of several clients run as one where it is so."""
    apart, mixing = (build(tmp_path / name, code).manifest for name, code in (("apart", TRAIN), ("mixing", MIXING)))
    assert (apart.row_wise, mixing.row_wise) == (True, False)


def test_what_parity_allows_makes_no_rows_apart(tmp_path: Path) -> None:
    """An estimator may differ from its graph by what model.toml says; one client's answer may not differ with another's rows."""
    manifest = build(tmp_path, MIXING, toml='task = "classification"\n[parity]\ntolerance = 100.0\ndisagreement = 1.0\n').manifest
    assert manifest.row_wise is False


def test_soft_votes_convert_and_leave_the_estimator_as_it_was() -> None:
    """skl2onnx takes neither the usual flatten_transform nor weights in a list."""
    voting = VotingClassifier([("bayes", GaussianNB()), ("line", LogisticRegression())], voting="soft", weights=[1, 3])
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    model = convert.convert("step", "classification", voting.fit(X, y), X)
    label, probabilities = session(model).run(None, {"input": X.astype(np.float32)})
    assert (voting.flatten_transform, voting.weights) == (True, [1, 3])
    assert label.tolist() == voting.predict(X).tolist()
    assert np.allclose(probabilities, voting.predict_proba(X), atol=1e-6)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read


@pytest.mark.parametrize("pattern", [r"(?u)\b\w+\b", r"\w+"])
def test_words_of_one_letter_of_any_alphabet_are_words_where_the_pattern_says_so(pattern: str) -> None:
    X = pd.DataFrame({"text": ["ö über", "a wide", "ö wide", "a über"] * 10})
    columns = ColumnTransformer([("words", TfidfVectorizer(token_pattern=pattern), "text")])
    estimator = make_pipeline(columns, LogisticRegression()).fit(X, [0, 1, 0, 1] * 10)
    answers = session(convert.convert("step", "classification", estimator, X)).run(None, tensors(X))
    assert np.allclose(answers[1], estimator.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (SimpleImputer(add_indicator=True), "an imputer's add_indicator=True doesn't convert"),
        (SplineTransformer(), "SplineTransformer has no converter; PolynomialFeatures and KBinsDiscretizer convert"),
    ],
)
def test_what_does_not_convert_is_told_with_the_way_out(step: object, told: str) -> None:
    X, y = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 2
    X[::7, 0] = np.nan if isinstance(step, SimpleImputer) else 0
    estimator = make_pipeline(step, LogisticRegression()).fit(X, y)
    with pytest.raises(BuildFailed, match=f"^step can't be converted to ONNX: {told}.*; change the estimator in models/step/train.py"):
        convert.convert("step", "classification", estimator, X)


def test_what_a_graph_of_its_own_is_refused_for_is_told_once() -> None:
    class Refused:
        def to_onnx(self, name: str) -> None:
            raise BuildFailed(f"{name} has an operator that ONNX lacks")

    with pytest.raises(BuildFailed, match=r"^step has an operator that ONNX lacks$"):
        convert.convert("step", "regression", Refused(), np.zeros((2, 2)))


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString())
