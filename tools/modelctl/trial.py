"""Runs a model as its function would, in a process that may take no more memory and time than that has; or an instance with a GPU.

A graph can ask for 40 GB, or never end; what is to be served shows here that it doesn't.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.modelctl.limits import Limits
from tools.modelctl.loading.answers import Answer, encoded

if TYPE_CHECKING:
    from modelserve.manifest import Load
    from modelserve.session import Session
    from modelserve.tensors import Tensor

__all__ = ["Refused", "Trial", "attempt"]

_IMAGE = {
    "OPENBLAS_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "MALLOC_MMAP_THRESHOLD_": "8388608",
    "MALLOC_TRIM_THRESHOLD_": "4194304",
}
"""What the image sets (functions/predict/Dockerfile). Otherwise OpenBLAS, which numpy brings along, takes 40 MB of the function's memory
for each core of this machine."""


@dataclass(frozen=True)
class Trial:
    """What a model took to be loaded, warmed up and asked once."""

    load_seconds: float
    run_seconds: float
    peak_megabytes: int
    """Of the whole process, Python and ONNX Runtime included."""
    answers_zeros: bool
    """Whether it takes zeros and empty strings, which some refuse, such as text that an encoder has never seen."""
    answers: tuple[Answer, ...] = ()
    """To the example, or where there is none to zeros."""

    def document(self) -> dict[str, object]:
        """For a report: what it took, and no answers."""
        return {name: value for name, value in asdict(self).items() if name != "answers"}


@dataclass(frozen=True)
class Refused:
    """Why a model may not be served, as `str`."""

    what: str

    def __str__(self) -> str:
        return f"the model {self.what} [trial]"


def attempt(model: Path, example: Path | None, limits: Limits, *, load: Load | None = None) -> Trial | Refused:
    """Loads `model`, as `load` says where that is given, warms it up and asks it `example`, all within `limits`.

    The process has no credentials. Its memory is bounded on Linux only; elsewhere its time is.
    """
    way = {**vars(load), "files": ()} if load else None
    arguments = [str(model.resolve()), str(example.resolve()) if example else "", json.dumps(asdict(limits)), json.dumps(way)]
    environment = _IMAGE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LANG": "C.UTF-8", "PATH": os.defpath}
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "tools.modelctl.trial", *arguments]
        try:
            done = subprocess.run(
                command, check=False, cwd=scratch, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=limits.seconds
            )
        except subprocess.TimeoutExpired:
            return Refused(limits.too_slow)
    return _verdict(done.returncode, done.stdout, limits)


def _verdict(code: int, report: bytes, limits: Limits) -> Trial | Refused:
    if code == -signal.SIGXCPU:
        return Refused(limits.too_slow)
    if code:
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        return Refused(f"ended the process that ran it, by {ended}; convert it again, with another version of the converter")
    try:
        document = json.loads(report)
        return Refused(str(document["refused"])) if "refused" in document else Trial(**document)
    except (ValueError, TypeError, KeyError):
        return Refused("ended the process that ran it before it had answered; convert it again")


def _run(model: str, example: str, seconds: float, threads: int, way: dict[str, Any] | None) -> Trial:
    """In the process of its own. Raises `ServeError`."""
    from modelserve.manifest import Load  # noqa: PLC0415 - the process that waits needs none of it
    from modelserve.protocol import parse_document  # noqa: PLC0415
    from modelserve.session import open_session  # noqa: PLC0415

    began = time.perf_counter()
    session = open_session(model, name=Path(model).parent.name, threads=threads, load=Load(**way) if way else None)
    loaded = time.perf_counter()
    answers = zeros = _to_zeros(session, seconds)
    asked = time.perf_counter()
    if example:
        request = parse_document(json.loads(Path(example).read_bytes()))
        answers = session.run(request.inputs, [output.name for output in session.outputs], seconds=seconds)
    ended = time.perf_counter()
    return Trial(
        load_seconds=round(loaded - began, 4),
        run_seconds=round(ended - asked, 6),
        peak_megabytes=_peak_megabytes(),
        answers_zeros=zeros is not None,
        answers=tuple(encoded(answers or ())),
    )


def _to_zeros(session: Session, seconds: float) -> list[Tensor] | None:
    """What `Session.warm_up` does, and the answers; None where the graph refuses just these."""
    from modelserve.errors import ModelFailed  # noqa: PLC0415 - as above
    from modelserve.tensors import made  # noqa: PLC0415

    try:
        return session.run([made(spec) for spec in session.inputs], [output.name for output in session.outputs], seconds=seconds)
    except ModelFailed:
        return None


def _peak_megabytes() -> int:
    """Linux counts what the parent had before this program began into `ru_maxrss`, but not into VmHWM."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**20
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 2**10


def _report(model: str, example: str, limits: Limits, way: dict[str, Any] | None) -> dict[str, object]:
    from modelserve.errors import DeadlineExceeded, InsufficientMemory, ServeError  # noqa: PLC0415 - as above

    try:
        return asdict(_run(model, example, limits.seconds, limits.threads, way))
    except (InsufficientMemory, MemoryError):
        return {"refused": limits.too_large}
    except DeadlineExceeded:
        return {"refused": limits.too_slow}
    except ServeError as error:
        return {"refused": f"can't answer: {error}"}


def _confine(limits: Limits) -> None:
    """Holds this process to the memory, and to the time that its threads can take, should nobody wait for it any more."""
    from modelserve.memory import hold  # noqa: PLC0415 - as above

    hold(limits.memory)
    computing = limits.seconds * limits.threads
    resource.setrlimit(resource.RLIMIT_CPU, (computing, computing + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    """The process of its own: holds itself to the limits first, and writes its report last."""
    model, example, limits, way = sys.argv[1], sys.argv[2], Limits(**json.loads(sys.argv[3])), json.loads(sys.argv[4])
    _confine(limits)
    # What native code writes goes elsewhere: only the report is the report.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        answer.write(json.dumps(_report(model, example, limits, way)))


if __name__ == "__main__":
    main()
