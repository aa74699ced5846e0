"""Stores what was built while a bar shows it, for the commands that publish."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from modelserve.manifest import Manifest
from modelserve.registry import Registry
from tools.modelctl.console import transfer
from tools.modelctl.deployment import Deployment

if TYPE_CHECKING:
    from tools.modelctl.built import Built

__all__ = ["upload"]


def upload(target: Deployment, what: str, built: Built, publish: Callable[[Registry], Manifest]) -> Manifest:
    """By `publish`, which is given the model store; the bar is named after `what`."""
    size = sum(file.stat().st_size for file in built.files.values())
    with transfer(f"Uploading {what}", size) as moved:
        return publish(target.registry(moved))
