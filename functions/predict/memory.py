"""Holds the process below its function's memory: what asks for too much is refused then, where Lambda would kill the process."""

from __future__ import annotations

import resource
from collections.abc import Mapping

__all__ = ["hold"]

_SHARE = 0.9  # the rest is for what RLIMIT_DATA doesn't count: the libraries' code, and AWS's own processes


def hold(environ: Mapping[str, str]) -> None:
    """Bounds private memory (RLIMIT_DATA, since Linux 4.7 with mappings); no bound where no function's memory is known."""
    if megabytes := int(environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 0)):
        most = int(megabytes * 2**20 * _SHARE)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
