"""Which events of a batch failed, by what the function answered, as Lambda's documentation of ReportBatchItemFailures has it."""

from __future__ import annotations

import json
from collections.abc import Collection

__all__ = ["failed_items"]


def failed_items(payload: bytes, known: Collection[str]) -> set[str]:
    """A part of `known`; all of it where the answer can't be read: no JSON, an identifier that is empty, missing or of no event."""
    everything = set(known)
    try:
        answer = json.loads(payload or b"null")
        failures = [] if answer is None else (answer.get("batchItemFailures") or [])
        failed = {each["itemIdentifier"] for each in failures}
    except (ValueError, AttributeError, KeyError, TypeError):
        return everything
    return everything if failed - everything else failed
