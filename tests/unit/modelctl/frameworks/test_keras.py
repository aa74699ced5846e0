"""Networks of Keras become versions that answer as they do, from train() and from their files."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from models.config import ModelConfig
from tests.unit.modelctl.factories import model_folder
from tools.modelctl import convert, lifecycle
from tools.modelctl.data import split
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, adapt, keras_nets
from tools.modelctl.source import Source

keras = pytest.importorskip("keras", reason="the extra keras is not installed")
pytest.importorskip("tensorflow", reason="the extra keras is not installed")

pytestmark = pytest.mark.filterwarnings("ignore")  # of TensorFlow's own insides
CLASSIFIER, REGRESSOR, CUSTOM = (f'task = "{task}"\n' for task in ("classification", "regression", "custom"))
START = """
import keras
import numpy as np
from keras import layers

random = np.random.default_rng(0)

def fitted(net, X, y, loss):
    net.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss)
    net.fit(X, y, epochs=3, verbose=0, shuffle=False)
    return net
"""
DENSE = """
def load():
    X = random.normal(size=(200, 4)).astype(np.float32)
    return X, np.array(["ash", "elm", "oak"])[np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5])]

def train(X, y):
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((4,)), layers.Dense(8, "relu"), layers.Dropout(0.2), layers.Dense(3, "softmax")])
    return fitted(net, X, np.unique(y, return_inverse=True)[1], "sparse_categorical_crossentropy")
"""
CONV = """
def load():
    X = random.normal(size=(120, 8, 8, 1)).astype(np.float32)
    return X, (X.mean(axis=(1, 2, 3)) > 0).astype(np.int64) * 5

def train(X, y):
    keras.utils.set_random_seed(0)
    net = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU(), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(1, "sigmoid"),
    ])
    return fitted(net, X, y > 0, "binary_crossentropy")
"""
STEPS = """
def load():
    X = random.normal(size=(120, 6, 3)).astype(np.float32)
    return X, X.sum(axis=(1, 2))

def train(X, y):
    keras.utils.set_random_seed(0)
    net = keras.Sequential([keras.Input((6, 3)), layers.LSTM(8, return_sequences=True), layers.GRU(4), layers.Dense(1)])
    return fitted(net, X, y, "mse")
"""
TOKENS = """
def load():
    X = random.integers(0, 20, size=(120, 7))
    return X, (X.sum(axis=1) > 66).astype(int)

