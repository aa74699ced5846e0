"""Speaks to the person at the terminal: answers on stdout, progress and errors on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

__all__ = ["BETWEEN", "err", "fail", "next_step", "note", "out", "print_json", "steps", "table", "transfer"]

# No markup: a reason or a label such as "[/]" is text, not a style.
out = Console(highlight=False, markup=False)
err = Console(stderr=True, highlight=False, markup=False)

BETWEEN = 2
"""Characters between the columns of a table."""
_LEAST = 8 + BETWEEN
"""Characters that are left to a column that may be broken."""


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


class _Table(Table):
    """Cuts nothing: where unbroken columns leave no room for the others, all are broken, which rich would shorten without a word."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = [[Measurement.get(console, options, cell).maximum for cell in (column.header, *column.cells)] for column in self.columns]
        widths = [max(cells) + BETWEEN if column.no_wrap else _LEAST for column, cells in zip(self.columns, whole, strict=True)]
        if sum(widths) > options.max_width:
            for column in self.columns:
                column.no_wrap = False
        yield from super().__rich_console__(console, options)


def table(*columns: str, title: str | None = None) -> Table:
    """Columns whose names begin with `>` hold numbers; these, and those that begin with `=`, are broken last."""
    found = _Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, BETWEEN, 0, 0))
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
