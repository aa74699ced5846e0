"""The functions' processes behind the local gateway: which are alive, and what they hold in memory."""

from __future__ import annotations

import contextlib

import psutil

__all__ = ["functions"]

_EMULATOR = "aws-lambda-rie"


def functions() -> dict[int, tuple[str, int]]:
    """Of this process's deployment: the function's name and its resident bytes, by process id."""
    found: dict[int, tuple[str, int]] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent and parent.name().startswith(_EMULATOR):
                environment = process.environ()
                name = environment.get("MODEL_NAME") or environment.get("AWS_LAMBDA_FUNCTION_NAME", "?")
                found[process.pid] = (name, process.memory_info().rss)
    return found
