"""What the process that opens a model's file runs once `sandbox` holds it: it faces the model, so what it says is checked (see child).

The request comes as a pickle of ours; the answer is left as files.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from pydantic import BaseModel, ConfigDict
from sklearn.exceptions import InconsistentVersionWarning

from tools.modelctl import archives, convert, evaluate, parity
from tools.modelctl.errors import ModelctlError, first_line
from tools.modelctl.frameworks import Context, ModelFile, adapt
from tools.modelctl.frameworks.probe import Probed, Text, framework_of, probe

__all__ = ["ANSWERS", "FACTS", "MODEL", "REQUEST", "SPACE", "Facts", "Request", "answer"]

MODEL, ANSWERS, SPACE, FACTS, REQUEST = "model.onnx", "answers.npz", "space.npy", "facts.json", "request.pickle"
"""In the process's folder: three that hold tensors, what else it says, and what it is asked."""
_DENIED = re.compile("permission denied", re.IGNORECASE)  # the system's words, which native code passes on


@dataclass(frozen=True)
class Request:
    """What the process is asked: to say what a file holds, or with rows to adapt it."""

    file: ModelFile
    adapter: str
    """The module of this room whose `load` opens it."""
    context: Context
    only_probe: bool


class Facts(BaseModel):
    """What the process answers beside arrays and graph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refused: str = ""
    notes: tuple[str, ...] = ()
    """Neither is shown but as `child` makes it plain."""
    framework: Text = ""
    classes: tuple[bool | int | float | Text, ...] = ()
    probed: Probed = Probed()


def answer(scratch: Path, refusal: type[Exception]) -> None:
    """Does what the request in `scratch` says, and leaves the answer there; `refusal` is what the sandbox raises."""
    request = pickle.loads((scratch / REQUEST).read_bytes())  # noqa: S301 - our own, written before the file was opened
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            facts = Facts(probed=probe(_load(request))) if request.only_probe else _adapt(request, scratch)
        except Exception as error:  # noqa: BLE001 - frameworks raise anything
            facts = Facts(refused=_reason(error, request.file.path.name, refusal))
    notes = (_older(caught, request.file.path.name),) if not facts.refused else ()
    (scratch / FACTS).write_text(facts.model_copy(update={"notes": tuple(filter(None, notes))}).model_dump_json())


def _load(request: Request) -> Any:
    load: Callable[[Path, Context], Any] = import_module(f"tools.modelctl.frameworks.{request.adapter}").load
    return load(request.file.path, request.context)


def _adapt(request: Request, scratch: Path) -> Facts:
    context, task = request.context, request.context.config.task
    rows = context.rows.held_out_X
    model = adapt(_load(request), context)
    onnx.save_model(convert.convert(context.config.name, task, model, rows), scratch / MODEL)
    archives.write(scratch / ANSWERS, parity.original(task, model, rows))
    if task == "clustering":
        np.save(scratch / SPACE, np.asarray(evaluate.space(model, rows), dtype=np.float64), allow_pickle=False)
    classes = tuple(item.item() if hasattr(item, "item") else item for item in getattr(model, "classes_", ()))
    return Facts(framework=framework_of(model), classes=classes)


def _reason(error: Exception, name: str, refusal: type[Exception]) -> str:
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    if refused := next((each for each in chain if isinstance(each, refusal)), None):
        return f"opening {name} tried {refused}, which opening a model doesn't take; don't trust the file"
    if denied := next((line for each in chain for line in str(each).splitlines() if _DENIED.search(line)), ""):
        return f"opening {name} tried to reach what opening a model doesn't take ({denied.strip():.300}); don't trust the file"
    if any(isinstance(each, MemoryError) for each in chain):
        return f"{name} needs more than half of this machine's memory to be opened and converted; convert it to ONNX on a larger one"
    if isinstance(error, ModelctlError):
        return str(error)
    return f"{name} can't be opened and converted: {first_line(error, named=True)}; docs/models.md lists what converts"


def _older(caught: list[warnings.WarningMessage], name: str) -> str:
    """What scikit-learn says of a pickle that another release wrote."""
    for warning in caught:
        if isinstance(message := warning.message, InconsistentVersionWarning):
            return (
                f"{name} was written by scikit-learn {message.original_sklearn_version} and opened by {message.current_sklearn_version}; "
                "its answers may not be those it was trained for: hold them against rows (--data FILE --target COLUMN)"
            )
    return ""
