"""Timing models against each other."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelserve.errors import UnverifiedModel
from tests.unit.modelserve.graphs import endless_for
from tools.modelctl import latency
from tools.modelctl.errors import BuildFailed
from tools.modelctl.latency import measure

ROWS = {"input": np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)}


def graph(folder: Path, layers: int, *, rows: int | None = None) -> Path:
    """As many multiplications by a 64x64 matrix."""
    names = ["input", *(f"layer{layer}" for layer in range(layers - 1)), "output"]
    nodes = [helper.make_node("MatMul", [before, "weight"], [after]) for before, after in pairwise(names)]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, 64]) for name in ("input", "output")]
    weight = numpy_helper.from_array(np.eye(64, dtype=np.float32), "weight")
    model = helper.make_model(helper.make_graph(nodes, "layers", tensors[:1], tensors[1:], [weight]), ir_version=8)
    file = folder / f"{layers}-{rows}.onnx"
    onnx.save(helper.make_model(model.graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)
    return file


def test_a_model_of_twenty_times_the_work_takes_longer_at_every_batch(tmp_path: Path) -> None:
    found = measure({"small": graph(tmp_path, 1), "large": graph(tmp_path, 20)}, ROWS, seconds=0.2)
    for small, large in zip(found["small"].latency, found["large"].latency, strict=True):
        assert small.rows == large.rows
        assert small.p50_us < large.p50_us
        assert small.p50_us <= small.p90_us
    assert [batch.rows for batch in found["small"].latency] == [1, 32, 256]
    assert 0 < found["small"].load_ms < found["large"].load_ms


def test_models_take_turns_and_each_is_first_in_turn() -> None:
    order: list[str] = []
    latency._in_turn({name: partial(order.append, name) for name in "abc"}, 0)
    assert "".join(order) == "abcbcacab"


def test_a_budget_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock that it reads, which here stands still but for what the calls take."""
    now = [0.0]
    monkeypatch.setattr("tools.modelctl.latency.time.perf_counter", lambda: now[0])

    def call() -> None:
        now[0] += 0.01

    assert len(latency._in_turn({"model": call}, 0.1)["model"]) in {10, 11}


def test_a_batch_that_the_graph_does_not_take_is_left_out(tmp_path: Path) -> None:
    found = measure({"fixed": graph(tmp_path, 1, rows=32)}, ROWS, seconds=0.01)["fixed"]
    assert [batch.rows for batch in found.latency] == [32]
    assert found.p50(1) is None
    assert found.p50(32) == found.latency[0].p50_us


def test_a_batch_that_would_run_for_longer_than_there_is_time_is_left_out(tmp_path: Path) -> None:
    found = measure({"model": graph(tmp_path, 20)}, ROWS, batches=(1, 2_000_000), seconds=0.01)
    assert [batch.rows for batch in found["model"].latency] == [1]


def test_a_batch_that_never_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "_DEADLINE", 0.1)
    file, rows = tmp_path / "model.onnx", {"x": np.ones((5, 2), np.float32)}
    file.write_bytes(endless_for(256))
    with pytest.raises(BuildFailed, match=r"^step did not answer 256 rows at once within 0\.1 s; .* a Loop$"):
        measure({"step": file}, rows, seconds=1.0)
    assert [batch.rows for batch in measure({"step": file}, rows, batches=(1, 32), seconds=0.01)["step"].latency] == [1, 32]


def test_text_is_measured_too(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("text", TensorProto.STRING, [None, 1])
    answer = helper.make_tensor_value_info("same", TensorProto.STRING, [None, 1])
    body = helper.make_graph([helper.make_node("Identity", ["text"], ["same"])], "text", [value], [answer])
    onnx.save(helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "text.onnx")
    rows = {"text": np.array([["a"], ["äpfel"]], dtype=object)}
    assert len(measure({"text": tmp_path / "text.onnx"}, rows, seconds=0.01)["text"].latency) == 3


def test_what_cannot_be_loaded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not ONNX")
    with pytest.raises(UnverifiedModel, match="the graph of 'model'"):
        measure({"model": tmp_path / "model.onnx"}, ROWS, seconds=0.01)
