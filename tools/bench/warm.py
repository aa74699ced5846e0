"""Warm calls: what the handler adds to the run, images, and whole calls beside the least that could be done."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from tools.bench.function import Function
from tools.bench.measures import Options, Result, Tick, added, ratios
from tools.bench.processes import command, on_one_core, output, with_binding
from tools.bench.programs import BARE, IMAGE, MINIMAL, OVERHEAD
from tools.bench.subject import Subject
from tools.loopback.errors import MeasureError

__all__ = ["bare", "calls", "image", "measure", "overhead"]

_BARS = {1: 12.0, 32: 36.0}
"""Microseconds over the run, by rows."""
_PROCESSES = 4
"""That a handler is timed in: one can be a tenth slower than another for as long as it lives."""
_DISTURBED = 1.25
_STARTS = 10
"""Of the processes that calls are sent to, for the same reason."""


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `warm`."""
    rounds = min(options.calls, 200) if options.quick else options.calls
    for rows in _BARS:
        yield from overhead(subject, rounds=rounds, rows=rows)
        tick()
    yield bare(subject, rounds=rounds)
    tick()
    yield from image(subject, rounds=max(10, rounds // 20))
    tick()
    yield calls(subject, rounds=rounds)
    tick()


def overhead(subject: Subject, *, rounds: int, rows: int = 1) -> Iterator[Result]:
    """What the handler adds to the session's run, log line and metrics included, in microseconds; and one that does the least.

    Each in processes of its own, as a function is one handler's: behind another's, either finds other things in the caches.
    """
    timed: dict[str, list[tuple[int, int]]] = {"handler": [], "lean": []}
    for _ in range(_PROCESSES):
        for called in timed:
            line = command(subject.root, OVERHEAD, json.dumps(_event(subject, rows)), str(rounds // _PROCESSES), called)
            timed[called] += output(line, root=subject.root, environ=subject.environ)
    yield added(
        _undisturbed(timed["handler"]),
        name=f"handler, {rows}x30 JSON",
        group="warm",
        unit="us",
        scale=1e-3,
        bar=_BARS[rows],
        comparison="what the handler adds to the run of the same session on prepared tensors, log line and metrics written; no "
        "sampling decision is in it, as there is none: every request is logged and counted alike; turns are left out whose run took a "
        "quarter longer than the fastest tenth, as where others share the machine",
    )
    yield added(
        _undisturbed(timed["lean"]),
        name=f"bare handler, {rows}x30 JSON",
        group="warm",
        unit="us",
        scale=1e-3,
        bar=None,
        comparison="what a handler adds to the same run that only parses, runs and encodes, and writes and checks nothing",
    )


def _undisturbed(timed: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The turns in which the machine was itself: what it adds is microseconds, which twice as slow a machine doubles."""
    most = _DISTURBED * sorted(run for run, _ in timed)[len(timed) // 10]
    return [turn for turn in timed if turn[0] <= most]


def bare(subject: Subject, *, rounds: int) -> Result:
    """Our session's run beside the Python binding's, which no bar is held against."""
    root = replace(subject.root, before=(*with_binding(subject.root).before, *subject.root.before))
    line = command(root, BARE, str(subject.model), subject.environ["SESSION_BACKEND"], subject.event["body"], str(rounds))
    return ratios(
        output(line, root=root, environ=subject.environ),
        name="run, 1x30",
        group="warm",
        unit="us",
        scale=1e-3,
        bar=None,
        comparison="our session's run of a prepared tensor, deadline watched, as a ratio to InferenceSession.run of a prepared array",
    )


def image(subject: Subject, *, rounds: int) -> Iterator[Result]:
    """An image of 1x3x224x224 in binary, and as JSON beside the fastest parser."""
    timed = output(command(subject.root, IMAGE, str(rounds)), root=subject.root, environ=subject.environ)
    yield added(
        [(0.0, whole) for _, whole, _, _ in timed],
        name="image, binary",
        group="warm",
        unit="ms",
        scale=1e-6,
        bar=0.5,
        comparison="from the event's bytes to the answer's, as the runtime client calls it one after the other, of a model that takes no "
        "time",
    )
    yield ratios(
        [(fastest, parsed) for _, _, fastest, parsed in timed],
        name="image, JSON",
        group="warm",
        unit="ms",
        scale=1e-6,
        bar=1.3,
        comparison="bytes to a checked tensor, as a ratio to orjson.loads and array('f', list) of the same bytes",
    )


def calls(subject: Subject, *, rounds: int) -> Result:
    """Whole turns of the runtime client, the function beside a handler that only parses, runs and encodes."""
    pairs = [pair for _ in range(_STARTS) for pair in _turns(subject, rounds // _STARTS)]
    return ratios(
        pairs,
        name="call",
        group="warm",
        unit="us",
        scale=1e6,
        bar=1.05,
        comparison="a call of one row through the runtime client, which posts the answer, with log line and metrics written to a pipe, "
        "all on one core, as a ratio to a handler on the same session that only parses, runs and encodes, and writes and checks nothing; "
        "our function replaces the client's JSON marshaller by one of orjson, and that handler keeps the client's own",
    )


def _turns(subject: Subject, rounds: int) -> list[tuple[float, float]]:
    """Of two fresh processes, each first in every other turn: whoever runs behind the other finds other things in the caches."""
    arguments = str(subject.model), subject.environ["SESSION_BACKEND"]
    with on_one_core(), ExitStack() as stack:
        minimal, ours = (stack.enter_context(each.start()) for each in (Function(subject, MINIMAL, arguments), Function(subject)))
        if any(json.loads(each.first())["statusCode"] != 200 for each in (minimal, ours)):
            raise MeasureError("a function did not answer; run it by itself with `make run`")
        pairs = []
        for turn in range(rounds):
            taken = {each: _seconds(each) for each in ((minimal, ours) if turn % 2 else (ours, minimal))}
            pairs.append((taken[minimal], taken[ours]))
    return pairs[rounds // 10 :]


def _seconds(invoked: Any) -> float:
    begun = time.perf_counter()
    invoked.ask()
    return time.perf_counter() - begun


def _event(subject: Subject, rows: int) -> dict[str, Any]:
    """The usual request with its row as often as `rows` says."""
    document = json.loads(subject.event["body"])
    (sent,) = document["inputs"]
    width = sent["shape"][1]
    sent.update(shape=[rows, width], data=sent["data"][:width] * rows)
    return {**subject.event, "body": json.dumps(document)}
