"""`make fairness`: how long a quiet client's jobs wait beside a noisy one's, as a table and a plot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tools.bench.queues import Done, Mapping, Queue, Work, load, simulate
from tools.local.assembly import Assembly, Stack
from tools.local.errors import LocalError
from tools.local.synth import CDK_OUT, layers, synthesize

__all__ = ["Scenario", "chart", "mappings", "scenarios"]

_BARS = "▁▂▃▄▅▆▇█"
_BINS = 50
_SHORTEST, _LONGEST = 0.1, 1000.0
"""Seconds that a plot shows, on a logarithmic scale."""
_COLOURS = ("#cf222e", "#0969da", "#1a7f37")

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What became of everybody's jobs under one way to queue them."""

    name: str
    done: Sequence[Done]
    """Of both clients, in the order in which they were taken."""

    def waits(self, client: str) -> list[Done]:
        return [each for each in self.done if each.job.client == client]


def scenarios(high: Mapping, low: Mapping, work: Work, *, noisy_jobs: int, quiet_every: float, seconds: float, seed: int) -> list[Scenario]:
    """The same jobs first come first served; in groups, a client each; and with the quiet client's in the queue of high priority."""
    noisy, quiet = load(noisy_jobs=noisy_jobs, quiet_every=quiet_every, seconds=seconds, seed=seed)
    apart = [*simulate(quiet, Queue(fair=True), high, work), *simulate(noisy, Queue(fair=True), low, work)]
    return [
        Scenario(name="one queue", done=simulate(noisy + quiet, Queue(fair=False), low, work)),
        Scenario(name="fair queue", done=simulate(noisy + quiet, Queue(fair=True), low, work)),
        Scenario(name="high queue", done=apart),
    ]


def mappings(stacks: Sequence[Stack]) -> tuple[Mapping, Mapping]:
    """How Lambda takes from the queues of high and of low priority, as the templates say. Raises `LocalError` where they don't."""
    found: dict[str, Mapping] = {}
    for stack in stacks:
        names = {logical_id: str(properties.get("QueueName", "")) for logical_id, properties in stack.resources("AWS::SQS::Queue")}
        for _, properties in stack.resources("AWS::Lambda::EventSourceMapping"):
            queue = names.get(properties.get("EventSourceArn", {}).get("Fn::GetAtt", [""])[0], "")
            found[queue.rpartition("-")[2]] = Mapping(
                batch_size=properties.get("BatchSize", 10), concurrency=properties.get("ScalingConfig", {}).get("MaximumConcurrency", 1000)
            )
    if not {"high", "low"} <= found.keys():
        raise LocalError("no stack takes jobs from queues of high and low priority; is a model's target lambda?")
    return found["high"], found["low"]


@app.command()
def fairness(
    *,
    noisy_jobs: Annotated[int, typer.Option(min=1, help="Jobs that the noisy client sends in the first second.")] = 5000,
    quiet_every: Annotated[float, typer.Option(min=0.1, help="Seconds between jobs of the quiet client, in the mean.")] = 5.0,
    seconds: Annotated[float, typer.Option(min=1, help="For how long the quiet client sends jobs.")] = 600.0,
    batch_seconds: Annotated[float, typer.Option(min=0, help="What a batch takes, however many jobs are in it.")] = 0.2,
    job_seconds: Annotated[float, typer.Option(min=0, help="What each job of a batch adds.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of when jobs come.")] = 0,
    svg: Annotated[Path | None, typer.Option(help="Draw it here too.")] = None,
) -> None:
    """Simulate a quiet client beside a noisy one, with batch sizes and concurrency of the synthesized dev deployment.

    A simulation of what AWS documents of fair queues, not a measurement of SQS.
    """
    console = Console()
    try:
        layers()
        synthesize()
        high, low = mappings(Assembly.load(CDK_OUT, "dev").stacks)
    except LocalError as error:
        console.print(f"fairness: {error}", style="red")
        raise typer.Exit(1) from None
    found = scenarios(
        high, low, Work(batch=batch_seconds, job=job_seconds), noisy_jobs=noisy_jobs, quiet_every=quiet_every, seconds=seconds, seed=seed
    )
    console.print(f"{noisy_jobs:,} jobs of a noisy client at once, one of a quiet client every {quiet_every:g} s for {seconds:g} s.")
    console.print(f"Low queue: {low.concurrency} batches of {low.batch_size}; high queue: {high.concurrency} of {high.batch_size}.")
    console.print(_table(found))
    console.print(
        f"The quiet client's longest waits over time; {_BARS[0]} is {_SHORTEST:g} s or less, {_BARS[-1]} {_LONGEST:,.0f} s, logarithmic:"
    )
    for scenario in found:
        console.print(f"  {scenario.name:10}  {_spark(scenario, seconds)}", highlight=False)
    if svg:
        svg.write_text(chart(found, seconds), "utf-8")
        console.print(f"Drawn: {svg}")


