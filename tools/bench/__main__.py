"""`make bench`: prints each promise about speed beside what was measured just now."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tools.bench import shown
from tools.bench.drawn import ROOT
from tools.bench.drawn import keep as keep_results
from tools.bench.groups import DEFAULT, Run, run
from tools.bench.kept import FILE, Kept
from tools.bench.machine import describe
from tools.bench.measures import GROUPS, Group, Options, Tick
from tools.bench.subject import MODEL, Subject
from tools.local.errors import LocalError
from tools.loopback.errors import MeasureError
from tools.loopback.store import MemoryStore

app = typer.Typer(add_completion=False)
_WIDTH = 140  # of a table in a file
_QUICK = Options(rounds=4, calls=200, rows=10_000, quick=True)


@app.command()
def bench(
    *,
    only: Annotated[list[str] | None, typer.Option(help=f"Measure this group, and again for another: {', '.join(GROUPS)}.")] = None,
    peers: Annotated[
        bool, typer.Option("--peers", help="Beside other servers too, each in an environment of its own that is made first.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=4, help="Fresh processes of each side.")] = Options.rounds,
    calls: Annotated[int, typer.Option(min=100, help="Warm calls.")] = Options.calls,
    rows: Annotated[
        int, typer.Option(min=10_000, help="Rows of a data set; memory is measured with ten times as many too.")
    ] = Options.rows,
    quick: Annotated[bool, typer.Option("--quick", help="As little as shows that all of it runs; not worth keeping.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print results, machine and date as JSON.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the results: docs/bench.json, and what is drawn from it.")] = False,
    compare: Annotated[bool, typer.Option(help="Say what moved since results were kept.")] = True,
    strict: Annotated[bool, typer.Option("--strict", help="Fail when a bar is missed.")] = False,
) -> None:
    """Measure what we promise about speed, memory and size, each against a floor or a peer in the same minute.

    Both sides run in turns, in fresh processes, with the packages of the image. Only the ratios carry over to another machine.
    A missed bar is printed, and is no failure without --strict; what this machine can't measure is left out, and says why.
    """
    if quick and keep:
        raise typer.BadParameter("a quick run is not worth keeping; leave out --quick or --keep")
    console = Console(stderr=True)
    options = _QUICK if quick else Options(rounds=rounds, calls=calls, rows=rows)
    groups = _groups(only or DEFAULT, peers=peers)
    try:
        before = Kept.load(ROOT / "docs" / FILE.name)
        found = _run(console, groups, options)
        now = Kept(time.strftime("%Y-%m-%d", time.gmtime()), describe(), tuple(found.results))
        _print(found, now, as_json=as_json)
        for line in [*shown.omitted(found), *(shown.moved(before, now) if compare and before and found.results else ())]:
            console.print(line)
        if keep:
            whole = replace(now, results=tuple(each for each in now.results if each.group not in {**found.failed, **found.unavailable}))
            keep_results(before.taking(whole) if before else whole, ROOT)
    except (MeasureError, LocalError) as error:
        console.print(f"bench: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    if found.failed or (strict and not all(result.met for result in found.results)):
        raise typer.Exit(1)


def _groups(names: Iterable[str], *, peers: bool) -> tuple[Group, ...]:
    wanted = {*names, *(["peers"] if peers else [])}
    if unknown := wanted - set(GROUPS):
        raise typer.BadParameter(f"no group {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return tuple(group for group in GROUPS if group in wanted)


def _run(console: Console, groups: tuple[Group, ...], options: Options) -> Run:
    columns = SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed:.0f}"), TimeElapsedColumn()
    with MemoryStore() as store, Progress(*columns, console=console, transient=True) as progress:

        def watch(name: str) -> Tick:
            for task in progress.tasks:
                progress.update(task.id, visible=False)
            task_id = progress.add_task(name, total=None)
            return lambda: progress.advance(task_id)

        watch("preparing")
        return run(groups, Subject.prepare(store), options, watch)


def _print(found: Run, now: Kept, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({**now.to_dict(), "unavailable": found.unavailable, "failed": found.failed}, indent=2))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=_WIDTH)
    console.print(shown.table(found.results))
    print(*shown.notes(found.results), sep="\n")
    machine = ", ".join(f"{name} {value}" for name, value in now.machine.items())
    print(f"Model: {MODEL} unless said otherwise; {machine}. Missed a bar? Run it again on an idle machine before you believe it.")


if __name__ == "__main__":
    app()
