"""Requests that run as one against one after the other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.bench import batches


def test_a_gain_is_a_ratio_below_one(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_TOGETHER", f"print({json.dumps([(4000, 2000), (4000, 1000), (8000, 4000)])})")
    result = batches.joined(bare_subject, turns=3)
    assert (result.ours, result.floor, result.compared, result.met) == (2.0, 4.0, 0.5, True)
