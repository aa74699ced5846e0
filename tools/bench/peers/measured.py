"""Cold start, memory and calls of our function and of each peer, in turns; every answer is held against the graph's own."""

from __future__ import annotations

import json
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Protocol

import numpy as np
import onnxruntime

from tools.bench import stored
from tools.bench.function import Function
from tools.bench.measures import Options, Result, Tick, ratios
from tools.bench.peers.environments import environment
from tools.bench.peers.ours import ALONE, read
from tools.bench.peers.servers import SERVERS, TUNED, Server
from tools.bench.peers.talk import Row
from tools.bench.subject import MODEL, Subject
from tools.loopback.authority import KEY_ARN
from tools.loopback.errors import MeasureError
from tools.loopback.processes import Memory, Started
from tools.loopback.server import Network, reached, serving

__all__ = ["Figures", "Side", "compared", "figures", "measure", "sides"]

ROUNDS, CALLS = 5, 1000
_QUICK_ROUNDS, _QUICK_CALLS = 1, 50
OURS, CLIENT = "this function", "runtime client alone"
_OURS_INCLUDES = (
    "one environment: Lambda's runtime client and an emulator of its Runtime API, API Gateway's event, Open Inference Protocol, "
    "alias, SHA-256 and signature, log line, metrics; the model comes from S3 on loopback, the peers' from the disk"
)
_CLIENT_INCLUDES = "Lambda's runtime client and the emulator, around a handler that returns a constant: no model, no ONNX Runtime"


class Running(Protocol):
    """One side's process that takes one call at a time."""

    process: Started

    def first(self) -> bytes: ...

    def ask(self) -> bytes: ...


@dataclass(frozen=True)
class Side:
    """What is measured."""

    name: str
    includes: str
    start: Callable[[], AbstractContextManager[Running]]
    read: Callable[[bytes], list[float]]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One process's."""

    cold: float
    """Seconds from its start to its first answer."""
    calls: Sequence[float]
    """Seconds of each later call, one right after the other: ours are whole turns, in which the function also asks for its next event."""
    memory: Memory
    """After the calls."""

    @property
    def p50(self) -> float:
        return median(self.calls)

    @property
    def p99(self) -> float:
        return quantiles(self.calls, n=100, method="inclusive")[98]


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `peers`; its rounds are few, since each starts every peer. Raises `Unavailable`, `MeasureError`."""
    rounds, calls = (_QUICK_ROUNDS, _QUICK_CALLS) if options.quick else (min(options.rounds, ROUNDS), CALLS)
    yield from compared(figures(subject, rounds=rounds, calls=calls, tick=tick))


def figures(subject: Subject, *, rounds: int, calls: int, tick: Tick) -> dict[str, list[Figures]]:
    """By side, one a round; a first round fills the page cache. Raises `Unavailable`, `MeasureError`."""
    for server in SERVERS:
        environment(server.folder)
        tick()
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        small = stored.trained(MODEL, Path(scratch) / "small", subject.event)
        with serving(small.folder, Network()) as url:
            environ = {**subject.environ, **subject.told(MODEL, signing_key_arn=KEY_ARN), **reached(url)}
            return _figures_of(replace(subject, environ=environ), rounds, calls, tick)


def _figures_of(subject: Subject, rounds: int, calls: int, tick: Tick) -> dict[str, list[Figures]]:
    taking_part = sides(subject)
    found: dict[str, list[Figures]] = {side.name: [] for side in taking_part}
    expected = _answer(subject.model, _row(subject.event))
    for number in range(rounds + 1):
        shift = number % len(taking_part)
        for side in taking_part[shift:] + taking_part[:shift]:
            figure = _figures(side, calls if number else 1, expected)
            tick()
            if number:
                found[side.name].append(figure)
    return found


def sides(subject: Subject) -> list[Side]:
    """Ours first, then the peers, then what our calls would take without us."""
    row = _row(subject.event)
    ours, alone = Function(subject), Function(subject, ALONE, (_alone(_answer(subject.model, row)),))
    peers = [Side(server.name, server.includes, partial(server.start, subject.model, row), server.read) for server in SERVERS]
    return [Side(OURS, _OURS_INCLUDES, ours.start, read), *peers, Side(CLIENT, _CLIENT_INCLUDES, alone.start, read)]


def compared(found: Mapping[str, Sequence[Figures]]) -> Iterator[Result]:
    """Ours beside each server's of the same round; only tuned MLServer's have bars."""
    for server in SERVERS:
        pairs = list(zip(found[server.name], found[OURS], strict=True))
        tuned = server.name == TUNED
        yield ratios(
            [(theirs.cold, ours.cold) for theirs, ours in pairs],
            name=f"cold start beside {server.name}",
            group="peers",
            unit="ms",
            scale=1000,
            bar=0.15 if tuned else None,
            comparison="process start to first right answer",
            notes=_both(server),
        )
        yield ratios(
            [(theirs.memory.peak, ours.memory.peak) for theirs, ours in pairs],
            name=f"memory beside {server.name}",
            group="peers",
            unit="MiB",
            scale=1 / 2**20,
            bar=0.4 if tuned else None,
            comparison="peak resident memory of all processes after the calls",
            notes=_both(server),
        )
        yield ratios(
            [(theirs.p50, ours.p50) for theirs, ours in pairs],
            name=f"call beside {server.name}",
            group="peers",
            unit="us",
            scale=1e6,
            bar=None,
            comparison="p50 of one call right after another, theirs over a kept HTTP connection",
            notes=_both(server),
        )


def _both(server: Server) -> dict[str, str]:
    return {"ours includes": _OURS_INCLUDES, f"{server.name} includes": server.includes}


def _figures(side: Side, calls: int, expected: array[float]) -> Figures:
    """The answers are looked at when all are there: a side that still tidies up after one must not get that time for nothing."""
    try:
        found, answers = _called(side, calls)
        for answer in answers:
            _check(side.read(answer), expected)
    except MeasureError as error:
        raise MeasureError(f"{side.name}: {error}") from None
    return found


def _called(side: Side, calls: int) -> tuple[Figures, list[bytes]]:
    clock, took = time.perf_counter, []
    with side.start() as running:
        answers = [running.first()]
        cold = clock() - running.process.begun
        for _ in range(calls):
            begun = clock()
            answers.append(running.ask())
            took.append(clock() - begun)
        return Figures(cold=cold, calls=took, memory=running.process.memory()), answers


def _check(values: Sequence[float], expected: array[float]) -> None:
    """Bit for bit, as FP32: a peer may print more digits than the numbers have."""
    if array("f", values) != expected:
        raise MeasureError(f"the answer was {list(values)}, and the graph's own is {list(expected)}")


def _answer(model: Path, row: Row) -> array[float]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    label, probabilities = session.run(["label", "probabilities"], {"input": np.array([row], np.float32)})
    return array("f", [*label.tolist(), *probabilities[0].tolist()])


def _alone(answer: array[float]) -> str:
    """The same answer as the protocol has it, for a function that has no model."""
    label, *probabilities = answer
    return json.dumps({"outputs": [{"name": "label", "data": [label]}, {"name": "probabilities", "data": probabilities}]})


def _row(event: Mapping[str, Any]) -> Row:
    """The one row of numbers that the function is asked for."""
    values: list[float] = json.loads(event["body"])["inputs"][0]["data"]
    return values
