"""Loading large models beside plain ONNX."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelserve.manifest import File, Load
from tools.bench import formats
from tools.bench.big_models import small_resnet_sample
from tools.bench.measures import Options, Unavailable
from tools.modelctl.loading.timing import Timed


def test_both_sides_take_turns_and_each_pair_is_compared(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    orders, times = [], {"onnx": iter([200.0, 300.0]), "ours": iter([20.0, 15.0])}

    def timed(subjects: list[dict[str, Any]], _requests: list[Path], *, threads: int) -> list[Timed]:
        orders.append([(subject["name"], Path(subject["file"]).name) for subject in subjects])
        assert threads == 1
        assert json.loads(json.dumps(subjects)), "what a process of its own is told"
        found = []
        for subject in subjects:
            value = next(times[subject["name"]])
            runs = ([], []) if subject["name"] == "onnx" else ([1000 * value], [16_000.0])
            found.append(Timed(name=subject["name"], load_ms=value, first_ms=1.0, answers=[], runs_us=runs[0], beside_us=runs[1]))
        return found

    load = Load(format="external", files=(File(path="model.mapped.onnx", size=1, sha256=""),))
    monkeypatch.setattr(formats, "fastest", lambda *_: (load, {"external": {}}))
    monkeypatch.setattr(formats, "timed", timed)
    ticks: list[int] = []
    loads, answers, runs = formats.measure(bare_subject, Options(quick=True), lambda: ticks.append(1))
    assert loads.compared == pytest.approx(0.075)
    assert (loads.floor, loads.ours, loads.bar, loads.met) == (250.0, 17.5, 0.1, True)
    assert answers.compared == pytest.approx((21 / 201 + 16 / 301) / 2)
    assert (answers.bar, answers.met) == (1.1, True)
    assert (runs.floor, runs.ours, runs.bar) == (16.0, 17.5, 1.1)
    assert runs.compared == pytest.approx((20 / 16 + 15 / 16) / 2)
    assert orders == 2 * [[("onnx", "model.onnx"), ("ours", "model.mapped.onnx")]]
    assert len(ticks) == 2


def test_a_case_without_a_bar_is_told_and_held_to_nothing() -> None:
    one = Timed(name="", load_ms=1.0, first_ms=1.0, answers=[], runs_us=[1.0], beside_us=[1.0])
    case = formats._Case("network, any CPU", small_resnet_sample(), "any", None)
    results = list(formats._results(case, [(one, one)]))
    assert [each.bar for each in results] == [None] * 3
    assert "any CPU" in results[0].notes["network, any CPU"]


def test_without_anything_to_time_with_it_is_left_out(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "fastest", lambda *_: (None, {}))
    with pytest.raises(Unavailable, match=r"ONNX Runtime's library"):
        list(formats.measure(bare_subject, Options(quick=True), lambda: None))
