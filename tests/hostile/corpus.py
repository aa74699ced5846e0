"""All hostile requests: the fixed ones, and as many drawn ones as are asked for; a seed always gives the same."""

from __future__ import annotations

from functools import cache
from random import Random

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.hostile.case import Case
from tests.hostile.defects import document_cases
from tests.hostile.routes import authorizations, framings, routes
from tests.hostile.texts import texts
from tests.hostile.wires import wire_cases

__all__ = ["drawn", "fixed", "generate"]


def generate(count: int, seed: int) -> list[Case]:
    """Every fixed case and enough drawn ones for `count`, in an order that is the seed's too."""
    cases = [*fixed(), *drawn(max(0, count - len(fixed())), seed)]
    Random(seed).shuffle(cases)
    return cases


@cache
def fixed() -> tuple[Case, ...]:
    """The cases that somebody thought of."""
    return (*texts(), *routes(), *framings(), *authorizations())


def drawn(count: int, seed: int) -> list[Case]:
    """`count` cases of the strategies."""
    cases: list[Case] = []

    @seeded(seed)
    @settings(max_examples=max(count, 1), phases=[Phase.generate], database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(document_cases() | wire_cases())
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    return cases[:count]
