"""A sample of what `make faults` does to queues, and what makes a trial fail."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults import queue_trial
from tests.faults.queue_trial import QueueResult, attempt_copies, attempt_kills, attempt_poison
from tests.faults.queues import Works

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")]

KILLS, COPIES = "workers killed", "one job many times"
POISON = "a job that kills its process among nine"


@pytest.fixture(scope="module")
def results(moto_services: None) -> Iterator[dict[str, Future[QueueResult]]]:
    """Of everything that is tried here, by its name; they wait for visibility timeouts, and not for the processor."""
    with Works() as works, ThreadPoolExecutor(3) as pool:
        tried: dict[str, Future[Any]] = {KILLS: pool.submit(attempt_kills, works, "killed", kills=3, jobs=40, environments=2)}
        tried[COPIES] = pool.submit(attempt_copies, works, "copies", copies=30, environments=2)
        tried[POISON] = pool.submit(attempt_poison, works, "poison", POISON)
        yield tried
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", [KILLS, COPIES, POISON])
def test_no_job_is_lost_or_doubled_whatever_becomes_of_its_worker_or_neighbour(results, name):
    assert results[name].result().problems == ()


class _Line:
    """Of a queue that lost a job and told nobody, answered one wrong and twice, told of one twice, and gave up another."""

    def __init__(self) -> None:
        self.deliveries: dict[str, int] = {}

    def job(self, job: Any) -> Any:
        return type("Job", (), {"status": "succeeded"}) if job.id != "lost" else None

    def results(self) -> dict[str, list[Any]]:
        return {"doubled": [[1.0] * 3, [2.0] * 3], "again": [[4.0] * 3, [4.0] * 3]}

    def told(self) -> Counter[tuple[str, str]]:
        return Counter({("Job Succeeded", "doubled"): 1, ("Job Succeeded", "again"): 2})

    def dead(self) -> list[str]:
        return ["a message"]


def test_a_trial_tells():
    line: Any = _Line()
    jobs: dict[int, Any] = {number: type("Job", (), {"id": name}) for number, name in enumerate(("lost", "doubled", "again", "unkept"))}
    found = queue_trial._after_kills(line, jobs, 1, 60.0)
    assert found.problems == (
        "2 jobs lost",
        "1 jobs doubled",
        "1 jobs answered wrong",
        "2 jobs untold",
        "1 messages in the DLQ",
        "drained 60.0 s after the last kill; expected 18 s at most",
    )
    assert "1 doubled, 1 written again alike, 1 told twice" in found.found
