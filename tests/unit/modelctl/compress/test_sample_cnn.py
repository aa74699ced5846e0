"""The sample CNN: at least 3.5 times smaller for at most a point of accuracy, as it is without torch and with it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from threadpoolctl import threadpool_limits

from models.config import MODELS, ModelConfig
from tools.modelctl.compress.probing import answers
from tools.modelctl.compress.quantize import static_int8
from tools.modelctl.compress.subject import Subject
from tools.modelctl.data import Split, split, tensors
from tools.modelctl.latency import Measured, measure
from tools.modelctl.source import Source

CONFIG = ModelConfig.load(MODELS / "digits_cnn")


@pytest.fixture(scope="module")
def rows() -> Split:
    return split(CONFIG, *Source.of(MODELS / "digits_cnn").load())


def compressed(model: onnx.ModelProto, rows: Split, folder: Path) -> tuple[float, float, dict[str, Measured]]:
    """How many times smaller by static-int8, the points of accuracy that it costs, and what both take."""
    found = static_int8(Subject(config=CONFIG, model=model, rows=rows))
    files = {"parent": folder / "parent.onnx", "int8": folder / "int8.onnx"}
    for file, graph in zip(files.values(), (model, found), strict=True):
        file.write_bytes(graph.SerializeToString())
    inputs = tensors(rows.held_out_X)
    before, after = (100 * np.mean(answers(graph, inputs)["label"] == rows.held_out_y) for graph in (model, found))
    sizes = [file.stat().st_size for file in files.values()]
    return sizes[0] / sizes[1], float(before - after), measure(files, inputs, seconds=0.2)


def trained(name: str, rows: Split) -> onnx.ModelProto:
    """By one of the two functions of its train.py."""
    train: Any = getattr(sys.modules["models.digits_cnn.train"], name)
    with threadpool_limits(1):
        found: onnx.ModelProto = train(rows.X, rows.y).to_onnx("digits_cnn")
    return found


def test_dense_as_it_is_without_torch(rows: Split, tmp_path: Path) -> None:
    smaller, points, found = compressed(trained("_dense", rows), rows, tmp_path)
    assert smaller >= 3.5
    assert points <= 1
    assert [batch.rows for batch in found["int8"].latency] == [1, 32, 256]


def test_convolutional_as_it_is_with_torch(rows: Split, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra torch is not installed")
    smaller, points, found = compressed(trained("_convolutional", rows), rows, tmp_path)
    assert smaller >= 3.5
    assert points <= 1
    assert [batch.rows for batch in found["int8"].latency] == [1, 32, 256]
