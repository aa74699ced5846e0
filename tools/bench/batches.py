"""Requests that wait together: run as one, as the jobs worker runs them, against one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from tools.bench.measures import Options, Result, Tick, ratios
from tools.bench.processes import command, output
from tools.bench.subject import Subject

__all__ = ["joined", "measure"]

_WAITING = 32
_TURNS = 500
_TOGETHER = """
import json, os, sys, time
stdout = os.fdopen(os.dup(1), "w")
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the function's own lines
from functions.predict import handler as module
from modelserve import batching
from modelserve.protocol import parse

model, clock, results = module._app._loader.find(None), time.perf_counter_ns, []
requests = [parse(sys.argv[1].encode(), None) for _ in range(int(sys.argv[2]))]
for _ in range(int(sys.argv[3])):
    begun = clock()
    alone = [batching.run(model, [request], seconds=60)[0] for request in requests]
    between = clock()
    together = batching.run(model, requests, seconds=60)
    results.append((between - begun, clock() - between))
    wrong = [answer for answer in (*alone, *together) if isinstance(answer, Exception)]
    assert not wrong, wrong[0]
print(json.dumps(results[len(results) // 10 :]), file=stdout, flush=True)
"""
"""Turn by turn, nanoseconds; the first tenth warms up."""


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """Of the group `batch`."""
    yield joined(subject, turns=20 if options.quick else _TURNS)
    tick()


def joined(subject: Subject, *, turns: int) -> Result:
    """What 32 requests of a row take, parsed and not yet encoded; in microseconds of all."""
    line = command(subject.root, _TOGETHER, str(subject.event["body"]), str(_WAITING), str(turns))
    return ratios(
        [(alone, together) for alone, together in output(line, root=subject.root, environ=subject.environ)],
        name=f"{_WAITING} requests joined",
        group="batch",
        unit="us",
        scale=1e-3,
        bar=1.0,
        comparison=f"{_WAITING} requests of a row that wait together, run as one, as a ratio to one after the other",
    )
