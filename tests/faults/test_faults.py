"""A sample of `make faults`, what makes a trial fail, and that the document says what is tried."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.faults.proxy import Fault
from tests.faults.report import MARKED, promised, rows
from tests.faults.scenarios import MODEL, SCENARIOS, Expected, Scenario, Start
from tests.faults.trial import AT_ONCE, Result, attempt
from tests.faults.world import World
from tests.unit.modelserve.servers import failure

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")]

SAMPLE = (
    "503 SlowDown twice for the model",
    "expired credentials, renewed a second later",
    "reset in the middle of the model twice",
    "changed in the middle of the download",
    "a full disk",
    "two cold starts at once while S3 is busy",
)
TRIALS: list[tuple[Scenario, Start]] = [(each, start) for each in SCENARIOS for start in each.starts]


BUSY = Fault(on=MODEL, instead=failure(503, "SlowDown"))
MISTAKEN = {
    "an answer for a refusal": ((), Expected(outcome="refuses", says="SlowDown"), "expected 503"),
    "a refusal for an answer": ((BUSY,), Expected(outcome="answers", counts="StoreUnavailable"), "expected 3.0 of"),
    "another error": ((BUSY,), Expected(outcome="refuses", says="AccessDenied", counts="StoreUnavailable"), "'AccessDenied'"),
    "another kind": ((BUSY,), Expected(outcome="refuses", says="SlowDown", counts="UnverifiedModel"), "in the log, found"),
    "a fault that nobody met": ((Fault(on="nowhere"),), Expected(outcome="answers"), "not met as often"),
}
TRIED = {f"{scenario.name}-{start}": (scenario, start) for scenario, start in TRIALS if scenario.name in SAMPLE}


@pytest.fixture(scope="module")
def results(moto_services: None) -> Iterator[dict[str, Future[Result]]]:
    """Of everything that is tried here, by its name."""
    trials: dict[str, tuple[Scenario, Start]] = {**TRIED}
    trials |= {name: (Scenario(name="mistaken", faults=faults, cold=cold), "cold") for name, (faults, cold, _) in MISTAKEN.items()}
    with World() as world, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(attempt, world, number, *trial) for number, (name, trial) in enumerate(trials.items())}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", TRIED)
def test_a_fault_is_met_as_expected_and_forgotten_a_second_later(results, name):
    assert results[name].result().problems == ()


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_trial_tells(results, name):
    (found,) = results[name].result().problems
    assert MISTAKEN[name][-1] in found


def test_every_name_of_the_sample_is_a_scenario():
    assert set(SAMPLE) <= {scenario.name for scenario in SCENARIOS}
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


def test_the_document_says_what_is_tried_and_expected():
    """GETs, the last column, are measured; `make faults` rewrites them with `python -m tests.faults --markdown`."""
    assert [row[:-1] for row in rows(MARKED)] == [promised(scenario, start) for scenario, start in TRIALS]
