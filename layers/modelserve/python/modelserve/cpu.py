"""What this machine's CPU can do: a graph that was optimised for one kind may run on another kind not at all."""

from __future__ import annotations

import os
from contextlib import suppress

__all__ = ["features", "has"]


def features() -> frozenset[str]:
    """The architecture as `uname -m` says it, and on Linux the CPU's flags."""
    with suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            name, _, flags = line.partition(":")
            if name.strip() in {"flags", "Features"}:  # on x86-64 and on arm64
                return frozenset([os.uname().machine, *flags.split()])
    return frozenset([os.uname().machine])


def has(wanted: str) -> bool:
    """Whether this CPU has every word of `Load.cpu`, and none of those behind a `!`."""
    if not wanted:
        return True
    found = features()
    return all((word[1:] not in found) if word.startswith("!") else word in found for word in wanted.split())
