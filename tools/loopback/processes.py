"""A measured process with everything that it starts: its clock, its output, its memory and its end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import psutil

from tools.loopback.errors import MeasureError

__all__ = ["THREADS", "Memory", "Started", "started"]

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Variables for sides that are to have one thread alike; each also opens its session with one."""
_SHOWN = 4000  # characters of output beside an error


@dataclass(frozen=True)
class Memory:
    """Of a process and its descendants, in bytes."""

    peak: int
    """The sum of what each had resident at most (VmHWM); pages that two share count twice."""
    share: int
    """The sum of what each holds now, a shared page divided among those who share it (PSS)."""


@dataclass(frozen=True)
class Started:
    """A process that was just started."""

    process: psutil.Process
    begun: float
    """By `time.perf_counter`."""

    def running(self) -> bool:
        return _running(self.process)

    def memory(self) -> Memory:
        """Raises `psutil.NoSuchProcess`."""
        pids = [each.pid for each in self._tree() if _running(each)]
        peak = sum(_kibibytes(Path(f"/proc/{pid}/status"), "VmHWM:") for pid in pids)
        return Memory(1024 * peak, 1024 * sum(_kibibytes(Path(f"/proc/{pid}/smaps_rollup"), "\nPss:") for pid in pids))

    def kill(self) -> None:
        """Descendants first, before nobody knows whose they were; the next side should find them gone."""
        tree = self._tree()
        for each in reversed(tree):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        deadline = time.monotonic() + 1
        while any(map(_running, tree)) and time.monotonic() < deadline:
            time.sleep(0.001)

    def _tree(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def started(line: Sequence[str], *, cwd: Path, environ: Mapping[str, str]) -> Iterator[Started]:
    """Runs a program while the context lasts, in no environment but this. A `MeasureError` or `OSError` within shows its output."""
    variables = {"PATH": os.defpath, **environ}
    with TemporaryFile() as output:
        begun = time.perf_counter()
        with subprocess.Popen(line, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process:
            found = Started(psutil.Process(process.pid), begun)
            try:
                yield found
            except (MeasureError, OSError) as error:
                output.seek(0)
                text = output.read().decode(errors="replace")[-_SHOWN:]
                raise MeasureError(f"{error}; its output:\n{text}") from None
            finally:
                found.kill()


def _running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _kibibytes(file: Path, label: str) -> int:
    return int(file.read_text("ascii").partition(label)[2].split()[0])
