"""What a function's memory decides: the bound that its process is held below, so that Lambda needn't kill it, and its threads."""

from __future__ import annotations

import resource
from collections.abc import Mapping

__all__ = ["hold", "threads"]

_VCPU_MEGABYTES = 1769  # that come with one virtual CPU

_SHARE = 0.9  # the rest is for what RLIMIT_DATA doesn't count: the libraries' code, and AWS's own processes


def hold(megabytes: int) -> None:
    """Bounds private memory for the rest of this process, to a share of what its function has; 0 leaves it unbounded.

    RLIMIT_DATA counts mappings on Linux only (since 4.7); elsewhere nothing is held.
    """
    if megabytes:
        most = int(megabytes * 2**20 * _SHARE)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def threads(environ: Mapping[str, str]) -> int:
    """As many as the function has whole virtual CPUs, one at least."""
    return max(1, int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0)) // _VCPU_MEGABYTES)