def _table(found: Sequence[Scenario]) -> Table:
    table = Table("", "client", "jobs", "median", "95%", "longest", "all taken", box=None, padding=(0, 2, 0, 0))
    for scenario in found:
        for number, client in enumerate(("quiet", "noisy")):
            waits = scenario.waits(client)
            parts = quantiles([each.waited for each in waits], n=20, method="inclusive")
            longest, last = max(each.waited for each in waits), max(each.taken for each in waits)
            shown = [f"{value:,.1f} s" for value in (parts[9], parts[18], longest, last)]
            table.add_row("" if number else scenario.name, client, f"{len(waits):,}", *shown)
    return table


def _spark(scenario: Scenario, seconds: float) -> str:
    """A bar for each part of the time, as high as the longest wait of a job sent in it; none where no job was."""
    bins: list[float | None] = [None] * _BINS
    for each in scenario.waits("quiet"):
        at = min(_BINS - 1, int(each.job.sent / seconds * _BINS))
        bins[at] = max(bins[at] or 0.0, each.waited)
    return "".join(" " if value is None else _BARS[round(_height(value) * (len(_BARS) - 1))] for value in bins)


def _height(seconds: float) -> float:
    """From 0 to 1, logarithmic."""
    if seconds <= _SHORTEST:
        return 0.0
    return min(1.0, math.log(seconds / _SHORTEST) / math.log(_LONGEST / _SHORTEST))


def chart(found: Sequence[Scenario], seconds: float) -> str:
    """The quiet client's waits as an SVG: a dot a job, a colour a scenario."""
    left, top, width, height = 70, 70, 640, 220
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 {top + height + 50}" role="img" font-family="system-ui, sans-serif" '
        'font-size="12"><title>How long a quiet client waits beside a noisy one</title>',
        "<style>text{fill:#1f2328}.grid{stroke:#d0d7de}@media (prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}}</style>",
    ]
    for tick in (0.1, 1, 10, 100, 1000):
        y = top + height * (1 - _height(tick))
        parts.append(
            f'<path class="grid" d="M{left} {y:.1f}h{width}"/><text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g} s</text>'
        )
    parts.append(f'<text x="{left}" y="{top + height + 20}">sent after 0 s</text>')
    parts.append(f'<text x="{left + width}" y="{top + height + 20}" text-anchor="end">{seconds:g} s</text>')
    parts.append(
        f'<text x="{left}" y="{top + height + 40}">Waits of the quiet client: a dot is a job; 0.1 s and less lie on the lowest line.</text>'
    )
    for number, (scenario, colour) in enumerate(zip(found, _COLOURS, strict=True)):
        y = 14 + 18 * number
        parts.append(f'<circle cx="{left + 5}" cy="{y}" r="4" fill="{colour}"/><text x="{left + 16}" y="{y + 4}">{scenario.name}</text>')
        for each in scenario.waits("quiet"):
            x, y = left + width * each.job.sent / seconds, top + height * (1 - _height(each.waited))
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>\n"])


if __name__ == "__main__":
    app()
