"""Some hundred requests of `make hostile`: each answered as its making says, and the next valid one right."""

from __future__ import annotations

import sys

import pytest

from modelserve.endpoints import Response
from tests.hostile.corpus import drawn, fixed, generate
from tests.hostile.deployment import functions, publish
from tests.hostile.draft import valid
from tests.hostile.judge import Tally, play, problem_of
from tests.hostile.targets import NUMBERS, TARGETS
from tests.hostile.wire import Wire

pytestmark = [
    pytest.mark.xdist_group("release"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]

THEMES = ("answer", "authorization", "cut", "framing", "method", "name", "path", "text")
_LARGE = 2**19
"""Bytes of a body; the larger ones take seconds in all, and `make hostile` sends them."""


@pytest.fixture(scope="module")
def wire(release, tmp_path_factory):
    publish(release, tmp_path_factory.mktemp("attacked"))
    with Wire(release.url, release.key) as wire:
        yield wire


def played(wire, cases) -> Tally:
    tally = Tally()
    for index, case in enumerate(cases):
        play(wire, index, case, tally)
    return tally


@pytest.mark.parametrize("theme", THEMES)
def test_a_hostile_request_is_answered_as_it_should_be_and_the_next_one_right(wire, theme):
    cases = [case for case in fixed() if case.theme == theme and len(case.body) < _LARGE]
    tally = played(wire, cases[:: max(1, len(cases) // 60)])
    assert [f"{failure.case.title}: {failure.problem}" for failure in tally.failures] == []
    assert tally.server_errors == 0


def test_drawn_requests_are_too_and_no_process_ends_of_them(wire):
    played(wire, [valid(target).case("valid", "warm-up", 200) for target in TARGETS])
    before = functions().keys()
    tally = played(wire, drawn(60, seed=7))
    assert [f"{failure.case.title}: {failure.problem}" for failure in tally.failures] == []
    assert before <= functions().keys()


def test_every_theme_is_played():
    assert {case.theme for case in fixed()} == set(THEMES)


def test_a_seed_draws_the_same_requests_and_another_seed_others():
    count = len(fixed()) + 40
    first, again, other = generate(count, 1), generate(count, 1), generate(count, 2)
    assert first == again
    assert {case.title for case in other} != {case.title for case in first}


def test_a_wrong_answer_is_not_taken_for_a_right_one(wire):
    """Else the corpus would prove nothing."""
    right = valid(NUMBERS)
    right.outputs.arrays["y"] += 1
    (failure,) = played(wire, [right.case("valid", "another answer", 200)]).failures
    assert failure.problem.startswith("y holds [0.0, 2.0, 4.0]")
    (failure,) = played(wire, [valid(NUMBERS).case("valid", "another status", 400)]).failures
    assert failure.problem.startswith("status 200, expected 400")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {}, b"<html>"),
        (200, {}, b"[]"),
        (200, {}, b"{}"),
        (200, {"Inference-Header-Content-Length": "many"}, b"{}"),
        (400, {"Content-Type": "application/json"}, b"<html>"),
        (400, {"Content-Type": "application/json"}, b"7"),
    ],
)
def test_an_answer_that_nobody_can_read_is_a_problem_and_does_not_end_the_run(status, headers, body):
    case = valid(NUMBERS).case("valid", "any", status)
    assert problem_of(case, Response(status, headers, body)).startswith("no answer of the protocol")
