"""What a function process may see on its disk: its task root, and beside the standard library nothing but what AWS would add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["TaskRoot"]


@dataclass(frozen=True, kw_only=True)
class TaskRoot:
    """A function's code, ready to run."""

    folder: Path
    """The working directory of the process and its LAMBDA_TASK_ROOT."""
    before: tuple[Path, ...]
    """Searched before the standard library."""
    after: tuple[Path, ...] = ()
    """Searched after it."""
    handler: str
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the image sets; the function's own variables win."""
    wrapper: Path | None = None
    """A script of the image that AWS has start its bootstrap (AWS_LAMBDA_EXEC_WRAPPER)."""
