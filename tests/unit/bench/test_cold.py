"""Cold starts beside their floor."""

from typing import Any

import pytest

from tools.bench import cold


def test_cold_starts_are_compared_pair_by_pair_and_the_first_pair_is_left_out(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    floors, ours = iter([50.0, 0.1, 0.2, 0.4]), iter([90.0, 0.11, 0.24, 0.44])
    monkeypatch.setattr(cold, "_floor_seconds", lambda _: next(floors))
    monkeypatch.setattr(cold, "_function_seconds", lambda _: next(ours))
    ticks: list[int] = []
    result = cold.cold_start(bare_subject, rounds=3, tick=lambda: ticks.append(1))
    assert result.compared == pytest.approx(1.1)
    assert (result.ours, result.floor) == (240.0, 200.0)
    assert (result.runs, len(ticks)) == (3, 4)
