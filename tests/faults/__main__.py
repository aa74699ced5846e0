"""`make faults`: breaks the store and the endpoint of real functions in every way there is a scenario for, and prints what callers got."""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from tests.faults import report
from tests.faults.endpoint_scenarios import ENDPOINT_SCENARIOS
from tests.faults.endpoint_trial import EndpointResult, attempt_endpoint
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import AT_ONCE, Result, attempt
from tests.faults.world import World

app = typer.Typer(add_completion=False)


@app.command()
def faults(
    only: Annotated[str, typer.Option(help="Scenarios with this in their name.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the tables into docs/reliability.md.")] = False,
) -> None:
    """Try every fault of the store, on a cold start and on a function that has answered, then those of an endpoint.

    Ends with 1 when one was not met as expected.
    """
    console = Console(stderr=True)
    if sys.platform != "linux":
        console.print(
            "faults: the Lambda Runtime Interface Emulator is a Linux program; open this folder in its dev container", style="red"
        )
        raise typer.Exit(1)
    store, endpoint = _tried(console, only)
    output = Console()
    output.print(report.table(store), report.endpoint_table(endpoint))
    problems = [*(result.problems for result in store), *(result.problems for result in endpoint)]
    failed = sum(map(bool, problems))
    output.print(f"{len(problems) - failed} of {len(problems)} as expected; after each fault the same process answers right")
    if markdown and not only:
        report.write(report.MARKED, report.HEADERS, [report.measured(each) for each in store])
        report.write(report.ENDPOINT_MARKED, report.ENDPOINT_HEADERS, [report.promised_of_endpoint(each.scenario) for each in endpoint])
    if failed:
        raise typer.Exit(1)


def _tried(console: Console, only: str) -> tuple[list[Result], list[EndpointResult]]:
    """What came of each trial, in the order of the tables."""
    chosen = [(number, each) for number, each in enumerate(SCENARIOS) if only in each.name]
    asked = [(number, each) for number, each in enumerate(ENDPOINT_SCENARIOS) if only in each.name]
    with World() as world, Progress(console=console, transient=True) as progress, ThreadPoolExecutor(AT_ONCE) as pool:
        store = [pool.submit(attempt, world, number, each, start) for number, each in chosen for start in each.starts]
        endpoint = [pool.submit(attempt_endpoint, world, number, each) for number, each in asked]
        trials: list[Future[Any]] = [*store, *endpoint]
        for _ in progress.track(as_completed(trials), len(trials), description="faults"):
            pass
        return [each.result() for each in store], [each.result() for each in endpoint]


if __name__ == "__main__":
    app()
