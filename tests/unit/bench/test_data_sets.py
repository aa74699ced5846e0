"""What `make bench` measures of data sets, on few rows: that both sides do their work, and what a run takes of memory."""

from __future__ import annotations

import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from tools.bench import data_sets


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """30 numbers a row, as the tumour model has them."""
    import numpy as np

    X = np.random.default_rng(1).random((64, 30), np.float32)
    fitted = LogisticRegression().fit(X, X[:, 0] > 0.5)
    graph = to_onnx(fitted, X[:1], options={id(fitted): {"zipmap": False}}, initial_types=None)
    graph.graph.input[0].name, graph.graph.node[0].input[0] = "input", "input"
    for node in graph.graph.node:
        node.input[:] = ["input" if name == "X" else name for name in node.input]
    file = tmp_path_factory.mktemp("model") / "model.onnx"
    file.write_bytes(graph.SerializeToString())
    return file


@pytest.mark.slow
def test_ten_times_the_rows_take_hardly_more_memory(tmp_path, model, monkeypatch):
    """Less than the added numbers would, of which whoever reads all before it runs has several copies; `make bench` has Parquet too."""
    monkeypatch.setattr(data_sets, "_GROUP", 10_000)
    rows = (50_000, 500_000)
    few, many = (data_sets._run("ours", model, data_sets.make(tmp_path / f"{count}.csv", count))["megabytes"] for count in rows)
    assert many - few < (rows[1] - rows[0]) * 30 * 4 / 2**20


def test_the_bare_loop_runs(tmp_path, model):
    for suffix in ("parquet", "csv"):
        assert data_sets._run("bare", model, data_sets.make(tmp_path / f"a.{suffix}", 10_000))["seconds"] > 0
