"""What can go wrong with a process that is measured."""

from __future__ import annotations

__all__ = ["MeasureError"]


class MeasureError(Exception):
    """What is measured did not do what it was measured for, or can't be measured; or what was kept of it can't be read or shown."""
