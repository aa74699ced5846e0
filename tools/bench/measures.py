"""The measurements: interleaved, so that whatever else the machine does falls on both sides."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any

from tools.bench.programs import FLOOR, FUNCTION, OVERHEAD
from tools.bench.runtime import BenchError, first_answer
from tools.bench.subject import Subject
from tools.local.roots import TaskRoot

__all__ = ["Result", "cold_start", "overhead", "quartiles"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A measured value beside what it is measured against; `spread` holds the quartiles of the compared value."""

    name: str
    unit: str
    ours: float
    floor: float
    compared: float
    """The ratio to the floor, or what is added to it."""
    spread: tuple[float, float]
    bar: float
    comparison: str
    runs: int

    @property
    def met(self) -> bool:
        return self.compared <= self.bar

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def cold_start(subject: Subject, *, rounds: int, tick: Callable[[], None]) -> Result:
    """From the start of the process to the first answer, through Lambda's runtime client, model from S3; in milliseconds."""
    pairs = []
    for number in range(rounds + 1):
        pair = _floor_seconds(subject), _function_seconds(subject)
        tick()
        if number:  # the first pair fills the page cache
            pairs.append(pair)
    ratios = [ours / floor for floor, ours in pairs]
    return Result(
        name="cold start",
        unit="ms",
        ours=1000 * median(ours for _, ours in pairs),
        floor=1000 * median(floor for floor, _ in pairs),
        compared=median(ratios),
        spread=quartiles(ratios),
        bar=1.3,
        comparison="process start to first answer, as a ratio to python + import onnxruntime + session of the same file + one run",
        runs=rounds,
    )


def overhead(subject: Subject, *, rounds: int) -> Result:
    """What the handler adds to `session.run` for one row, log line and metrics included; in microseconds."""
    line = _command(subject.root, OVERHEAD, json.dumps(dict(subject.event)), str(rounds))
    done = subprocess.run(line, cwd=subject.root.folder, env=dict(subject.environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(done.stderr)
    pairs = json.loads(done.stdout)
    added = [(ours - floor) / 1000 for floor, ours in pairs]
    return Result(
        name="handler",
        unit="us",
        ours=median(ours for _, ours in pairs) / 1000,
        floor=median(floor for floor, _ in pairs) / 1000,
        compared=median(added),
        spread=quartiles(added),
        bar=100.0,
        comparison="one row of 30 features, us over session.run",
        runs=len(pairs),
    )


def _floor_seconds(subject: Subject) -> float:
    line = _command(subject.root, FLOOR, str(subject.model), json.dumps(dict(subject.event)))
    begun = time.perf_counter()
    with subprocess.Popen(line, cwd=subject.root.folder, env=dict(subject.root.environment), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # it is a pipe
        answer = process.stdout.readline()
        seconds = time.perf_counter() - begun
        process.kill()
    if not answer:
        raise BenchError("the floor program gave no answer")
    return seconds


def _function_seconds(subject: Subject) -> float:
    line = _command(subject.root, FUNCTION)
    return first_answer(line, event=subject.event, cwd=subject.root.folder, environ=subject.environ)[0]


def _command(root: TaskRoot, program: str, *arguments: str) -> list[str]:
    """`-I -S` and the image's own folders: the same for floor and function."""
    paths = [str(path) for path in (*root.before, *root.after)]
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}", *arguments]


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """The first and the third."""
    first, _, third = quantiles(values, n=4)
    return first, third
