"""An interpreter that sees only what it is given: nothing of this project's own environment leaks into a function."""

from __future__ import annotations

import compileall
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from uv import find_uv_bin

from tools.local.errors import LocalError

__all__ = ["ABI", "AWS_ABI", "command", "compile_folder", "export", "finish", "fresh", "install", "run"]

ABI = f"{sys.implementation.cache_tag}-{platform.machine()}"
AWS_ABI = "cpython-313-x86_64"
_CODE = "import runpy, sys; sys.path[:0] = {before!r}; sys.path += {after!r}; sys.argv = {argv!r}; "


def command(argv: Sequence[str], *, before: Iterable[Path], after: Iterable[Path] = ()) -> list[str]:
    """`python -c CODE` or `python -m MODULE …` with `before` and `after` around the standard library on its path.

    `-I -S` keep out this environment's packages, the user's, PYTHON* variables and the working directory.
    """
    option, subject, *rest = argv
    code = _CODE.format(before=[str(path) for path in before], after=[str(path) for path in after], argv=[option, *rest])
    code += subject if option == "-c" else f"runpy.run_module({subject!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-I", "-S", "-c", code]


def run(argv: Sequence[str], *, cwd: Path, environ: Mapping[str, str], before: Iterable[Path]) -> None:
    """Raises `LocalError` with what the program wrote when it fails."""
    _check(command(argv, before=before), cwd=cwd, env={"PATH": os.defpath, **environ})


def install(requirements: Path, into: Path, *, require_hashes: bool) -> None:
    """Installs what a requirements file names, and nothing else, into a folder for this interpreter, with bytecode."""
    options = ["--no-deps", "--require-hashes"] if require_hashes else ["--no-deps"]
    line = [find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable, "--target", str(into)]
    _check(
        [*line, *options, "--only-binary", ":all:", "--compile-bytecode", "-r", str(requirements)],
        cwd=into.parent,
        env=_clean_environment(),
    )


def export(group: str, into: Path, *, project: Path) -> None:
    """Writes a dependency group of the lock as requirements with hashes."""
    line = [find_uv_bin(), "export", "--quiet", "--frozen", "--no-emit-project", "--only-group", group, "--output-file", str(into)]
    _check(line, cwd=project, env=_clean_environment())


def compile_folder(folder: Path) -> None:
    """Writes bytecode, whatever PYTHONDONTWRITEBYTECODE says: a function's folder is read-only on AWS."""
    compileall.compile_dir(folder, quiet=2)


def fresh(folder: Path) -> Path:
    """An empty folder beside `folder`, for `finish` to rename once complete, so that an interrupted build is never reused."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return unfinished


def finish(unfinished: Path, finished: Path) -> None:
    """Gives a complete folder its name; another process may have been quicker."""
    try:
        unfinished.rename(finished)
    except OSError:
        if not finished.exists():
            raise
        shutil.rmtree(unfinished)


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE"}}


def _check(line: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
    done = subprocess.run(line, cwd=cwd, env=dict(env), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LocalError(f"`{' '.join(line)}` failed with {done.returncode}:\n{done.stdout}{done.stderr}")
