"""Rows on their way through a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Block", "shown"]


@dataclass
class Block:
    """Rows as read: the columns that the model needs, and the rows as they stood in the file where that is text."""

    rows: int
    columns: dict[str, Any]
    """Arrow arrays by name, null where a value is missing; of lists, or of anything that `values` turns into the input's datatype."""
    size: int
    """Bytes of the file that the rows took."""
    lines: Any = None
    """A binary array; None for Parquet, whose columns are copied as they are."""
    bad: dict[int, str] = field(default_factory=dict)
    """Row to the reason why the model is not asked."""
    broken: dict[int, bytes] = field(default_factory=dict)
    """Row to what is written in its place, where it could not be read as a row of the format at all."""
    ends: bool = True
    """Whether a row group ends here."""


def shown(value: object) -> str:
    """A value in a reason: never more than 60 characters of a row."""
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 50 else text[:47] + "...")[:60]
