"""What a row is made of, under names that a person gave: columns of a table or of an array, or a tensor as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Feature", "features"]

MOST_COLUMNS = 256
"""Of one tensor; one with more, or with more dimensions, is a feature as a whole."""
_KINDS = {"b": "truth", "O": "text", "U": "text"}


@dataclass(frozen=True)
class Feature:
    """A part of the input that can be looked at by itself."""

    name: str
    kind: str
    """`number`, `text`, `truth`, or `tensor`, which is numbers as a whole."""
    tensor: str
    """The input that it is in."""
    column: int | None
    """Its place there; None is all of it."""
    values: NDArray[Any] = field(repr=False, compare=False)
    """One for each row, of a tensor an array for each row."""


def features(X: Any, inputs: dict[str, NDArray[Any]]) -> tuple[Feature, ...]:
    """Of rows as train.py gives them, and as the tensors that they became."""
    names = [str(name) for name in X.columns] if isinstance(X, pd.DataFrame) and len(inputs) == 1 else None
    return tuple(feature for tensor, values in inputs.items() for feature in _of(tensor, np.asarray(values), names))


def _of(tensor: str, values: NDArray[Any], names: list[str] | None) -> list[Feature]:
    kind = _KINDS.get(values.dtype.kind, "number")
    rows = values.reshape(len(values), 1) if values.ndim == 1 else values
    if rows.ndim > 2 or rows.shape[1] > MOST_COLUMNS:
        return [Feature(tensor, "tensor" if kind == "number" else kind, tensor, None, values)]
    count = rows.shape[1]
    named = names if names is not None and len(names) == count else [tensor] if count == 1 else [f"{tensor}[{i}]" for i in range(count)]
    return [Feature(name, kind, tensor, column, rows[:, column]) for column, name in enumerate(named)]
