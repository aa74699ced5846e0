"""The samples' graphs in torch, on the CPU: the same answers as ONNX Runtime's. Needs the extra `torch`."""

import numpy as np
import pytest
from onnx import helper

from models.config import MODELS
from models.digits_cnn.train import Network
from tests.unit.models.test_digits_cnn import made
from tools.bench.devices import cpu
from tools.bench.gpu import compare
from tools.bench.samples import transformer
from tools.loopback.errors import MeasureError
from tools.modelctl.scaffold.transformer.train import Sizes

pytest.importorskip("torch", reason="the extra torch is not installed")
SMALL = Sizes(layers=2, hidden=16, heads=4, inner=32, vocabulary=20, tokens=5, classes=3)


def test_the_transformer_answers_as_in_onnx_runtime() -> None:
    from tools.bench.torch_graph import open_graph

    sample = transformer(SMALL)
    for _ in range(2):  # nothing of a run is left for the next
        difference, equal = compare(cpu(1).open(sample.model)(sample.rows), open_graph(sample.model, "cpu")(sample.rows))
        assert difference < 1e-5
        assert equal == len(sample.rows)


def test_the_convolutional_network_answers_as_in_onnx_runtime() -> None:
    from tools.bench.torch_graph import open_graph

    random = np.random.default_rng(0)
    model = Network("made", np.arange(10), lambda images: images, made(random)).to_onnx(MODELS.name)
    images = random.random((20, 1, 28, 28), np.float32)
    difference, equal = compare(cpu(1).open(model)(images), open_graph(model, "cpu")(images))
    assert difference < 1e-5
    assert equal == 20


def test_an_operator_that_it_does_not_know_is_named() -> None:
    from tools.bench.torch_graph import open_graph

    graph = helper.make_graph([helper.make_node("Sinh", ["input"], ["label"])], "odd", [], [])
    with pytest.raises(MeasureError, match="torch runs no Sinh here"):
        open_graph(helper.make_model(graph), "cpu")
