"""A measured process with everything that it starts: its clock, its output, its memory and its end."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Lock, Thread

import psutil

from tools.loopback.errors import MeasureError

__all__ = ["THREADS", "Memory", "Started", "started"]

THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Variables for sides that are to have one thread alike; each also opens its session with one."""
_SHOWN = 4000  # characters of output beside an error
_PIPE = 2**20
"""Bytes, the most that Linux gives a pipe of anybody's unless told otherwise: a second of log lines."""
_LOOKS = 16
"""Pipes full that are taken at once: a process may write faster than it is read."""
_PAUSE = 0.05
"""Seconds between two looks at what a process has written."""


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
    with _Output() as output:
        begun = time.perf_counter()
        with subprocess.Popen(line, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=output.end, stderr=output.end) as process:
            found = Started(psutil.Process(process.pid), begun)
            try:
                yield found
            except (MeasureError, OSError) as error:
                raise MeasureError(f"{error}; its output:\n{output.text()[-_SHOWN:]}") from None
            finally:
                found.kill()


class _Output:
    """A pipe, which is what a function has on Lambda. It is emptied now and then: a reader that waits there would be woken by each line,
    and take its time from the process that is measured."""

    def __enter__(self) -> _Output:
        self._begin, self.end = os.pipe()
        os.set_blocking(self._begin, False)
        with suppress(AttributeError, OSError):  # a smaller one is emptied as well, but may have to be waited for
            fcntl.fcntl(self.end, fcntl.F_SETPIPE_SZ, _PIPE)
        self._text = TemporaryFile()
        self._lock, self._ended = Lock(), Event()
        self._thread = Thread(target=self._empty, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._begin)
        os.close(self.end)
        self._text.close()

    def text(self) -> str:
        """All that was written until now."""
        self._take()
        with self._lock:
            self._text.seek(0)
            return self._text.read().decode(errors="replace")

    def _empty(self) -> None:
        while not self._ended.wait(_PAUSE):
            self._take()

    def _take(self) -> None:
        with self._lock, suppress(BlockingIOError):
            for _ in range(_LOOKS):
                self._text.write(os.read(self._begin, _PIPE))


def _running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def _kibibytes(file: Path, label: str) -> int:
    return int(file.read_text("ascii").partition(label)[2].split()[0])