def train(X, y):
    keras.utils.set_random_seed(0)
    tokens = keras.Input((7,), dtype="int32")
    words = layers.Embedding(20, 8)(tokens)
    answer = layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.MultiHeadAttention(2, 4)(words, words)))
    return fitted(keras.Model(tokens, answer), X, y, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
"""
PAIR = """
def load():
    return {"image": random.normal(size=(60, 4)).astype(np.float32), "age": random.integers(0, 90, size=(60, 1))}, None

def train(X, y):
    keras.utils.set_random_seed(0)
    image, age = keras.Input((4,), name="image"), keras.Input((1,), name="age", dtype="int64")
    scores = layers.Dense(3)(image) + keras.ops.cast(age, "float32")
    return keras.Model({"age": age, "image": image}, {"scores": scores, "best": keras.ops.max(scores, axis=1)})
"""


def folder(root: Path, train: str, toml: str) -> Path:
    return model_folder(root / "models", "net", toml=toml, train=START + train)


def context(at: Path) -> tuple[Context, Any]:
    """And what train() answers."""
    config, source = ModelConfig.load(at), Source.of(at)
    rows = split(config, *source.load())
    return Context(config=config, rows=rows, folder=at), lifecycle.fit(source, rows.X, rows.y)


@pytest.mark.parametrize(
    ("train", "toml", "inputs", "outputs"),
    [
        (DENSE, CLASSIFIER, {"input": ("FP32", (-1, 4))}, {"label": ("BYTES", (-1,)), "probabilities": ("FP32", (-1, 3))}),
        (CONV, CLASSIFIER, {"input": ("FP32", (-1, 8, 8, 1))}, {"label": ("INT64", (-1,)), "probabilities": ("FP32", (-1, 2))}),
        (STEPS, REGRESSOR, {"input": ("FP32", (-1, 6, 3))}, {"prediction": ("FP32", (-1, 1))}),
        (TOKENS, CLASSIFIER, {"input": ("INT64", (-1, 7))}, {"label": ("INT64", (-1,)), "probabilities": ("FP32", (-1, 2))}),
        (
            PAIR,
            CUSTOM,
            {"image": ("FP32", (-1, 4)), "age": ("INT64", (-1, 1))},
            {"scores": ("FP32", (-1, 3)), "best": ("FP32", (-1,))},
        ),
    ],
    ids=["dense", "conv", "steps", "tokens", "pair"],
)
def test_what_is_built_answers_as_the_network_does(tmp_path: Path, train: str, toml: str, inputs: Any, outputs: Any) -> None:
    built = lifecycle.build(ModelConfig.load(folder(tmp_path, train, toml)), models=tmp_path / "models", output=tmp_path / "build")
    manifest = built.manifest
    assert built.failures == ()
    assert {spec.name: (spec.datatype, spec.shape) for spec in manifest.inputs} == inputs
    assert {spec.name: (spec.datatype, spec.shape) for spec in manifest.outputs} == outputs
    assert manifest.parity is not None
    assert (manifest.parity.disagreement, manifest.row_wise, manifest.opset[""]) == (0, True, 18)
    assert manifest.parity.largest_difference < 1e-5
    assert manifest.lineage is not None
    assert manifest.lineage.framework.startswith("keras 3.")


@pytest.mark.parametrize(("train", "toml"), [(CONV, CLASSIFIER), (STEPS, REGRESSOR)], ids=["conv", "steps"])
def test_two_exports_are_the_same_bytes(tmp_path: Path, train: str, toml: str) -> None:
    found, trained = context(folder(tmp_path, train, toml))
    net = adapt(trained, found)
    first, second = (net.to_onnx("net").SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert str(tmp_path).encode() not in first


@pytest.mark.parametrize("kind", ["net.keras", "net.h5", "folder"])
def test_its_files_answer_as_the_network_that_was_saved(tmp_path: Path, kind: str) -> None:
    found, net = context(folder(tmp_path, CONV, CLASSIFIER))
    X = found.rows.held_out_X
    expected = adapt(net, found).answers(X)
    net.export(tmp_path / kind, verbose=False) if kind == "folder" else net.save(tmp_path / kind)
    again = adapt(keras_nets.load(tmp_path / kind, found), found)
    np.testing.assert_allclose(again.answers(X)["probabilities"], expected["probabilities"], atol=1e-6)
    model = convert.convert("net", "classification", again, X)
    label, probabilities = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": X})
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-5)
    assert np.array_equal(label, expected["label"])


def test_a_saved_model_finds_its_inputs_by_name(tmp_path: Path) -> None:
    found, net = context(folder(tmp_path, PAIR, CUSTOM))
    net.export(tmp_path / "saved", verbose=False)
    again, X = adapt(keras_nets.load(tmp_path / "saved", found), found), found.rows.held_out_X
    expected, answers = adapt(net, found).answers(X), again.answers(X)
    assert set(answers) == set(expected)
    assert all(np.allclose(answers[name], expected[name], atol=1e-6) for name in expected)
    with pytest.raises(BuildFailed, match=r"the SavedModel takes (image, age|age, image), and X has image, size"):
        again.answers({"image": X["image"], "size": X["age"]})


@keras.saving.register_keras_serializable(package="tests", name="Doubled")
class Doubled(keras.layers.Layer):  # type: ignore[name-defined,misc]  # Keras has no types that mypy finds
    """A layer that a file names and does not hold."""

    def call(self, values: Any) -> Any:
        return 2 * values


def saved(root: Path, kind: str) -> Path:
    file = root / "net.keras"
    match kind:
        case "lambda":
            keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda values: 2 * values)]).save(file)
        case "own":
            keras.Sequential([keras.Input((2,)), Doubled()]).save(file)
            keras.saving.get_custom_objects().clear()
        case "text":
            file.write_text("not a network")
        case _:
            (file := root / "empty").mkdir()
    return file


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("lambda", r"net.keras has a Lambda layer, which is Python code that would run as it is opened.*model.export\(FOLDER\)"),
        ("own", r"net.keras has Doubled, a class of its own, which the file doesn't hold; return the model itself from train\(\)"),
        ("text", r"net.keras is no model of Keras that can be opened.*save it again"),
        ("empty", r"empty is a folder without saved_model.pb; expected a SavedModel"),
    ],
)
def test_a_file_that_is_no_network_is_told(tmp_path: Path, kind: str, message: str) -> None:
    at = folder(tmp_path, DENSE, CLASSIFIER)
    found = Context(config=ModelConfig.load(at), rows=split(ModelConfig.load(at), *Source.of(at).load()), folder=at)
    with pytest.raises(BuildFailed, match=message):
        keras_nets.load(saved(tmp_path, kind), found)


OWN = """
def load():
    return random.normal(size=(40, 4)).astype(np.float32), random.normal(size=40)

def train(X, y):
    rows = keras.Input((4,))
    return keras.Model(rows, layers.Lambda(lambda x: LAMBDA)(rows))
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("keras.ops.fft((x, x))[0]", r"ONNX has no operator (Complex|\w*FFT\w*); write that step"),
        ("x + keras.random.normal(keras.ops.shape(x))", "answers the same rows otherwise each time"),
        ("[x, x]", "regression needs one tensor of numbers"),
        ("keras.ops.stack([x, x], axis=2)", r"regression needs one tensor \[rows, values\]"),
    ],
    ids=["operator", "random", "several", "rank"],
)
def test_a_network_that_can_not_be_served_is_told_with_the_way_out(tmp_path: Path, code: str, message: str) -> None:
    found, trained = context(folder(tmp_path, OWN.replace("LAMBDA", code), REGRESSOR))
    with pytest.raises(BuildFailed, match=message):
        adapt(trained, found).to_onnx("net")


def test_a_lambda_that_train_returns_is_converted(tmp_path: Path) -> None:
    found, trained = context(folder(tmp_path, OWN.replace("LAMBDA", "keras.ops.sum(x, axis=1, keepdims=True)"), REGRESSOR))
    model = adapt(trained, found).to_onnx("net")
    X = found.rows.held_out_X
    (answer,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": X})
    np.testing.assert_allclose(answer, X.sum(axis=1, keepdims=True), atol=1e-5)
