"""The attacked deployment: the tests' own local stack with the targets promoted in it, and the processes of its functions."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

from tests.hostile.targets import TARGETS
from tests.local.heavy import Heavy
from tests.local.releases import Served
from tools.local.stack import LocalStack

__all__ = ["functions", "publish"]

_EMULATOR = "aws-lambda-rie"


def publish(stack: LocalStack, folder: Path) -> None:
    """Promotes one version of every target."""
    for target in TARGETS:
        served = Served(stack, target.name, folder)
        model = Heavy(served, stack) if target.gpu else served
        model.promote(model.publish(target.model()))


def functions() -> dict[int, tuple[str, int]]:
    """Those that this program runs: the function's name and its resident bytes, by process id."""
    found: dict[int, tuple[str, int]] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            parent = process.parent()
            if parent and parent.name().startswith(_EMULATOR):
                environment = process.environ()
                name = environment.get("MODEL_NAME") or environment.get("AWS_LAMBDA_FUNCTION_NAME", "?")
                found[process.pid] = (name, process.memory_info().rss)
    return found
