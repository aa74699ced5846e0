"""A sample of `make faults`, what makes a trial fail, and that the document says what is tried."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Fault
from tests.faults.report import DOCUMENT, MARKED, promised
from tests.faults.scenarios import MODEL, SCENARIOS, Expected, Scenario, Start
from tests.faults.trial import attempt
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


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World() as opened:
        yield opened


@pytest.mark.parametrize(
    ("scenario", "start"), [pytest.param(*trial, id=f"{trial[0].name}-{trial[1]}") for trial in TRIALS if trial[0].name in SAMPLE]
)
def test_a_fault_is_met_as_expected_and_forgotten_a_second_later(world, scenario, start):
    assert attempt(world, SCENARIOS.index(scenario), scenario, start).problems == ()


def test_every_name_of_the_sample_is_a_scenario():
    assert set(SAMPLE) <= {scenario.name for scenario in SCENARIOS}
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)


BUSY = Fault(on=MODEL, instead=failure(503, "SlowDown"))
MISTAKEN = {
    "an answer for a refusal": ((), Expected(outcome="refuses", says="SlowDown"), "expected 503"),
    "a refusal for an answer": ((BUSY,), Expected(outcome="answers", counts="StoreUnavailable"), "expected 3.0 of"),
    "another error": ((BUSY,), Expected(outcome="refuses", says="AccessDenied", counts="StoreUnavailable"), "'AccessDenied'"),
    "another kind": ((BUSY,), Expected(outcome="refuses", says="SlowDown", counts="UnverifiedModel"), "in the log, found"),
    "a fault that nobody met": ((Fault(on="nowhere"),), Expected(outcome="answers"), "not met as often"),
}


@pytest.mark.parametrize(("faults", "cold", "problem"), MISTAKEN.values(), ids=MISTAKEN)
def test_a_trial_tells(world, request, faults, cold, problem):
    scenario = Scenario(name="mistaken", faults=faults, cold=cold)
    number = len(SCENARIOS) + list(MISTAKEN).index(request.node.callspec.id)

    (found,) = attempt(world, number, scenario, "cold").problems

    assert problem in found


def test_the_document_says_what_is_tried_and_expected():
    """GETs, the last column, are measured; `make faults` rewrites them with `python -m tests.faults --markdown`."""
    text = MARKED.search(DOCUMENT.read_text("utf-8"))
    assert text
    rows = [tuple(cell.strip() for cell in line.strip("|\n").split("|")[:-1]) for line in text[0].strip().splitlines()[2:]]
    assert rows == [promised(scenario, start) for scenario, start in TRIALS]
