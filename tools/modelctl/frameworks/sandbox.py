"""The process that opens a model's file holds itself first: no network, its own folder, bounded time and memory.

It is started as a program and needs the standard library alone, since a process leaves the network only before it has threads.
What a file makes it do through Python is refused and named; what native code does meets the kernel's bounds.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Refusal", "hold", "isolate", "seal"]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_FILE_BYTES = 2**32
_FILES = 1024
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PROGRAMS = (
    "os.exec",
    "os.fork",
    "os.forkpty",
    "os.kill",
    "os.killpg",
    "os.posix_spawn",
    "os.spawn",
    "os.system",
    "pty.spawn",
    "subprocess.Popen",
)
_CHANGES = (
    *("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate", "os.utime"),
    *("os.setxattr", "os.removexattr", "shutil.rmtree"),
)
"""Of Python's audit events, those whose first arguments are paths that change."""
_DEVICES = ("/dev/null", "/dev/tty")


class Refusal(PermissionError):
    """Something that opening a model doesn't take."""


def isolate() -> bool:
    """Leaves the network for one that leads nowhere; False where the system doesn't let a process do that."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    return sys.platform == "linux" and bool(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0)


def hold(*, seconds: int, memory: int) -> None:
    """Bounds computing time (s) and private memory (bytes, on Linux) for the rest of this process, and what it can leave."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files = min(_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def seal(scratch: Path, *, readable: Sequence[Path], home: str) -> None:
    """From now on Python starts no program, opens no connection and writes within `scratch` only; and of the hidden files in `home`, where
    credentials are, it reads only its own and `readable`. Can't be taken back; whoever tries gets a `Refusal`.
    """
    own = (*readable, *map(Path, (sys.prefix, sys.base_prefix, *sys.path)))
    sys.addaudithook(_Guard(_within([scratch]), _within(own), home))


@dataclass(frozen=True)
class _Guard:
    """Looks at Python's audit events."""

    is_own: Callable[[str], bool]
    is_readable: Callable[[str], bool]
    home: str

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._opens(arguments[0], arguments[2])
        elif event in _PROGRAMS:
            raise Refusal(f"to start a program or end one ({event})")
        elif event.startswith("socket.") and event != "socket.gethostname":
            raise Refusal(f"to open a connection ({event})")
        elif event in _CHANGES:
            for path in filter(_is_path, arguments[:2]):
                if not self.is_own(name := os.path.realpath(os.fsdecode(path))):
                    raise Refusal(f"to change {name} ({event})")

    def _opens(self, path: Any, flags: int) -> None:
        if not _is_path(path):
            return  # a descriptor, which was opened before
        name = os.fsdecode(path)
        # Links that lead elsewhere can't be made here, and following each name that Python reads would take as long as reading it.
        name = os.path.realpath(name) if flags & _WRITES or name.startswith("/proc") else os.path.abspath(name)
        if flags & _WRITES and not self.is_own(name) and name not in _DEVICES:
            raise Refusal(f"to write {name}")
        if name.startswith(f"{self.home}/.") and not self.is_own(name) and not self.is_readable(name):
            raise Refusal(f"to read {name}")


def _is_path(value: object) -> bool:
    return isinstance(value, str | bytes | os.PathLike)


def _within(folders: Sequence[Path]) -> Callable[[str], bool]:
    roots = tuple({os.path.realpath(folder) for folder in folders})
    return lambda name: any(name == root or name.startswith(f"{root}/") for root in roots)


def main() -> None:
    """`sandbox.py HELD`: a JSON document of what it is held to."""
    held = json.loads(sys.argv[1])
    scratch = Path(held["scratch"])
    isolate()
    hold(seconds=held["seconds"], memory=held["memory"])
    seal(scratch, readable=[Path(path) for path in held["readable"]], home=held["home"])
    from tools.modelctl.frameworks.child import answer  # noqa: PLC0415 - with all that it imports, only now

    answer(scratch, Refusal)


if __name__ == "__main__":
    main()
