"""The handler's own time over the bare run."""

import json
from typing import Any

import pytest

from tools.bench import warm
from tools.bench.warm import overhead


def test_overhead_is_the_median_of_what_is_added_to_each_bare_run(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(1000, 2000), (1000, 4000), (9000, 12_000), (1000, 5000), (1000, 101_000)]
    monkeypatch.setattr(warm, "OVERHEAD", f"print({json.dumps(pairs)})")
    result = overhead(bare_subject, rounds=5)
    assert (result.ours, result.floor, result.compared, result.runs) == (5.0, 1.0, 3.0, 5)
