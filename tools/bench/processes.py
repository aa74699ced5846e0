"""Programs that are measured, each in an interpreter of its own that sees a function's folders only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tools.local import packages
from tools.local.roots import TaskRoot
from tools.local.synth import CDK_OUT
from tools.loopback.errors import MeasureError

__all__ = ["command", "first_line", "on_one_core", "output", "with_binding"]

_BINDING = packages.PROJECT / "functions" / "predict" / "requirements-binding.txt"


def command(root: TaskRoot, program: str, *arguments: str) -> list[str]:
    """`-I -S` and the image's own folders: the same for floor and function."""
    paths = [str(path) for path in (*root.before, *root.after)]
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}", *arguments]


def output(line: Sequence[str], *, root: TaskRoot, environ: Mapping[str, str]) -> Any:
    """The JSON that a program prints. Raises `MeasureError` with the program's own words where it fails."""
    done = subprocess.run(line, cwd=root.folder, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasureError(done.stderr)
    return json.loads(done.stdout)


@contextmanager
def on_one_core() -> Iterator[None]:
    """This thread, and whatever it starts within: which cores two that talk to each other are on changes a turn by half."""
    if not hasattr(os, "sched_setaffinity"):  # Linux alone has it
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def first_line(line: Sequence[str], *, root: TaskRoot) -> Iterator[tuple[float, int]]:
    """Seconds from a program's start to the first line that it prints, and its pid; it may wait for its input, and ends with the context.

    Raises `MeasureError`.
    """
    begun = time.perf_counter()
    with subprocess.Popen(line, cwd=root.folder, env=dict(root.environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None  # it is a pipe
        answer = process.stdout.readline()
        seconds = time.perf_counter() - begun
        try:
            if not answer:
                raise MeasureError("the floor program gave no answer")
            yield seconds, process.pid
        finally:
            process.kill()


def with_binding(root: TaskRoot) -> TaskRoot:
    """The same environment around NumPy and ONNX Runtime's Python binding, whatever the image holds: where a floor runs."""
    return replace(root, before=(packages.installed(_BINDING, CDK_OUT.parent),))
