"""Programs that are measured, each in an interpreter of its own that sees a function's folders only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tools.bench.runtime import BenchError
from tools.local import packages
from tools.local.roots import TaskRoot
from tools.local.synth import CDK_OUT

__all__ = ["command", "output", "with_binding"]

_BINDING = packages.PROJECT / "functions" / "predict" / "requirements-binding.txt"


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


def with_binding(root: TaskRoot) -> TaskRoot:
    """The same environment around NumPy and ONNX Runtime's Python binding, whatever the image holds: where a floor runs."""
    return replace(root, before=(packages.installed(_BINDING, CDK_OUT.parent),))
