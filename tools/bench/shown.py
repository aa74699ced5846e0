"""Results in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table

from tools.bench.groups import Run
from tools.bench.kept import Kept, compare, differences
from tools.bench.measures import Result

__all__ = ["moved", "notes", "number", "omitted", "table"]


def table(results: Sequence[Result]) -> Table:
    """A line a result, a section a group; `notes` say what is compared with what."""
    shown = Table("", "what", "ours", "floor", "compared", "quartiles", "bar", "goal", "")
    for row, result in enumerate(results, 1):
        first, third = result.spread
        shown.add_row(
            str(row),
            result.name,
            f"{number(result.ours)} {result.unit}",
            f"{number(result.floor)} {result.unit}",
            number(result.compared),
            f"{number(first)} … {number(third)}",
            "" if result.bar is None else f"{result.bar:g}",
            "" if result.goal is None else f"{result.goal:g}",
            "" if result.bar is None else "[green]met[/]" if result.met else "[red]missed[/]",
            end_section=row < len(results) and results[row].group != result.group,
        )
    return shown


def notes(results: Sequence[Result]) -> Iterable[str]:
    """By the numbers of the table."""
    for row, result in enumerate(results, 1):
        yield "; ".join(
            [f"{row}: {result.comparison}", *(f"{part}: {text}" for part, text in result.notes.items()), f"runs: {result.runs}"]
        )


def omitted(run: Run) -> Iterable[str]:
    """Why groups have no results, as lines with rich's markup."""
    yield from (f"[yellow]{group}: not measured here: {_escaped(why)}[/]" for group, why in run.unavailable.items())
    yield from (f"[red]{group}: {_escaped(why)}[/]" for group, why in run.failed.items())


def moved(before: Kept, now: Kept) -> Iterable[str]:
    """What moved since results were kept, as lines with rich's markup."""
    if differing := differences(before, now):
        yield f"[yellow]Kept on another machine ({'; '.join(differing)}): ratios carry over, roughly.[/]"
    found = compare(before.results, now.results)
    for each in found:
        colour, word = ("red", "worse") if each.worse else ("green", "better")
        yield f"[{colour}]{word}[/]: {each.name}, {number(each.before)} on {before.date}, now {number(each.now)}"
    if not found:
        yield f"Nothing moved beyond its spread since {before.date}."


def number(value: float) -> str:
    """With as many digits as a measurement is worth."""
    return (
        f"{value:.3f}"
        if abs(value) < 0.1
        else f"{value:.2f}"
        if abs(value) < 10
        else f"{value:,.1f}"
        if abs(value) < 1000
        else f"{value:,.0f}"
    )


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
