"""`make faults`: breaks store, endpoint and queue of real functions in every way there is a trial for, and prints what callers got."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from tests.faults import report
from tests.faults.endpoint_scenarios import ENDPOINT_SCENARIOS
from tests.faults.endpoint_trial import EndpointResult, attempt_endpoint
from tests.faults.queue_trial import QUEUE_TRIALS, QueueResult, attempt_copies, attempt_kills, attempt_poison
from tests.faults.queues import Works
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import AT_ONCE, Result, attempt
from tests.faults.world import World

app = typer.Typer(add_completion=False)
_KILLS = 100


@app.command()
def faults(
    only: Annotated[str, typer.Option(help="Scenarios with this in their name.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Write the tables into docs/reliability.md.")] = False,
) -> None:
    """Try every fault of the store, on a cold start and on a function that has answered, then those of an endpoint and of a queue.

    Ends with 1 when one was not met as expected.
    """
    console = Console(stderr=True)
    if sys.platform != "linux":
        console.print(
            "faults: the Lambda Runtime Interface Emulator is a Linux program; open this folder in its dev container", style="red"
        )
        raise typer.Exit(1)
    store, endpoint = _tried(console, only)
    queue = _tried_on_queues(console, only)
    output = Console()
    output.print(report.table(store), report.endpoint_table(endpoint), report.queue_table(queue))
    problems = [*(each.problems for each in store), *(each.problems for each in endpoint), *(each.problems for each in queue)]
    failed = sum(map(bool, problems))
    output.print(f"{len(problems) - failed} of {len(problems)} as expected; after each fault the same process answers right")
    if markdown and not only:
        report.write(report.MARKED, report.HEADERS, [report.measured(each) for each in store])
        report.write(report.ENDPOINT_MARKED, report.ENDPOINT_HEADERS, [report.promised_of_endpoint(each.scenario) for each in endpoint])
        report.write(report.QUEUE_MARKED, report.QUEUE_HEADERS, [(each.name, each.promised, each.found) for each in queue])
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


def _tried_on_queues(console: Console, only: str) -> list[QueueResult]:
    """Likewise; the workers of one trial at a time have the processor."""
    trials: dict[str, Callable[[Works], QueueResult]] = {
        kind: partial(attempt_poison, name=f"poison-{number}", kind=kind) for number, kind in enumerate(QUEUE_TRIALS)
    }
    trials[f"kill -9 of a worker at {_KILLS} random points of its batches"] = partial(
        attempt_kills, name="killed", kills=_KILLS, jobs=100, environments=4
    )
    trials["the same job 100 times, to 4 workers at once"] = partial(attempt_copies, name="copies", copies=100, environments=4)
    chosen = [trial for name, trial in trials.items() if only in name]
    if not chosen:
        return []
    with Works() as works, Progress(console=console, transient=True) as progress:
        return [trial(works) for trial in progress.track(chosen, description="queues")]


if __name__ == "__main__":
    app()
