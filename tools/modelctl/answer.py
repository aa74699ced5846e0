"""Shows an answer of the Open Inference Protocol to a person: a row of the table for a row of the request."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from tools.modelctl.console import table

__all__ = ["shown"]

_MOST = 6
"""Numbers of one row before the rest is left out."""


def shown(answer: Any, labels: tuple[str, ...] = ()) -> Table:
    """`labels` are the class names in the order of the probabilities, likeliest shown first."""
    outputs = answer.get("outputs", [])
    found = table(">row", *(str(output["name"]) for output in outputs))
    rows = max((output["shape"][0] if output["shape"] else 1 for output in outputs), default=0)
    for row in range(rows):
        found.add_row(str(row), *(_cell(_values(output, row, rows), output["name"], labels) for output in outputs))
    return found


def _values(output: Any, row: int, rows: int) -> list[Any]:
    size = len(output["data"]) // rows
    return list(output["data"][row * size : (row + 1) * size])


def _cell(values: list[Any], name: str, labels: tuple[str, ...]) -> str:
    if name == "probabilities" and len(values) == len(labels):
        likeliest = sorted(zip(values, labels, strict=True), reverse=True)[:3]
        return ", ".join(f"{label} {value:.1%}" for value, label in likeliest)
    if name == "label" and len(values) == 1 and isinstance(values[0], int) and 0 <= values[0] < len(labels):
        return f"{values[0]} ({labels[values[0]]})" if str(values[0]) != labels[values[0]] else labels[values[0]]
    texts = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values[:_MOST]]
    return ", ".join(texts) + (f", … ({len(values)} in all)" if len(values) > _MOST else "")
