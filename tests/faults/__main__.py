"""`make faults`: breaks the store of a real function in every way there is a scenario for, and prints what its callers got."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.faults.report import table, write
from tests.faults.scenarios import SCENARIOS, Scenario, Start
from tests.faults.trial import AT_ONCE, Result, attempt
from tests.faults.world import World

app = typer.Typer(add_completion=False)


@app.command()
def faults(
    only: Annotated[str, typer.Option(help="Scenarios with this in their name.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the table into docs/reliability.md.")] = False,
) -> None:
    """Try every fault on a cold start and on a function that has answered; ends with 1 when one was not met as expected."""
    trials = [(number, each, start) for number, each in enumerate(SCENARIOS) if only in each.name for start in each.starts]
    console = Console(stderr=True)
    if sys.platform != "linux":
        console.print(
            "faults: the Lambda Runtime Interface Emulator is a Linux program; open this folder in its dev container", style="red"
        )
        raise typer.Exit(1)
    with World() as world, Progress(console=console, transient=True) as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        task = progress.add_task("faults", total=len(trials))

        def tried(trial: tuple[int, Scenario, Start]) -> Result:
            result = attempt(world, *trial)
            progress.advance(task)
            return result

        results = list(pool.map(tried, trials))
    output = Console()
    output.print(table(results))
    failed = sum(bool(result.problems) for result in results)
    output.print(f"{len(results) - failed} of {len(results)} as expected; a second after each fault the new version answers right")
    if markdown and not only:
        write(results)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
