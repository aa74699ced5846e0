"""Becomes another program that ends with the one that started it, however that ends.

Run as a script: a `preexec_fn` would be unsafe in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """Linux sends the signal when the *thread* that started this process ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        os.execv(command[0], command)  # noqa: S606 - a shell would outlive it


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
