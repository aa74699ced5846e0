"""The convolutional sample: its graph is the articles' network, and the same file serves on both targets."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import orjson
import pytest

from models.config import MODELS, ModelConfig
from models.digits_cnn.train import Network
from modelserve.manifest import MODEL_FILE, Manifest
from modelserve.registry import Registry
from tests.unit.modelctl.factories import MemoryStore
from tools.modelctl import lifecycle
from tools.modelctl.source import Source

pytestmark = pytest.mark.xdist_group("models")
CONFIG = ModelConfig.load(MODELS / "digits_cnn")


def made(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Weights of the whole network, from nowhere."""
    shapes = {"filters": (32, 1, 3, 3), "hidden": (5408, 128), "last": (128, 10)}
    shapes |= {"filters_bias": (32,), "hidden_bias": (128,), "last_bias": (10,)}
    return {name: random.standard_normal(shape).astype(np.float32) / 10 for name, shape in shapes.items()}


def reference(weights: Mapping[str, np.ndarray], images: np.ndarray) -> np.ndarray:
    """Convolution, ReLU, maximum over 2x2, two dense layers, softmax."""
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (3, 3), axis=(1, 2))
    convolved = np.einsum("nijkl,fkl->nfij", windows, weights["filters"][:, 0]) + weights["filters_bias"][:, None, None]
    pooled = np.maximum(convolved, 0).reshape(len(images), 32, 13, 2, 13, 2).max(axis=(3, 5))
    hidden = np.maximum(pooled.reshape(len(images), -1) @ weights["hidden"] + weights["hidden_bias"], 0)
    powers = np.exp(hidden @ weights["last"] + weights["last_bias"])
    answer: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return answer


def test_the_graph_is_the_network_of_the_articles_with_or_without_torch() -> None:
    random = np.random.default_rng(0)
    weights, images = made(random), random.random((20, 1, 28, 28), np.float32)
    network = Network(framework="made", classes_=np.arange(10), predict_proba=lambda images: reference(weights, images), weights=weights)
    model = network.to_onnx("digits_cnn")
    operators = " ".join(node.op_type for node in model.graph.node)
    assert operators == "Conv Relu MaxPool Flatten Gemm Relu Gemm Softmax ArgMax"
    label, probabilities = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": images})
    np.testing.assert_allclose(probabilities, network.predict_proba(images), atol=1e-5)
    assert np.array_equal(label, network.predict(images))


def test_an_image_is_its_64_pixels_enlarged() -> None:
    X, y = Source.of(MODELS / "digits_cnn").load()
    assert (X.shape, X.dtype, len(y)) == ((1797, 1, 28, 28), np.float32, 1797)
    assert (X.min(), X.max()) == (0, 1)
    small, _ = Source.of(MODELS / "digits").load()
    np.testing.assert_array_equal(X[:, 0, 3:26:3, 3:26:3].reshape(-1, 64) * 16, small)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Manifest, Path]]:
    """The manifest and the file that its function loads, by target; the two differ in that one line."""
    found = {}
    for target in ("lambda", "gpu"):
        root, registry = tmp_path_factory.mktemp(target), Registry(MemoryStore())
        folder = root / "models" / "digits_cnn"
        folder.mkdir(parents=True)
        text = (MODELS / "digits_cnn" / "model.toml").read_text("utf-8")
        assert 'target = "gpu"' in text
        (folder / "model.toml").write_text(text.replace('target = "gpu"', f'target = "{target}"'), "utf-8")
        (folder / "train.py").write_bytes((MODELS / "digits_cnn" / "train.py").read_bytes())
        built = lifecycle.build(ModelConfig.load(folder), models=root / "models", output=root / "build")
        found[target] = (lifecycle.publish(registry, built), built.model)
    return found


def test_one_line_moves_it_from_one_target_to_the_other(published: dict[str, tuple[Manifest, Path]]) -> None:
    (own, own_file), (heavy, heavy_file) = published["lambda"], published["gpu"]
    assert own_file.read_bytes() == heavy_file.read_bytes()
    assert own.version.partition("-")[2] == heavy.version.partition("-")[2]
    assert (own.inputs, own.outputs, own.labels, own.metrics) == (heavy.inputs, heavy.outputs, heavy.labels, heavy.metrics)
    assert [(spec.datatype, spec.shape) for spec in heavy.inputs] == [("FP32", (-1, 1, 28, 28))]
    assert (own.max_batch, heavy.max_batch) == (None, CONFIG.gpu.max_batch)


@pytest.mark.parametrize("target", ["lambda", "gpu"])
def test_what_is_published_answers_its_example(published: dict[str, tuple[Manifest, Path]], target: str) -> None:
    manifest, file = published[target]
    assert MODEL_FILE in {stored.path for stored in manifest.files}
    (tensor,) = orjson.loads((file.parent / "example.json").read_bytes())["inputs"]
    image = np.array(tensor["data"], np.float32).reshape(tensor["shape"])
    label, probabilities = onnxruntime.InferenceSession(file).run(None, {"input": image})
    assert (label.shape, probabilities.shape) == ((1,), (1, 10))
    assert onnx.load(file).graph.name == "digits_cnn"
