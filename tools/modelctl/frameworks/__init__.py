"""What `train` may return, whatever framework made it: each becomes something that answers rows and writes its own ONNX graph.

A framework is an extra, imported by the module of this room that is named for it, and only once a model needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx
from numpy.typing import NDArray

from models.config import ModelConfig
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed

__all__ = ["Adapted", "Context", "adapt"]


class Adapted(Protocol):
    """A trained model of another framework than scikit-learn."""

    framework: str
    """Such as `torch 2.15.0`."""
    classes_: tuple[Any, ...]
    """In the order of the probabilities; empty unless it classifies."""

    def answers(self, X: Any) -> dict[str, NDArray[Any]]:
        """What the original itself answers, under the names that a served model of the task has."""

    def to_onnx(self, name: str) -> onnx.ModelProto:
        """A graph of that name, with the inputs and outputs that a served model of the task has."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a model is adapted for."""

    config: ModelConfig
    rows: Split
    folder: Path
    """Its folder of models/."""


def adapt(trained: Any, context: Context) -> Any:
    """An estimator of scikit-learn or what writes its own graph as it is, anything else as `Adapted`. Raises `BuildFailed`."""
    if hasattr(trained, "to_onnx") or hasattr(trained, "predict"):
        return trained
    raise BuildFailed(f"train() in models/{context.config.name}/train.py answered a {type(trained).__name__}; expected a fitted estimator")
