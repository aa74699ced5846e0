"""`make bench-peers`: prints what each side took, beside what it includes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tools.bench.peers.measured import CALLS, ROUNDS, Figures, compared, figures, sides
from tools.bench.subject import Subject
from tools.local.errors import LocalError
from tools.loopback.errors import MeasureError
from tools.loopback.store import MemoryStore

app = typer.Typer(add_completion=False)
_MEBI = 2**20


@app.command()
def peers(
    rounds: Annotated[int, typer.Option(min=1, help="Fresh processes of each side.")] = ROUNDS,
    calls: Annotated[int, typer.Option(min=2, help="One after another, in each process.")] = CALLS,
    as_json: Annotated[bool, typer.Option("--json", help="Print sides and results as JSON.")] = False,
) -> None:
    """Measure the predict function beside MLServer, BentoML, FastAPI and raw ASGI: cold start, memory, one call after another.

    All sides run in turns, each in a fresh process with one thread for the model; the peers' environments are made first.
    """
    console = Console(stderr=True)
    try:
        with MemoryStore() as store, console.status("environments, then rounds"):
            subject = Subject.prepare(store)
            found = figures(subject, rounds=rounds, calls=calls, tick=lambda: None)
            includes = {side.name: side.includes for side in sides(subject)}
    except (MeasureError, LocalError) as error:
        console.print(f"bench: {error}", style="red", markup=False)
        raise typer.Exit(1) from None
    rows = summary(found, includes)
    if as_json:
        print(json.dumps({"sides": rows, "results": [result.to_dict() for result in compared(found)]}, indent=2))
    else:
        Console().print(_table(rows))
        for row in rows:
            print(f"{row['name']}: {row['includes']}")


def summary(found: Mapping[str, Sequence[Figures]], includes: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each side: medians over its rounds, in ms, MB (2**20 bytes) and us."""
    return [
        {
            "name": name,
            "cold_ms": round(median(1000 * each.cold for each in rounds), 1),
            "peak_mb": round(median(each.memory.peak / _MEBI for each in rounds), 1),
            "share_mb": round(median(each.memory.share / _MEBI for each in rounds), 1),
            "p50_us": round(median(1e6 * each.p50 for each in rounds)),
            "p99_us": round(median(1e6 * each.p99 for each in rounds)),
            "includes": includes[name],
        }
        for name, rounds in found.items()
    ]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    caption = "Medians over fresh processes; memory: peak RSS of all processes, and their PSS after the calls, in MB of 2**20 bytes"
    table = Table("", "cold ms", "peak", "PSS", "p50 us", "p99 us", caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*(str(value) for name, value in row.items() if name != "includes"))
    return table


if __name__ == "__main__":
    app()
