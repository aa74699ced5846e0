"""Programs that are measured, each in an interpreter of its own that sees a function's folders only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tools.bench.runtime import BenchError
from tools.local.roots import TaskRoot

__all__ = ["command", "output"]


def command(root: TaskRoot, program: str, *arguments: str) -> list[str]:
    """`-I -S` and the image's own folders: the same for floor and function."""
    paths = [str(path) for path in (*root.before, *root.after)]
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}", *arguments]


def output(line: Sequence[str], *, root: TaskRoot, environ: Mapping[str, str]) -> Any:
    """The JSON that a program prints. Raises `BenchError` with the program's own words where it fails."""
    done = subprocess.run(line, cwd=root.folder, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(done.stderr)
    return json.loads(done.stdout)
