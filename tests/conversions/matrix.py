"""All models that are converted, and all that are known not to."""

from __future__ import annotations

from tests.conversions import boosters, estimators, failures, networks

__all__ = ["CONVERTED", "REFUSED"]

CONVERTED = (*estimators.CASES, *boosters.CASES, *networks.CASES)
REFUSED = (*failures.CASES, *boosters.FAILURES, *networks.FAILURES)
