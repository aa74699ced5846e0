"""`make test-triton`: the same requests to a model in its function and to its twin behind a real Triton: is it the same answer?"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from tests.hostile.case import Case
from tests.hostile.wire import Wire
from tests.triton.container import TritonContainer
from tests.triton.deployment import NAME, Pair, assembly, release
from tests.triton.environment import Environment, Unavailable
from tests.triton.requests import hostile, routes, valid
from tests.triton.samples import graphs, repository
from tests.triton.server import TritonServer
from tools.local.errors import LocalError
from tools.local.packages import PROJECT
from tools.local.stack import LocalStack
from tools.local.steps import Steps

app = typer.Typer(add_completion=False)
_CONSOLE = Console(highlight=False)
_SHOWN = 20


@dataclass
class Tally:
    """What came of one model's requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[tuple[Case, str]] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return self.statuses.total()

    @property
    def same(self) -> int:
        return self.sent - len(self.problems)


@app.command()
def triton(
    count: Annotated[int, typer.Option(help="Hostile requests that are drawn; the fixed ones are always sent.")] = 300,
    each: Annotated[int, typer.Option(help="Requests to each model that a client may send.")] = 30,
    seed: Annotated[int, typer.Option(help="The same seed draws the same requests.")] = 1,
    only: Annotated[str, typer.Option(help="Models with this in their name.")] = "",
) -> None:
    """Ends with 1 unless every answer was the same."""
    steps = Steps(_CONSOLE)
    try:
        with steps("environment") as step:
            environment = Environment.make()
            step.detail = f"Python {environment.version}, {environment.folder.relative_to(PROJECT)}"
        with tempfile.TemporaryDirectory() as scratch, TritonServer(environment) as server:
            tallies = _compare(steps, server, Path(scratch), count=count, each=each, seed=seed, only=only)
    except (Unavailable, LocalError) as error:
        _CONSOLE.print(f"Error: {error}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if not _report(tallies):
        raise typer.Exit(1)


def _compare(steps: Steps, server: TritonServer, scratch: Path, *, count: int, each: int, seed: int, only: str) -> dict[str, Tally]:
    with steps("models") as step:
        samples = [sample for sample in (*graphs(scratch), *repository()) if only in sample.name]
        step.detail = f"{len(samples)}, each for both targets"
    container = TritonContainer(server)
    with steps("cloud assembly"):
        cdk_out = assembly(scratch / "cdk.out", samples)
    with LocalStack(cdk_out, NAME, container=lambda: container) as stack:
        with steps("versions"):
            pairs = [release(stack, sample, scratch) for sample in samples]
        with steps("requests") as step, Wire(stack.url, stack.key) as wire:
            tallies = {pair.sample.name: Tally() for pair in pairs}
            for pair, case in _cases(pairs, count=count, each=each, seed=seed):
                step.tell(case.title)
                tally = tallies[pair.sample.name]
                answer, problem = pair.compare(wire, case)
                tally.statuses[answer.status] += 1
                if problem:
                    tally.problems.append((case, problem))
            ran, failed = container.answers[200], container.answers.total() - container.answers[200]
            step.detail = f"Triton {server.version} loaded {container.loads} archives, ran {ran} requests and could not run {failed}"
    return tallies


def _cases(pairs: Sequence[Pair], *, count: int, each: int, seed: int) -> Iterator[tuple[Pair, Case]]:
    by_name = {pair.sample.name: pair for pair in pairs}
    for pair in pairs:
        for case in (*routes(pair.sample), *valid(pair.sample, each, seed)):
            yield pair, case
    for case in hostile([pair.sample for pair in pairs], count, seed):
        yield by_name[case.model], case


def _report(tallies: dict[str, Tally]) -> bool:
    """Whether all were the same."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("model", "requests", "answered", "refused", "same on both targets"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for name, tally in tallies.items():
        answered = tally.statuses[200]
        table.add_row(name, str(tally.sent), str(answered), str(tally.sent - answered), f"{tally.same}/{tally.sent}")
    _CONSOLE.print(Padding(table, (1, 0, 1, 4)))
    problems = [problem for tally in tallies.values() for problem in tally.problems]
    for case, problem in problems[:_SHOWN]:
        _CONSOLE.print(f"{case.title}: {problem}", style="red", markup=False, soft_wrap=True)
    sent = sum(tally.sent for tally in tallies.values())
    _CONSOLE.print(f"{sent - len(problems)}/{sent} same")
    return bool(sent) and not problems


if __name__ == "__main__":
    sys.exit(app())
