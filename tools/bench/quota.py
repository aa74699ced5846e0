"""A share of a CPU, given to a process by Linux as Lambda gives it: so many microseconds in each period."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.bench.measures import Unavailable

__all__ = ["limited"]

_PERIOD = 20_000  # microseconds, as within Lambda
_VERSION_1 = Path("/sys/fs/cgroup/cpu")
_VERSION_2 = Path("/sys/fs/cgroup")


@contextmanager
def limited(vcpus: float) -> Iterator[Sequence[str]]:
    """What to write before a command line, so that its processes together get `vcpus`. Raises `Unavailable` where that isn't allowed."""
    first = (_VERSION_1 / "cpu.cfs_quota_us").exists()
    group = (_VERSION_1 if first else _VERSION_2) / f"bench-{os.getpid()}"
    quota = int(_PERIOD * vcpus)
    try:
        group.mkdir()
        if first:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        raise Unavailable(f"a CPU quota needs control groups that this process may make: {error}") from None
    try:
        yield ["/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """A process that was killed a moment ago may still be counted."""
    for _ in range(100):
        try:
            group.rmdir()
        except OSError:
            time.sleep(0.02)
        else:
            return
