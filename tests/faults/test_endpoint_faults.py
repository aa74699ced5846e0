"""A sample of the faults of an endpoint, what makes a trial fail, and that the document says what is tried."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.faults.endpoint_scenarios import ENDPOINT_SCENARIOS, EndpointScenario
from tests.faults.endpoint_trial import EndpointResult, attempt_endpoint
from tests.faults.report import ENDPOINT_MARKED, promised_of_endpoint, rows
from tests.faults.trial import AT_ONCE
from tests.faults.world import World

pytestmark = [pytest.mark.xdist_group("faults"), pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program")]

SCENARIOS = {scenario.name: scenario for scenario in ENDPOINT_SCENARIOS}
SAMPLE = (
    "503 ServiceUnavailable, twice",
    "a kept connection is reset, and every other",
    "a hundred answers more than requests",
    "an answer after the deadline",
    "job: S3 is busy for the job",
)
BUSY, MORE = SCENARIOS["503 ServiceUnavailable"], SCENARIOS["a kept connection is closed behind an answer"]
MISTAKEN = {
    "an answer for a refusal": (replace(MORE, kind="ModelFailed"), ("expected 400", "in the metrics, found none")),
    "another error": (replace(BUSY, says="404"), ("'404', found",)),
    "another number of calls": (replace(BUSY, calls=1), ("expected 1 calls of the runtime, found 3",)),
}


@pytest.fixture(scope="module")
def results(moto_services: None) -> Iterator[dict[str, Future[EndpointResult]]]:
    """Of everything that is tried here, by its name."""
    trials: dict[str, EndpointScenario] = {name: SCENARIOS[name] for name in SAMPLE}
    trials |= {name: scenario for name, (scenario, _) in MISTAKEN.items()}
    with World() as world, ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(attempt_endpoint, world, number, each) for number, (name, each) in enumerate(trials.items())}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_fault_is_met_as_expected_and_the_next_request_is_answered(results, name):
    assert results[name].result().problems == ()


@pytest.mark.parametrize("name", MISTAKEN)
def test_a_trial_tells(results, name):
    expected = MISTAKEN[name][-1]
    found = results[name].result().problems
    assert len(found) == len(expected)
    assert all(part in problem for part, problem in zip(expected, found, strict=True)), found


def test_every_scenario_has_a_name_of_its_own():
    assert len(SCENARIOS) == len(ENDPOINT_SCENARIOS)


def test_the_document_says_what_is_tried_and_expected():
    """`python -m tests.faults --markdown` rewrites it."""
    assert rows(ENDPOINT_MARKED) == [promised_of_endpoint(scenario) for scenario in ENDPOINT_SCENARIOS]
