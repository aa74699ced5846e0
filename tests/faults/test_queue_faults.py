"""A sample of what `make faults` does to queues, and what makes a trial fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults import queue_trial
from tests.faults.queue_trial import QUEUE_TRIALS, QueueResult, attempt_kills, attempt_poison
from tests.faults.queues import Works

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")]

KILLS = "workers killed"


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Future[QueueResult]]]:
    """Of everything that is tried here, by its name; they wait for visibility timeouts, and not for the processor."""
    with Works() as works, ThreadPoolExecutor(3) as pool:
        tried: dict[str, Future[Any]] = {KILLS: pool.submit(attempt_kills, works, "killed", kills=3, jobs=40, environments=2)}
        for number, kind in enumerate(QUEUE_TRIALS):
            tried[kind] = pool.submit(attempt_poison, works, f"poison-{number}", kind)
        yield tried
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", [KILLS, *QUEUE_TRIALS])
def test_no_job_is_lost_or_doubled_whatever_becomes_of_its_worker_or_neighbour(results, name):
    assert results[name].result().problems == ()


class _Line:
    """Of a queue that lost a job, answered one wrong and gave up another."""

    def __init__(self) -> None:
        self.deliveries: dict[str, int] = {}

    def job(self, job: Any) -> None:
        return None

    def results(self) -> dict[str, list[Any]]:
        return {"a result": [[1.0], [2.0]]}

    def log(self) -> list[dict[str, Any]]:
        return []

    def dead(self) -> list[str]:
        return ["a message"]


def test_a_trial_tells():
    line: Any = _Line()
    job: Any = type("Job", (), {"id": "a", "result": "a result"})
    found = queue_trial._after_kills(line, {1: job}, 1, 60.0)
    assert found.problems == (
        "1 jobs lost",
        "1 jobs doubled",
        "1 jobs answered wrong",
        "1 messages in the DLQ",
        "drained 60.0 s after the last kill; expected 26 s at most",
    )
