"""`make bench`: prints each promise about speed beside what was measured just now."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tools.bench import cold, data_sets, warm
from tools.bench.measures import Options, Result
from tools.bench.runtime import BenchError
from tools.bench.store import MemoryStore
from tools.bench.subject import MODEL, Subject
from tools.local.errors import LocalError

app = typer.Typer(add_completion=False)


@app.command()
def bench(
    rounds: Annotated[int, typer.Option(min=4, help="Cold starts of each side.")] = 15,
    calls: Annotated[int, typer.Option(min=100, help="Warm calls.")] = 5000,
    rows: Annotated[int, typer.Option(min=10_000, help="Rows of a data set; memory is measured with ten times as many too.")] = 100_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Measure cold start and overhead of the predict function, and data sets, against the least that Python can do.

    Both sides run in turns, in fresh processes, with the packages of the image. Only the ratios carry over to another machine.
    """
    console = Console(stderr=True)
    try:
        with MemoryStore() as store, Progress(console=console, transient=True) as progress:
            task = progress.add_task("measuring", total=None)
            subject, options = Subject.prepare(store), Options(rounds=rounds, calls=calls, rows=rows)
            results = [
                found for module in (cold, warm, data_sets) for found in module.measure(subject, options, lambda: progress.advance(task))
            ]
    except (BenchError, LocalError) as error:
        console.print(f"bench: {error}", style="red")
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps([result.to_dict() for result in results], indent=2))
    else:
        Console().print(_table(results))
        print(f"Model: {MODEL}; Python {sys.version.split()[0]}. Missed a bar? Run it again on an idle machine before you believe it.")


def _table(results: list[Result]) -> Table:
    caption = "\n".join(f"{number}: {result.comparison}, {result.runs} runs" for number, result in enumerate(results, 1))
    table = Table("", "what", "ours", "floor", "compared", "quartiles", "bar", "", caption=caption, caption_justify="left")
    for number, result in enumerate(results, 1):
        first, third = result.spread
        table.add_row(
            str(number),
            result.name,
            f"{result.ours:.1f} {result.unit}",
            f"{result.floor:.1f} {result.unit}",
            f"{result.compared:.2f}",
            f"{first:.2f} … {third:.2f}",
            f"{result.bar:g}",
            "[green]met[/]" if result.met else "[red]missed[/]",
        )
    return table


if __name__ == "__main__":
    app()
