"""What a bench says of its numbers."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools.bench import measures
from tools.bench.measures import Result, overhead
from tools.bench.runtime import BenchError
from tools.local.roots import TaskRoot


def a_result(**changes: Any) -> Result:
    values: dict[str, Any] = {
        "name": "cold start",
        "unit": "ms",
        "ours": 120.0,
        "floor": 100.0,
        "compared": 1.2,
        "spread": (1.1, 1.3),
        "bar": 1.3,
        "comparison": "ratio to the floor",
        "runs": 15,
    }
    return Result(**{**values, **changes})


@pytest.mark.parametrize(("compared", "met"), [(1.29, True), (1.3, True), (1.31, False)])
def test_a_promise_is_kept_up_to_its_bar(compared: float, met: bool) -> None:
    result = a_result(compared=compared)
    assert (result.met, result.to_dict()["met"]) == (met, met)


def a_subject(folder: Path) -> Any:
    """Only what the programs below look at."""
    root = TaskRoot(folder=folder, before=(folder,), after=(), handler="app.handler")
    return SimpleNamespace(root=root, event={"body": "{}"}, environ={"BENCH": "1"}, model=folder / "model.onnx")


def test_overhead_is_the_median_of_what_is_added_to_each_bare_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(1000, 2000), (1000, 4000), (9000, 12_000), (1000, 5000), (1000, 101_000)]
    monkeypatch.setattr(measures, "OVERHEAD", f"print({json.dumps(pairs)})")
    result = overhead(a_subject(tmp_path), rounds=5)
    assert (result.ours, result.floor, result.compared) == (5.0, 1.0, 3.0)
    assert result.spread == (2.0, 52.0)  # of what is added: 1, 3, 3, 4 and 100 us
    assert result.runs == 5


def test_a_program_that_fails_fails_the_bench_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "OVERHEAD", "raise SystemExit('no such model')")
    with pytest.raises(BenchError, match="no such model"):
        overhead(a_subject(tmp_path), rounds=5)


def test_programs_see_the_images_folders_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "OVERHEAD", "import sys; raise SystemExit(' '.join(sys.path))")
    with pytest.raises(BenchError) as raised:
        overhead(a_subject(tmp_path), rounds=5)
    assert str(tmp_path) in str(raised.value)
    assert "site-packages" not in str(raised.value)


def test_cold_starts_are_compared_pair_by_pair_and_the_first_pair_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may be slower in one minute than in another; the ratio within a pair does not see it."""
    floors, ours = iter([50.0, 0.1, 0.2, 0.4]), iter([90.0, 0.11, 0.24, 0.44])
    monkeypatch.setattr(measures, "_floor_seconds", lambda _: next(floors))
    monkeypatch.setattr(measures, "_function_seconds", lambda _: next(ours))
    ticks: list[int] = []
    result = measures.cold_start(a_subject(Path(sys.prefix)), rounds=3, tick=lambda: ticks.append(1))
    assert result.compared == pytest.approx(1.1)
    assert (result.ours, result.floor) == (240.0, 200.0)
    assert (result.runs, len(ticks)) == (3, 4)
