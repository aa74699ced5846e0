"""What can go wrong before a request is served: each says what was found, what was expected, what to do."""

from __future__ import annotations

__all__ = ["LocalError"]


class LocalError(Exception):
    """The app can't run here; the message is for a person."""
