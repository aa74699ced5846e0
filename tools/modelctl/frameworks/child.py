"""Has a model's file opened by a process of its own, which runs `inside`, and takes what comes back: a graph, arrays and a few facts.

All of it is bounded and checked. The rows go in as a pickle of ours; nothing that the process leaves is ever unpickled.
"""

from __future__ import annotations

import io
import json
import math
import os
import pickle
import signal
import stat
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from pydantic import ValidationError

from tools.modelctl import archives, console, convert, parity
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, ModelFile, sandbox
from tools.modelctl.frameworks.inside import ANSWERS, FACTS, MODEL, REQUEST, SPACE, Facts, Request
from tools.modelctl.frameworks.probe import Probed
from tools.modelctl.limits import Limits
from tools.modelctl.lint import lint

__all__ = ["Opened", "adapted", "probed"]

_SECONDS = 300
_MOST_BYTES = 2**31
_FACTS_BYTES = 2**20
_SHOWN = 1500
_ENCRYPTED = 1  # of a zip member's flags
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": os.defpath,
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # an estimator with n_jobs would start processes
    "ORT_DISABLE_TELEMETRY": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
"""All there is of it, but for where Python finds modules and where it may write: no credentials."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An `Adapted` that another process has made of a file."""

    elsewhere: ClassVar[bool] = True
    """Where it was trained: its rows, where they have no y, may be nothing but noise."""
    framework: str
    classes_: tuple[Any, ...]
    model: onnx.ModelProto
    expected: parity.Answers
    X: Any = field(repr=False)
    """The rows that `expected` answers."""
    space: NDArray[Any] | None = None
    """These rows where clusters are judged."""

    def answers(self, X: Any) -> parity.Answers:
        """Of the original, for the held-out rows that it was adapted for; the file isn't opened again for others."""
        if X is not self.X:
            raise BuildFailed("a model that came as a file answers the held-out rows only; let train() return a model to ask it others")
        return self.expected

    def to_onnx(self, name: str) -> onnx.ModelProto:  # noqa: ARG002 - its name is that of the context already
        return self.model


