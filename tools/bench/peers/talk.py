"""How the sides are asked for one row, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["INFERENCE", "ROWS", "Row", "Talk"]

Row = Sequence[float]


@dataclass(frozen=True)
class Talk:
    """The way of a side's requests and answers."""

    path: str
    ask: Callable[[Row], Any]
    """The document that asks for one row."""
    read: Callable[[Any], list[float]]
    """Of an answer's document: the label, then the probabilities."""


INFERENCE = Talk(
    path="/v2/models/tumour/infer",
    ask=lambda row: {"inputs": [{"name": "input", "shape": [1, len(row)], "datatype": "FP32", "data": list(row)}]},
    read=lambda answer: [value for output in answer["outputs"] for value in output["data"]],
)
"""The Open Inference Protocol, which our function speaks too."""
ROWS = Talk(
    path="/predict",
    ask=lambda row: {"rows": [list(row)]},
    read=lambda answer: [*answer["label"], *answer["probabilities"][0]],
)
"""What a team writes that follows no protocol."""
