"""Writes a request of the Open Inference Protocol for one row, to try a model with."""

from __future__ import annotations

from typing import Any

import orjson
from numpy.typing import NDArray

from tools.modelctl.data import DATATYPES

__all__ = ["example"]


def example(inputs: dict[str, NDArray[Any]]) -> bytes:
    """The first row of `inputs` as JSON, a line an input."""
    lines = [orjson.dumps(_input(name, values[:1])) for name, values in inputs.items()]
    return b'{"inputs": [\n' + b",\n".join(lines) + b"\n]}\n"


def _input(name: str, values: NDArray[Any]) -> dict[str, object]:
    return {"name": name, "shape": list(values.shape), "datatype": DATATYPES[values.dtype.name], "data": _data(values)}


def _data(values: NDArray[Any]) -> list[object]:
    if values.dtype.kind == "f":  # the shortest decimal that is the same float32: 0.1, not 0.10000000149011612
        return [float(str(value)) for value in values.ravel()]
    return list(values.ravel().tolist())
