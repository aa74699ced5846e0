"""Usage plans: a key's rate, burst and quota."""

from __future__ import annotations

import pytest

from tools.local.authorizer import Refused
from tools.local.usage import Plan, Usage

MIDNIGHT = 20_000 * 86_400.0


class Counted:
    """Usage by a clock that a test moves; `plans` may change."""

    def __init__(self, **plans):
        self.plans, self.now, self.reads = plans, MIDNIGHT, 0
        self._usage = Usage(self._read, clock=lambda: self.now)

    def _read(self):
        self.reads += 1
        return dict(self.plans)

    def call(self, key="ann"):
        try:
            self._usage.count(key)
        except Refused as refused:
            return refused.kind
        return "OK"


def test_a_burst_is_let_through_and_then_only_the_rate():
    counted = Counted(ann=Plan(rate=2, burst=3))
    assert [counted.call() for _ in range(5)] == ["OK"] * 3 + ["THROTTLED"] * 2
    counted.now += 0.5
    assert [counted.call() for _ in range(2)] == ["OK", "THROTTLED"]
    counted.now += 3600
    assert [counted.call() for _ in range(4)] == ["OK"] * 3 + ["THROTTLED"]


def test_one_key_does_not_use_up_anothers():
    counted = Counted(ann=Plan(rate=1, burst=1), bob=Plan(rate=1, burst=1))
    assert [counted.call(), counted.call(), counted.call("bob")] == ["OK", "THROTTLED", "OK"]


def test_a_quota_ends_at_midnight_and_counts_no_refusal():
    counted = Counted(ann=Plan(rate=1, burst=1, per_day=2))
    seen = []
    for _ in range(3):
        seen += [counted.call(), counted.call()]
        counted.now += 1
    assert seen == ["OK", "THROTTLED", "OK", "THROTTLED", "QUOTA_EXCEEDED", "THROTTLED"]
    counted.now = MIDNIGHT + 86_399
    assert counted.call() == "QUOTA_EXCEEDED"
    counted.now = MIDNIGHT + 86_400
    assert counted.call() == "OK"


def test_a_plan_without_limits_has_none():
    counted = Counted(ann=Plan())
    assert {counted.call() for _ in range(1000)} == {"OK"}


@pytest.mark.parametrize("key", [None, "", "nobody"])
def test_a_key_without_a_plan_is_no_key(key):
    assert Counted(ann=Plan()).call(key) == "INVALID_API_KEY"


def test_a_new_key_is_known_at_once_and_one_that_is_gone_after_a_second():
    counted = Counted(ann=Plan())
    counted.call()
    counted.plans = {"bob": Plan()}
    assert counted.call() == "OK"
    assert counted.reads == 1
    assert counted.call("bob") == "OK"
    counted.now += 1.1
    assert counted.call() == "INVALID_API_KEY"
