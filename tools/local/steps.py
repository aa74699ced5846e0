"""Shows each step of a long start as it happens, with its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

__all__ = ["Step", "Steps"]


class Step:
    """One step while it runs; `detail` is shown in its line once it is done.

    `began` (seconds of `time.perf_counter`) may be set back, for what was under way beside the steps before.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self.began = time.perf_counter()
        self.detail = ""
        self._show = show

    def tell(self, what: str) -> None:
        """What it is doing now."""
        self._show(what)


class Steps:
    """A line for each step on the console."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, name: str) -> Iterator[Step]:
        """A step that ends in an exception leaves a line that says so, and the exception."""
        with self._console.status(name) as status:
            step = Step(lambda what: status.update(f"{name}: {what}"))
            try:
                yield step
            except BaseException:
                self._line("✗", "red", name, step.began, "")
                raise
        self._line("✓", "green", name, step.began, step.detail)

    def _line(self, mark: str, colour: str, name: str, began: float, detail: str) -> None:
        seconds = f"{time.perf_counter() - began:6.1f} s  "
        self._console.print(Text.assemble((f"{mark} ", colour), f"{name:<22}", (seconds, "cyan"), (detail, "dim")), soft_wrap=True)
