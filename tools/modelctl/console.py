"""Speaks to the person at the terminal: answers on stdout, progress and errors on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["err", "fail", "next_step", "note", "out", "print_json", "steps", "table", "transfer"]

# No markup: a reason or a label such as "[/]" is text, not a style.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)


def print_json(document: Any) -> None:
    """For a program: nothing else goes to stdout then. Takes records of the model store too."""
    print(orjson.dumps(document, default=vars, option=orjson.OPT_INDENT_2).decode())


def next_step(command: str, deployment: str = "local") -> None:
    """The last line of a command: what to run now."""
    where = "" if deployment == "local" else f" --deployment {deployment}"
    out.print(Text.assemble(("Next: ", "dim"), f"{command}{where}"), soft_wrap=True)


def fail(text: str) -> None:
    """One paragraph, unwrapped so that commands in it can be copied."""
    err.print(Text.assemble(("Error: ", "bold red"), text), soft_wrap=True)


def note(text: str) -> None:
    """Something that a person should know, and no error."""
    err.print(Text.assemble(("Note: ", "bold yellow"), text), soft_wrap=True)


def table(*columns: str, title: str | None = None) -> Table:
    """Columns whose names begin with `>` hold numbers; those that begin with `=` are never broken."""
    found = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        number, whole = column.startswith(">"), column.startswith((">", "="))
        found.add_column(column.lstrip(">="), justify="right" if number else "left", no_wrap=whole, overflow="fold")
    return found


@contextmanager
def steps(title: str) -> Iterator[Callable[[str], None]]:
    """Shows each step while it runs, and with its time when the next one begins."""
    running: list[tuple[str, float]] = []

    def finish() -> None:
        for step, began in running:
            err.print(Text.assemble(("  ✓ ", "green"), step, (f" {time.perf_counter() - began:.1f} s", "dim")))
        running.clear()

    with err.status(title) as status:

        def begin(step: str) -> None:
            finish()
            running.append((step, time.perf_counter()))
            status.update(f"{title}: {step}")

        yield begin
        finish()


@contextmanager
def transfer(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar that is told the bytes of each piece."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)
