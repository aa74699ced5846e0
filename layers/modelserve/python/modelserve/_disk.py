"""Writing to a function's disk, which is as large as model.toml says."""

from __future__ import annotations

import os

from .errors import StoreUnavailable

__all__ = ["write"]


def write(descriptor: int, data: bytes | memoryview, at: int, *, name: str) -> int:
    """All of `data` at an offset into a file; the offset behind it. Raises `StoreUnavailable` with what to do."""
    left = memoryview(data)
    try:
        while left:
            written = os.pwrite(descriptor, left, at)
            left, at = left[written:], at + written
    except OSError as error:
        raise StoreUnavailable(name, f"{error.strerror} while writing; raise ephemeral_storage in model.toml") from None
    return at
