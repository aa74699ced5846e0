"""What every method of compression is given, and how it says that it doesn't apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from models.config import ModelConfig
from tools.modelctl import convert
from tools.modelctl.data import Split, tensors
from tools.modelctl.errors import ModelctlError
from tools.modelctl.parity import Answers

__all__ = ["LEAST", "Inapplicable", "Method", "Subject", "advice"]

LEAST = 512
"""Numbers of a weight that is written in fewer bits: with fewer the nodes around it take about as much as is saved."""


class Inapplicable(ModelctlError):
    """A method that has nothing to work on in this graph, as a sentence that says why and which would."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is to be made smaller."""

    config: ModelConfig
    model: onnx.ModelProto
    """The parent's graph; a method copies what it changes."""
    rows: Split
    """As train.py gives them. Methods calibrate, search and train on `rows.X` alone: the held-out rows judge the result."""
    labels: tuple[str, ...] = ()
    """Names of its classes."""
    seed: int = 0
    student: str | None = None
    """What `distill` trains: `mlp` or `tree`; None is what fits."""
    tell: Callable[[str], None] = lambda _: None

    @property
    def calibration(self) -> Answers:
        """The rows for training as tensors, by input."""
        return tensors(self.rows.X, convert.datatype(self.model))


def advice(model: onnx.ModelProto) -> str:
    """What to try on a graph that has no large weights."""
    kinds = {node.op_type for node in model.graph.node}
    if any(kind.startswith("TreeEnsemble") for kind in kinds):
        return "its size is in trees: use tree-prune"
    if kinds & {"TfIdfVectorizer", "StringNormalizer", "OneHotEncoder", "LabelEncoder"}:
        return "its size is in words or categories: use fewer of them in train.py (max_features, min_frequency), or optimize"
    return "use optimize, which takes any graph"


Method = Callable[[Subject], onnx.ModelProto]
"""Raises `Inapplicable`. The same subject gives the same bytes."""
