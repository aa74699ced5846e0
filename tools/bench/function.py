"""The function's process as the image starts it, invoked as often as a measurement asks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from tools.bench.processes import command
from tools.bench.programs import FUNCTION
from tools.bench.subject import Subject
from tools.loopback.bootstrap import arguments
from tools.loopback.processes import THREADS
from tools.loopback.runtime import Invoked, invoked

__all__ = ["Function"]


@dataclass(frozen=True)
class Function:
    """A function's process, with one thread for whatever has several; it is the predict function where no program is given."""

    subject: Subject
    program: str = FUNCTION
    arguments: tuple[str, ...] | None = None

    def start(self) -> AbstractContextManager[Invoked]:
        """A fresh process. Raises `MeasureError`."""
        line = command(
            self.subject.root, self.program, *(arguments(self.subject.root.wrapper) if self.arguments is None else self.arguments)
        )
        return invoked(line, event=self.subject.event, cwd=self.subject.root.folder, environ={**THREADS, **self.subject.environ})
