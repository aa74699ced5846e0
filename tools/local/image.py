"""A stand-in for `docker build`: follows a Dockerfile into a folder that a process of this machine can use as its task root."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from tools.local import interpreter, packages
from tools.local.assembly import ImageAsset
from tools.local.dockerfile import Instruction, argv, expand, parse
from tools.local.errors import LocalError
from tools.local.roots import TaskRoot

__all__ = ["build"]

_TASK_ROOT = "/var/task"
_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"


@dataclass
class _Build:
    """What the instructions so far have made."""

    asset: ImageAsset
    root: Path
    """Stands for `/` in the image."""
    cache: Path
    variables: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = _TASK_ROOT
    command: str = ""
    stages: int = 0

    def inside(self, path: str) -> Path:
        """Where a path of the image is on this machine."""
        return self.root / str(PurePosixPath(self.workdir) / path).lstrip("/")

    def source(self, path: str) -> Path:
        found = self.asset.context / path
        if not found.exists():
            raise LocalError(f"COPY {path}: no such file in the image's context; is it excluded where the stack names the asset?")
        return found


def build(asset: ImageAsset, cache: Path) -> TaskRoot:
    """The image's task root, made once for each asset hash and interpreter. Raises `LocalError` for what it can't follow."""
    text = (asset.context / asset.dockerfile).read_text("utf-8")
    finished = cache / "images" / f"{asset.hash[:16]}-{interpreter.ABI}"
    made = finished.exists()
    root = finished if made else interpreter.fresh(finished)
    state = _Build(asset, root, cache, {"LAMBDA_TASK_ROOT": _TASK_ROOT, **asset.build_args})
    for instruction in parse(text):
        # A finished image keeps its files; the rest of the instructions only say how it is started.
        if not (made and instruction.name in {"COPY", "RUN"}):
            _STEPS[instruction.name](state, instruction)
    if not made:
        interpreter.compile_folder(state.inside(_TASK_ROOT))
        interpreter.finish(root, finished)
    task = finished / _TASK_ROOT.lstrip("/")
    return TaskRoot(
        folder=task,
        before=(task,),
        after=(packages.runtime(cache),),
        handler=state.command,
        environment=state.environment,
        wrapper=_wrapper(finished, state.environment.get(_WRAPPER)),
    )


def _wrapper(root: Path, path: str | None) -> Path | None:
    """As AWS's bootstrap looks at it; a container that has one that it can't run never starts."""
    if path is None:
        return None
    found = root / path.lstrip("/")
    if not found.is_file() or not os.access(found, os.X_OK):
        raise LocalError(f"{_WRAPPER} is {path}, which is no executable file of the image; COPY it there, and chmod +x what is copied")
    if b"python" not in found.read_bytes().partition(b"\n")[0]:
        raise LocalError(f"{_WRAPPER} is {path}; the local runner follows a script in Python, whose first line is #!/var/lang/bin/python3")
    return found


def _arg(state: _Build, instruction: Instruction) -> None:
    name, _, default = instruction.value.partition("=")
    state.variables.setdefault(name, default)


def _from(state: _Build, instruction: Instruction) -> None:
    base = expand(instruction.value, state.variables)
    state.stages += 1
    if state.stages > 1 or "/lambda/python:" not in base:
        raise LocalError(f"FROM {base}: the local runner follows one stage on AWS's Python base image (…/lambda/python:3.13)")


def _workdir(state: _Build, instruction: Instruction) -> None:
    state.workdir = str(PurePosixPath(state.workdir) / expand(instruction.value, state.variables))
    state.inside(".").mkdir(parents=True, exist_ok=True)


def _env(state: _Build, instruction: Instruction) -> None:
    pairs = dict(word.partition("=")[::2] for word in argv(expand(instruction.value, state.variables)))
    state.environment |= pairs
    state.variables |= pairs


def _copy(state: _Build, instruction: Instruction) -> None:
    *sources, target = argv(expand(instruction.value, state.variables))
    if any(source.startswith("--") for source in sources):
        raise LocalError(f"COPY {instruction.value}: the local runner follows COPY without options")
    for source in map(state.source, sources):
        if source.is_dir():
            shutil.copytree(source, state.inside(target), dirs_exist_ok=True)
        else:
            into = state.inside(target)
            into = into / source.name if target.endswith(("/", ".")) else into
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into)


def _run(state: _Build, instruction: Instruction) -> None:
    for part in re.split(r"\s&&\s", expand(instruction.value, state.variables)):
        words = argv(part)
        if words[:3] == ["python", "-m", "pip"] or words[0] in {"pip", "uv"}:
            _install(state, words)
        elif words[0] == "python" and words[1] in {"-c", "-m"}:
            here = state.inside(".")
            interpreter.run(words[1:], cwd=here, environ=state.environment, before=[here])
        else:
            raise LocalError(f"RUN {part}: the local runner follows pip or uv installing a requirements file, and python -c or -m")


def _install(state: _Build, words: list[str]) -> None:
    options = dict(pairwise(words))
    if "install" not in words or "-r" not in options:
        raise LocalError(f"RUN {' '.join(words)}: the local runner installs requirements files only (… install -r FILE)")
    if "--require-hashes" not in words:
        raise LocalError(f"RUN {' '.join(words)}: add --require-hashes, so that an image holds what the lock says")
    into = state.inside(options.get("--target", _TASK_ROOT))
    found = packages.installed(state.inside(options["-r"]), state.cache)
    shutil.copytree(found, into, dirs_exist_ok=True, copy_function=os.link)


def _cmd(state: _Build, instruction: Instruction) -> None:
    state.command = argv(instruction.value)[0]


_STEPS = {"ARG": _arg, "FROM": _from, "WORKDIR": _workdir, "ENV": _env, "COPY": _copy, "RUN": _run, "CMD": _cmd}
