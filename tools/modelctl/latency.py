"""Times models as their function runs them: by the class that serves, on one thread, and against each other in one run.

What counts is that thread's own time, so that a machine with much else to do measures much the same as a quiet one.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from modelserve.errors import DeadlineExceeded
from modelserve.session import Session, open_session
from modelserve.tensors import Tensor, encode_bytes
from tools.modelctl.data import DATATYPES
from tools.modelctl.parity import Answers, too_slow

__all__ = ["BATCHES", "Batch", "Measured", "cpu", "measure"]

BATCHES = (1, 32, 256)
"""Rows of a request."""
_LOADS = 0.3  # of the time goes to loading
_LEAST = 3  # times each, where a time is to be a median of anything
_MOST = 2_000
_INTEGER = {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}  # as Linux names the instructions, of Intel, AMD and Arm
_DEADLINE = 60.0  # seconds of a run: a row is answered within what a trial allows, and of more there are as many as are expected in less


@dataclass(frozen=True)
class Batch:
    """Microseconds that a run of `rows` took: in half of the runs no more than `p50_us`, in nine of ten no more than `p90_us`."""

    rows: int
    p50_us: float
    p90_us: float


@dataclass(frozen=True)
class Measured:
    """What a model took on this machine, now; only those of one run compare."""

    load_ms: float
    """Median of loading it into a fresh session, its file being in the page cache."""
    latency: tuple[Batch, ...]
    """Without a batch that the graph doesn't take, or that would run for longer than there was time."""

    def p50(self, rows: int) -> float | None:
        """Microseconds; None for a batch that wasn't measured."""
        return next((batch.p50_us for batch in self.latency if batch.rows == rows), None)


def measure(
    models: Mapping[str, Path], inputs: Answers, *, batches: tuple[int, ...] = BATCHES, seconds: float = 3.0
) -> dict[str, Measured]:
    """By name of `models`, which take turns, so that what slows this machine for a while slows all of them.

    Batches are rows of `inputs`, over and over where it has fewer. Takes about `seconds` in all, longer only for what three turns take.
    Raises `UnverifiedModel`, `ModelFailed`, `InsufficientMemory` for a model that can't be loaded or run, `BuildFailed` for one that does
    not end.
    """
    sessions, loads = _load(models, seconds * _LOADS)
    found: dict[str, list[Batch]] = {name: [] for name in models}
    share = seconds * (1 - _LOADS) / len(batches)
    slowest = 0.0  # seconds a row
    for rows in batches:
        if slowest * rows > seconds or not all(_takes(session, rows) for session in sessions.values()):
            continue
        feed = _batch(inputs, rows)
        calls = {name: _call(name, session, feed) for name, session in sessions.items()}
        for call in calls.values():  # a warm-up: the first run plans its memory
            call()
        for name, times in _in_turn(calls, share).items():
            found[name].append(_summary(rows, times))
        slowest = max(summaries[-1].p50_us for summaries in found.values()) / 1e6 / rows
    return {name: Measured(round(_milliseconds(loads[name]), 4), tuple(found[name])) for name in models}


def cpu() -> str:
    """What this machine's CPU calls itself, and whether it multiplies 8-bit integers by an instruction of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    found = _INTEGER & set((known.get("flags") or known.get("Features") or "").split())
    return f"{known.get('model name', platform.machine())}, {'with ' + ', '.join(sorted(found)) if found else 'without VNNI'}"


def _load(models: Mapping[str, Path], seconds: float) -> tuple[dict[str, Session], dict[str, list[float]]]:
    """The sessions, and the seconds that each loading took."""
    sessions: dict[str, Session] = {}

    def load(name: str, file: Path) -> None:
        sessions[name] = open_session(str(file), name=name, threads=1)

    calls = {name: partial(load, name, file) for name, file in models.items()}
    return sessions, _in_turn(calls, seconds)


def _in_turn(calls: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds of each call; who comes first changes from round to round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in _rounds(seconds):
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            times[name].append(_seconds(calls[name]))
    return times


def _rounds(seconds: float) -> Iterator[int]:
    """Until the time is over, but for the least that makes a median."""
    end = time.perf_counter() + seconds
    for turn in range(_MOST):
        if turn >= _LEAST and time.perf_counter() >= end:
            return
        yield turn


def _seconds(call: Callable[[], object]) -> float:
    """Of the one thread that works: while others have the CPU its clock stands still."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def _call(name: str, session: Session, feed: list[Tensor]) -> Callable[[], object]:
    outputs = [output.name for output in session.outputs]

    def call() -> None:
        try:
            session.run(feed, outputs, seconds=_DEADLINE)
        except DeadlineExceeded:
            raise too_slow(name, feed[0].shape[0], _DEADLINE) from None

    return call


def _takes(session: Session, rows: int) -> bool:
    return all(spec.shape[:1] in {(-1,), (rows,)} for spec in session.inputs)


def _batch(inputs: Answers, rows: int) -> list[Tensor]:
    found = []
    for name, values in inputs.items():
        some = np.ascontiguousarray(np.take(values, np.arange(rows) % len(values), axis=0))
        datatype = DATATYPES[some.dtype.name]
        data = encode_bytes([str(element).encode() for element in some.flat]) if datatype == "BYTES" else some.data.cast("B")
        found.append(Tensor(name, datatype, some.shape, data))
    return found


def _summary(rows: int, times: list[float]) -> Batch:
    p50, p90 = (float(value) * 1e6 for value in np.percentile(times, (50, 90)))
    return Batch(rows, round(p50, 2), round(p90, 2))


def _milliseconds(times: list[float]) -> float:
    return float(np.median(times)) * 1e3
