"""Times ways of opening a model as its function opens it: each time in a process of its own, one after the other, who is first changing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from modelserve.manifest import Load
    from modelserve.session import Session
    from modelserve.tensors import Tensor

__all__ = ["Subject", "Timed", "subject", "timed"]

BACKEND = "native"
"""What a function opens it with; the binding can't map everything that this one does."""
_RUNS = 5  # at least, after the first
_STEADY = 0.1  # seconds of them
_SECONDS = 60.0  # of one run; a trial has seen that it ends sooner


class Subject(TypedDict):
    """A way by name, its file, and how to open it, as the fields of a `Load` without files."""

    name: str
    file: str
    load: dict[str, Any]


class Timed(TypedDict):
    """What one opening of it took, and the answers to each request as name, datatype, shape and data in base64."""

    name: str
    load_ms: float
    first_ms: float
    steady_us: float
    answers: list[list[tuple[str, str, list[int], str]]]


def subject(name: str, file: Path, load: Load) -> Subject:
    """`file` as `load` opens it, under a `name` for the answer."""
    return Subject(name=name, file=str(file), load={**vars(load), "files": ()})


def timed(subjects: Sequence[Subject], requests: Sequence[Path], *, threads: int, rounds: int) -> list[Timed]:
    """Of each round one of each subject that could be opened and run; `requests` are infer requests as JSON, the first is what is timed."""
    spec = json.dumps({"subjects": subjects, "requests": [str(file) for file in requests], "threads": threads, "rounds": rounds})
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "tools.modelctl.loading.timing"]
    done = subprocess.run(line, check=True, input=spec.encode(), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found: list[Timed] = json.loads(done.stdout)
    return found


def _clock(threads: int) -> Callable[[], float]:
    """Seconds of this process alone, which a busy machine doesn't change; where several threads work, those on the wall."""
    return time.process_time if threads == 1 else time.perf_counter


def _opened(asked: Subject, requests: list[list[Tensor]], threads: int) -> Timed:
    from modelserve._ort import api  # noqa: PLC0415 - the process that waits needs none of it
    from modelserve.manifest import Load  # noqa: PLC0415
    from modelserve.session import open_session  # noqa: PLC0415

    api()  # opens the library, which takes as long whatever the way
    clock, load = _clock(threads), Load(**asked["load"])
    began = clock()
    session = open_session(asked["file"], name=asked["name"], threads=threads, load=load, backend=BACKEND)
    loaded = clock()
    first = _answers(session, requests[0])
    ended = clock()
    steady = _steady(session, requests[0], clock)
    answers = [_encoded(first), *(_encoded(_answers(session, request)) for request in requests[1:])]
    return Timed(name=asked["name"], load_ms=1e3 * (loaded - began), first_ms=1e3 * (ended - loaded), steady_us=steady, answers=answers)


def _steady(session: Session, request: list[Tensor], clock: Callable[[], float]) -> float:
    times: list[float] = []
    while len(times) < _RUNS or sum(times) < _STEADY:
        began = clock()
        _answers(session, request)
        times.append(clock() - began)
    return 1e6 * min(times)


def _answers(session: Session, request: list[Tensor]) -> list[Tensor]:
    return session.run(request, [output.name for output in session.outputs], seconds=_SECONDS)


def _encoded(answers: list[Tensor]) -> list[tuple[str, str, list[int], str]]:
    return [
        (tensor.name, tensor.datatype, list(tensor.shape), b64encode(bytes(memoryview(tensor.data).cast("B"))).decode())
        for tensor in answers
    ]


def _alone(call: Callable[[], Timed]) -> Timed | None:
    """What `call` returns in a fork of this process; None where it raised, or ended the process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reader)
            with os.fdopen(writer, "wb") as stream:
                stream.write(json.dumps(call()).encode())
        finally:
            os._exit(0)  # whatever was not written is not read
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        body = stream.read()
    os.waitpid(child, 0)
    try:
        found: Timed = json.loads(body)
    except ValueError:
        return None
    return found


def main() -> None:
    """The process that forks: it imports what the others need, and opens nothing itself."""
    spec = json.loads(sys.stdin.buffer.read())
    import_module(f"modelserve.{BACKEND}")
    from modelserve.protocol import parse_document  # noqa: PLC0415 - as above

    requests = [parse_document(json.loads(Path(file).read_bytes())).inputs for file in spec["requests"]]
    found: list[Timed] = []
    for turn in range(spec["rounds"]):
        subjects = spec["subjects"][turn:] + spec["subjects"][:turn]
        some = (_alone(partial(_opened, asked, requests, spec["threads"])) for asked in subjects)
        found += [one for one in some if one is not None]
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
