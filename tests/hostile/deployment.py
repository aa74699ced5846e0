"""The attacked deployment: the tests' own local stack, with the targets published and promoted in it."""

from __future__ import annotations

from pathlib import Path

from tests.hostile.targets import TARGETS
from tests.local.releases import Served
from tools.local.stack import LocalStack

__all__ = ["publish"]


def publish(stack: LocalStack, folder: Path) -> None:
    """Promotes one version of every target."""
    for target in TARGETS:
        model = Served(stack, target.name, folder)
        model.promote(model.publish(target.model()))
