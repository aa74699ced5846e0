"""Warm calls: turn by turn, the bare run and the whole handler."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tools.bench.measures import Options, Result, Tick, added
from tools.bench.processes import command, output
from tools.bench.programs import OVERHEAD
from tools.bench.subject import Subject

__all__ = ["measure", "overhead"]


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `warm`."""
    yield overhead(subject, rounds=options.calls)
    tick()


def overhead(subject: Subject, *, rounds: int) -> Result:
    """What the handler adds to `session.run` for one row, log line and metrics included; in microseconds."""
    line = command(subject.root, OVERHEAD, json.dumps(dict(subject.event)), str(rounds))
    return added(
        output(line, root=subject.root, environ=subject.environ),
        name="handler",
        group="warm",
        unit="us",
        scale=1e-3,
        bar=12.0,
        comparison="one row of 30 features, us over session.run",
    )
