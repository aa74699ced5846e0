"""Cold starts: fresh processes in turns, so that whatever else the machine does falls on both sides."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator

from tools.bench.measures import Options, Result, Tick, ratios
from tools.bench.processes import command
from tools.bench.programs import FLOOR, FUNCTION
from tools.bench.runtime import BenchError, first_answer
from tools.bench.subject import Subject

__all__ = ["cold_start", "measure"]


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `cold`."""
    yield cold_start(subject, rounds=options.rounds, tick=tick)


def cold_start(subject: Subject, *, rounds: int, tick: Tick) -> Result:
    """From the start of the process to the first answer, through Lambda's runtime client, model from S3; in milliseconds."""
    pairs = []
    for number in range(rounds + 1):
        pair = _floor_seconds(subject), _function_seconds(subject)
        tick()
        if number:  # the first pair fills the page cache
            pairs.append(pair)
    return ratios(
        pairs,
        name="cold start",
        group="cold",
        unit="ms",
        scale=1000,
        bar=1.15,
        goal=0.65,
        comparison="process start to first answer, as a ratio to python + import onnxruntime + session of the same file + one run",
    )


def _floor_seconds(subject: Subject) -> float:
    line = command(subject.root, FLOOR, str(subject.model), json.dumps(dict(subject.event)))
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
    line = command(subject.root, FUNCTION)
    return first_answer(line, event=subject.event, cwd=subject.root.folder, environ=subject.environ)[0]
