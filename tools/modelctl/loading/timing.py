"""Times ways of opening a model as its function opens it: each in a process of its own, whose runs take turns with those of one other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from math import ceil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypedDict

from tools.modelctl.loading.answers import Answer, encoded

if TYPE_CHECKING:
    from modelserve.manifest import Load
    from modelserve.session import Session
    from modelserve.tensors import Tensor

__all__ = ["Subject", "Timed", "subject", "timed"]

BACKEND = "native"
"""What a function opens it with; the binding can't map everything that this one does."""
_PAIRS = 5
"""Runs of each that are timed beside those of the first subject."""
_RUN = 0.01  # seconds, which as many runs as it takes make one
_SECONDS = 60.0  # of one run; a trial has seen that it ends sooner


class Subject(TypedDict):
    """A way by name, its file, and how to open it, as the fields of a `Load` without files."""

    name: str
    file: str
    load: dict[str, Any]


class Opened(TypedDict):
    """What loading it and its first run took, and the answers to each request."""

    load_ms: float
    first_ms: float
    answers: list[list[Answer]]


class Timed(Opened):
    """And what each run took after that, beside what a run of the first subject took right before."""

    name: str
    runs_us: list[float]
    beside_us: list[float]


def subject(name: str, file: Path, load: Load) -> Subject:
    """`file` as `load` opens it, under a `name` for the answer."""
    return Subject(name=name, file=str(file), load={**vars(load), "files": ()})


def timed(subjects: Sequence[Subject], requests: Sequence[Path], *, threads: int, pairs: int = _PAIRS) -> list[Timed]:
    """Each subject that could be opened and run; nothing where the first could not, which stays open for the others to be held against.

    `requests` are infer requests as JSON; the first is what is timed.
    """
    spec = json.dumps({"subjects": subjects, "requests": [str(file) for file in requests], "threads": threads, "pairs": pairs})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "tools.modelctl.loading.timing"]
    done = subprocess.run(line, check=True, input=spec.encode(), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: list[Timed] = json.loads(done.stdout)
    return found


def _clock(threads: int) -> Callable[[], float]:
    """Seconds of this process alone, which a busy machine doesn't change; where several threads work, those on the wall."""
    return time.process_time if threads == 1 else time.perf_counter


def _serve(asked: Subject, requests: list[list[Tensor]], threads: int, orders: IO[bytes], answers: IO[bytes]) -> None:
    """Opens it and says what that took, then what each run took that it is told to make of so many."""
    clock = _clock(threads)
    session, opened = _opened(asked, requests, threads, clock)
    _tell(answers, opened)
    for count in map(int, orders):
        began = clock()
        for _ in range(count):
            _answers(session, requests[0])
        _tell(answers, 1e6 * (clock() - began) / count)


def _opened(asked: Subject, requests: list[list[Tensor]], threads: int, clock: Callable[[], float]) -> tuple[Session, Opened]:
    from modelserve._ort import api  # noqa: PLC0415 - the process that waits needs none of it
    from modelserve.manifest import Load  # noqa: PLC0415
    from modelserve.session import open_session  # noqa: PLC0415

    api()  # opens the library, which takes as long whatever the way
    load = Load(**asked["load"])
    began = clock()
    session = open_session(asked["file"], name=asked["name"], threads=threads, load=load, backend=BACKEND)
    loaded = clock()
    first = _answers(session, requests[0])
    ended = clock()
    answers = [encoded(first), *(encoded(_answers(session, request)) for request in requests[1:])]
    return session, Opened(load_ms=1e3 * (loaded - began), first_ms=1e3 * (ended - loaded), answers=answers)


def _answers(session: Session, request: list[Tensor]) -> list[Tensor]:
    return session.run(request, [output.name for output in session.outputs], seconds=_SECONDS)


class _Fork:
    """A process that opened one of them."""

    def __init__(self, orders: IO[bytes], answers: IO[bytes]) -> None:
        """Raises `ValueError` where it could not."""
        self._orders, self._answers = orders, answers
        self.opened: Opened = json.loads(answers.readline())

    def run(self, count: int) -> float:
        """Microseconds of a run, `count` of which are timed together. Raises `ValueError` and `OSError` when the process has ended."""
        _tell(self._orders, count)
        return float(json.loads(self._answers.readline()))


@contextmanager
def _forked(serve: Callable[[IO[bytes], IO[bytes]], None]) -> Iterator[_Fork]:
    """`serve` in a fork of this process, until what is done with it is done."""
    orders, asking = os.pipe()
    answering, answers = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(asking)
            os.close(answering)
            serve(os.fdopen(orders, "rb"), os.fdopen(answers, "wb"))
        finally:
            os._exit(0)  # whatever was not written is not read
    os.close(orders)
    os.close(answers)
    try:
        with os.fdopen(answering, "rb") as heard, os.fdopen(asking, "wb") as told:
            yield _Fork(told, heard)
    finally:
        os.waitpid(child, 0)


def _tell(stream: IO[bytes], what: object) -> None:
    stream.write(json.dumps(what).encode() + b"\n")
    stream.flush()


def _timed(spec: dict[str, Any], requests: list[list[Tensor]]) -> Iterator[Timed]:
    serving = [(asked["name"], partial(_serve, asked, requests, spec["threads"])) for asked in spec["subjects"]]
    with ExitStack() as stack:
        (name, serve), *others = serving
        first = stack.enter_context(_forked(serve))
        count = ceil(_RUN / max(1e-6, first.run(1) / 1e6))
        yield Timed(**first.opened, name=name, runs_us=[], beside_us=[])
        for name, serve in others:
            try:
                with _forked(serve) as other:
                    pairs = [(first.run(count), other.run(count)) for _ in range(spec["pairs"])]
            except (ValueError, OSError):
                continue  # what can't be opened and run isn't taken
            yield Timed(**other.opened, name=name, runs_us=[run for _, run in pairs], beside_us=[beside for beside, _ in pairs])


def main() -> None:
    """The process that forks: it imports what the others need, and opens nothing itself."""
    spec = json.loads(sys.stdin.buffer.read())
    import_module(f"modelserve.{BACKEND}")
    from modelserve.protocol import parse_document  # noqa: PLC0415 - as above

    requests = [parse_document(json.loads(Path(file).read_bytes())).inputs for file in spec["requests"]]
    try:
        found = list(_timed(spec, requests))
    except (ValueError, OSError):
        found = []
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
