"""One model of the matrix, and what came of it: trained, converted as any model of modelctl is, and compared on rows it never saw."""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from models.config import ModelConfig, ParityConfig
from modelserve.manifest import Parity
from tools.modelctl import convert, parity
from tools.modelctl.data import split, tensors
from tools.modelctl.errors import BuildFailed
from tools.modelctl.frameworks import Context, adapt
from tools.modelctl.limits import Limits
from tools.modelctl.lint import lint

__all__ = ["Case", "Outcome", "missing", "run"]

_PACKAGES = {"torch": "torch", "keras": "tensorflow", "xgboost": "xgboost", "lightgbm": "lightgbm"}
"""What an extra installs, by its name."""
_CONVERTERS = {"": "skl2onnx", "torch": "torch", "keras": "tf2onnx", "xgboost": "onnxmltools", "lightgbm": "onnxmltools"}
"""What writes the graph, by the extra that a model needs."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model, the rows it is for, and what is expected of it."""

    name: str
    task: str
    rows: Callable[[], tuple[Any, Any]]
    """All of them; a share is held out as of any model."""
    train: Callable[[Any, Any], Any]
    needs: str = ""
    """The extra it comes from; none for scikit-learn."""
    allowed: ParityConfig = field(default_factory=ParityConfig)
    """How far the graph may be from the original; model.toml's default unless there is a reason."""
    refused: str = ""
    """What a model that doesn't convert is answered with: a part of the advice."""

    @property
    def converter(self) -> str:
        name = _CONVERTERS[self.needs]
        return f"{name} {version(name).partition('+')[0]}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one case."""

    case: Case
    seconds: float
    parity: Parity | None = None
    problem: str = ""
    """Why there is no comparison."""

    @property
    def expected(self) -> bool:
        """Whether it converted and agrees, or was refused with its advice where that is what should happen."""
        if self.case.refused:
            return self.case.refused in self.problem
        return self.parity is not None and self.parity.passed and not self.problem

    @property
    def verdict(self) -> str:
        if self.case.refused:
            return "refused" if self.expected else "not refused as expected"
        return "same" if self.expected else self.problem or "differs"


def missing(case: Case) -> bool:
    """Whether what it comes from isn't installed."""
    return bool(case.needs) and importlib.util.find_spec(_PACKAGES[case.needs]) is None


def run(case: Case, folder: Path) -> Outcome:
    """Leaves the graph in a folder of its name in `folder`."""
    started = time.perf_counter()
    found, problem = None, ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of frameworks, about themselves
        try:
            found, problem = _compare(case, folder)
        except BuildFailed as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - one model of many; what failed is its verdict
            problem = f"{type(error).__name__}: {error}"
    return Outcome(case=case, seconds=time.perf_counter() - started, parity=found, problem=problem)


def _compare(case: Case, folder: Path) -> tuple[Parity, str]:
    name = "".join(letter if letter.isalnum() else "_" for letter in case.name.lower())
    config = ModelConfig.model_validate({"name": name, "task": case.task})
    rows = split(config, *case.rows())
    with threadpool_limits(1):
        trained = case.train(rows.X, rows.y)
    model = adapt(trained, Context(config=config, rows=rows, folder=folder))
    graph = convert.convert(name, case.task, model, rows.held_out_X)
    file = folder / name / "model.onnx"
    file.parent.mkdir(parents=True)
    file.write_bytes(graph.SerializeToString(deterministic=True))
    findings = lint(file, memory=Limits.of(config).memory)
    expected = parity.original(case.task, model, rows.held_out_X)
    found = parity.run(file, tensors(rows.held_out_X, convert.datatype(graph)))
    return parity.compare(expected, found, case.allowed), "; ".join(map(str, findings))