def adapted(file: ModelFile, adapter: str, context: Context) -> Opened:
    """Raises `BuildFailed` for what can't be opened or converted, takes too much, or isn't what a model's file should make."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder).resolve()
        facts = _ask(Request(file, adapter, context, only_probe=False), scratch)
        model = _graph(scratch / MODEL, file.path.name, Limits.of(context.config))
        expected = _arrays(scratch / ANSWERS)
        space = _space(scratch / SPACE) if context.config.task == "clustering" else None
    wanted = [spec.name for spec in convert.signature(model)[1]]
    rows = {len(each) for each in (*expected.values(), *(() if space is None else (space,)))}
    if sorted(expected) != sorted(wanted) or rows != {context.rows.held_out}:
        raise BuildFailed(f"{file.path.name} was opened, but what came back isn't an answer for each row; convert it to ONNX elsewhere")
    _compare(facts.classes, context.rows.held_out_y)
    return Opened(framework=facts.framework, classes_=facts.classes, model=model, expected=expected, X=context.rows.held_out_X, space=space)


def _compare(classes: tuple[Any, ...], y: Any) -> None:
    """Raises `BuildFailed` where none of what is to be predicted is a class of the model: every answer would count as wrong."""
    wanted = {str(each) for each in np.unique(np.asarray(y).astype(str)).tolist()} if classes and y is not None else set()
    if wanted and not wanted & set(map(str, classes)):
        raise BuildFailed(
            f"the model answers {', '.join(map(str, classes[:5]))}, and the rows have {', '.join(sorted(wanted)[:5])} to predict; give "
            "what is to be predicted as the model was trained on it"
        )


def probed(file: ModelFile, adapter: str, context: Context) -> Probed:
    """What the model says of itself. Raises `BuildFailed` as `adapted` does."""
    with tempfile.TemporaryDirectory() as folder:
        return _ask(Request(file, adapter, context, only_probe=True), Path(folder).resolve()).probed


def _ask(request: Request, scratch: Path) -> Facts:
    (scratch / REQUEST).write_bytes(pickle.dumps(request))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    readable = [str(request.file.path), str(request.context.folder)]
    held = {"scratch": str(scratch), "seconds": _SECONDS, "memory": memory, "readable": readable, "home": str(Path.home().resolve())}
    own = {name: str(scratch) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")}
    paths = os.pathsep.join(str(Path(path).resolve()) for path in sys.path if path)
    command = [sys.executable, "-P", sandbox.__file__, json.dumps(held)]
    with (scratch / "output").open("w+b") as output:
        try:
            done = subprocess.run(
                command,
                check=False,
                cwd=scratch,
                env=_ENVIRONMENT | own | {"PYTHONPATH": paths},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=2 * _SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise _too_long(request.file.path.name) from None
        output.seek(max(0, output.tell() - _SHOWN))
        said = output.read(_SHOWN).decode("utf-8", "replace")
    facts = _facts(scratch / FACTS, done.returncode, said, request.file.path.name)
    for note in facts.notes:
        console.note(_plain(note))
    if facts.refused:
        raise BuildFailed(_plain(facts.refused))
    return facts


def _facts(file: Path, code: int, said: str, name: str) -> Facts:
    if code == -signal.SIGXCPU:
        raise _too_long(name)
    if code:
        ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        last = "".join(said.strip().splitlines()[-1:])
        raise BuildFailed(
            f"opening {name} ended the process that did it, by {ended}{f': {_plain(last)}' if last else ''}; "
            "the file is damaged, or made by a release that the installed one can't read: write it again"
        )
    try:
        return Facts.model_validate_json(_bytes(file, _FACTS_BYTES))
    except (OSError, ValidationError):
        raise BuildFailed(f"opening {name} ended the process before it had answered; don't trust the file") from None


def _too_long(name: str) -> BuildFailed:
    return BuildFailed(f"{name} was not opened and converted within {_SECONDS} s; convert it to ONNX elsewhere, and import that file")


def _graph(file: Path, name: str, limits: Limits) -> onnx.ModelProto:
    """Read by the lint before anything else looks at it, and where nothing that the process may have left can change it meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / MODEL
        try:
            kept.write_bytes(_bytes(file, _MOST_BYTES))
        except OSError:
            raise BuildFailed(f"the process that opened {name} left no graph that can be read; don't trust the file") from None
        if findings := lint(kept, memory=limits.memory):
            told = "; ".join(map(str, findings[:5]))
            raise BuildFailed(f"{name} became a graph that may not be served: {_plain(told)}")
        try:
            return onnx.load_model(kept, load_external_data=False)
        except DecodeError:
            raise BuildFailed(f"{name} became no ONNX model; convert it to ONNX elsewhere, and import that file") from None


def _arrays(file: Path) -> parity.Answers:
    """Raises `BuildFailed` for a file that is no archive of arrays as `archives.write` leaves it, or too large."""
    try:
        body = _bytes(file, _MOST_BYTES)
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(body):
                raise ValueError("its members lie over one another")
            for member in archive.infolist():
                if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & _ENCRYPTED:
                    raise ValueError("it is packed")
                with archive.open(member) as opened:
                    _check_header(opened, member.file_size)
        return archives.read(io.BytesIO(body))
    except Exception:  # noqa: BLE001 - zipfile and numpy raise whatever the next byte means
        raise BuildFailed("the process that opened the file left no answers that can be read; don't trust the file") from None


def _space(file: Path) -> NDArray[Any]:
    """Raises `BuildFailed` as `_arrays`."""
    try:
        body = _bytes(file, _MOST_BYTES)
        _check_header(io.BytesIO(body), len(body))
        found: NDArray[Any] = np.load(io.BytesIO(body), allow_pickle=False)
    except Exception:  # noqa: BLE001 - as above
        raise BuildFailed("the process that opened the file left no distances that can be read; don't trust the file") from None
    return found


def _check_header(file: Any, size: int) -> None:
    """numpy makes an array of the shape that the header says before it reads any of it. Raises `ValueError` for one that has no room."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("it is of another version than numpy writes of numbers")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if not shape or dtype.kind not in "biufU" or math.prod(shape) * max(dtype.itemsize, 1) > size:
        raise ValueError("it is no array of rows, or larger than its file")


def _bytes(file: Path, most: int) -> bytes:
    """Raises `OSError` for a file larger than `most`, and for a link, or a pipe, which would be waited for."""
    with open(file, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise OSError
        body = opened.read(most + 1)
    if len(body) > most:
        raise OSError
    return body


def _plain(text: str) -> str:
    """A hostile file's words must not steer the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[: 2 * _SHOWN]
