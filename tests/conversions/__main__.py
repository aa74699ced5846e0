"""`make conversions`: every kind of model, converted as modelctl converts it: how far is the graph from the original?"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from tests.conversions.case import Case, Outcome, missing, run
from tests.conversions.matrix import CONVERTED, REFUSED

app = typer.Typer(add_completion=False)
_CONSOLE = Console(highlight=False, width=max(Console().width, 150))  # a row a model, in a log too


@app.command()
def conversions(
    only: Annotated[str, typer.Option(help="Models with this in their name.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="A list instead of the tables.")] = False,
) -> None:
    """Ends with 1 unless every model agrees with its graph, or is refused with the advice that is known for it."""
    chosen = [case for case in (*CONVERTED, *REFUSED) if only.lower() in case.name.lower()]
    with tempfile.TemporaryDirectory() as folder:
        outcomes = list(_each(chosen, Path(folder), quiet=as_json))
    left_out = [case for case in chosen if missing(case)]
    if as_json:
        listed = {"models": [_facts(outcome) for outcome in outcomes], "not_installed": [case.name for case in left_out]}
        sys.stdout.write(json.dumps(listed, indent=2) + "\n")
    else:
        _report(outcomes, left_out)
    if not outcomes or not all(outcome.expected for outcome in outcomes):
        raise typer.Exit(1)


def _each(cases: Sequence[Case], folder: Path, *, quiet: bool) -> Iterator[Outcome]:
    with _CONSOLE.status("") as status:
        if quiet:
            status.stop()
        for case in cases:
            if not missing(case):
                status.update(case.name)
                yield run(case, folder)


def _facts(outcome: Outcome) -> dict[str, Any]:
    found = outcome.parity
    compared = {"rows": found.rows, "disagreement": found.disagreement, "largest_difference": found.largest_difference} if found else {}
    told = {"told": outcome.problem} if outcome.problem else {}
    return {
        "model": outcome.case.name,
        "converter": outcome.case.converter,
        **compared,
        **told,
        "seconds": round(outcome.seconds, 3),
        "verdict": outcome.verdict,
        "expected": outcome.expected,
    }


def _report(outcomes: Sequence[Outcome], left_out: Sequence[Case]) -> None:
    converted = [outcome for outcome in outcomes if not outcome.case.refused]
    refused = [outcome for outcome in outcomes if outcome.case.refused]
    if converted:
        _CONSOLE.print(Padding(_compared(converted), (1, 0, 1, 0)))
    if refused:
        _CONSOLE.print("What doesn't convert, and what is told of it:")
        _CONSOLE.print(Padding(_told(refused), (1, 0, 1, 0)))
    for needs in dict.fromkeys(case.needs for case in left_out):
        names = ", ".join(case.name for case in left_out if case.needs == needs)
        _CONSOLE.print(
            f"Not installed: {needs} ({names}). Run: .venv/bin/uv sync --frozen --inexact --extra {needs}", style="yellow", soft_wrap=True
        )
    same, told = (sum(outcome.expected for outcome in group) for group in (converted, refused))
    seconds = sum(outcome.seconds for outcome in outcomes)
    _CONSOLE.print(f"{same}/{len(converted)} converted and the same, {told}/{len(refused)} refused with advice, in {seconds:.0f} s")


def _compared(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("model", "converted by", "rows", "labels differ", "allowed", "largest difference", "allowed", "s", "verdict"):
        table.add_column(
            heading, justify="left" if heading in {"model", "converted by", "verdict"} else "right", no_wrap=heading != "verdict"
        )
    for outcome in outcomes:
        found, allowed = outcome.parity, outcome.case.allowed
        labelled = outcome.case.task != "regression"
        table.add_row(
            outcome.case.name,
            outcome.case.converter,
            str(found.rows) if found else "",
            f"{found.disagreement:.2%}" if found and labelled else "",
            f"{allowed.disagreement:.0%}" if labelled else "",
            f"{found.largest_difference:.1e}" if found else "",
            f"{allowed.tolerance:g}",
            f"{outcome.seconds:.2f}",
            outcome.verdict,
            style=None if outcome.expected else "red",
        )
    return table


def _told(outcomes: Sequence[Outcome]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for outcome in outcomes:
        advice = outcome.problem.partition("can't be converted to ONNX: ")[2] or outcome.problem
        text = (
            advice.partition("; change the estimator in")[0] if outcome.expected else f"{outcome.verdict}: {outcome.problem or 'converted'}"
        )
        table.add_row(outcome.case.name, text, style=None if outcome.expected else "red")
    return table


if __name__ == "__main__":
    sys.exit(app())
