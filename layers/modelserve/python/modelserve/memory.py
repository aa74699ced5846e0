"""Holds a process below its function's memory: what asks for too much is refused then, where Lambda would kill the process."""

from __future__ import annotations

import resource

__all__ = ["hold"]

_SHARE = 0.9  # the rest is for what RLIMIT_DATA doesn't count: the libraries' code, and AWS's own processes


def hold(megabytes: int) -> None:
    """Bounds private memory for the rest of this process, to a share of what its function has; 0 leaves it unbounded.

    RLIMIT_DATA counts mappings on Linux only (since 4.7); elsewhere nothing is held.
    """
    if megabytes:
        most = int(megabytes * 2**20 * _SHARE)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
