"""The process that opens a model's file holds itself first: no network, its own folder, bounded time and memory.

It is started as a program and needs the standard library alone, since a process leaves the network only before it has threads.
What a file makes it do through Python is refused and named; what native code does (TensorFlow and PyTorch have operators that read and
write files) meets the kernel's bounds: Landlock's (https://docs.kernel.org/userspace-api/landlock.html), where the kernel has it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Refusal", "confine", "hold", "isolate", "seal"]

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
_READABLE = (
    *("/usr", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/sys"),
    *("/proc/self", "/proc/cpuinfo", "/proc/filesystems", "/proc/meminfo", "/proc/stat", "/proc/sys", "/proc/version"),
    *("/etc/group", "/etc/ld.so.cache", "/etc/localtime", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/os-release", "/etc/passwd"),
    *("/dev/random", "/dev/urandom"),
)
"""What Python, its libraries and the frameworks read as they start, of a system; no secrets are in it."""
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVILEGES = 38
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15  # and to truncate, and to control a device
_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights to files there are, from a version of Landlock on."""
_TCP = 0b11  # to bind, to connect
_SCOPES = 0b11  # abstract sockets and signals of others


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


def confine(readable: Sequence[str], writable: Sequence[str]) -> bool:
    """From now on the kernel lets this process, native code included, read the first (with all that is in them) and change the second
    alone. Can't be taken back. False where the system has no Landlock.
    """
    libc: Any = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else -1
    if version < 1:
        return False
    rights = (1 << max(count for since, count in _RIGHTS.items() if since <= version)) - 1
    held = struct.pack("QQQ", rights, _TCP, _SCOPES)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    rules = libc.syscall(_CREATE_RULESET, held, ctypes.c_size_t(len(held)), 0)
    for path, wanted in (*((path, _READ_FILE | _READ_DIR) for path in readable), *((path, rights) for path in writable)):
        _let(libc, rules, path, wanted)
    done = libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0 and libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    os.close(rules)
    return bool(done)


def _let(libc: Any, rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what isn't there needs no rule
    wanted = rights if os.path.isdir(path) else rights & _OF_FILES
    libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", wanted, opened), 0)
    os.close(opened)


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
        leads = bool(flags & _WRITES) or name.startswith(("/proc", "/dev")) or "/.." in name
        name = os.path.realpath(name) if leads else os.path.abspath(name)
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
    own = (sys.prefix, sys.base_prefix, *filter(None, sys.path))
    confine([*_READABLE, *map(os.path.realpath, own), *held["readable"]], [str(scratch), "/dev/null"])
    seal(scratch, readable=[Path(path) for path in held["readable"]], home=held["home"])
    from tools.modelctl.frameworks.inside import answer  # noqa: PLC0415 - with all that it imports, only now

    answer(scratch, Refusal)


if __name__ == "__main__":
    main()
