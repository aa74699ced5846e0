"""The models that are attacked: every datatype, several inputs, text, answers far larger than the request, and some behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tests.hostile.case import Arrays
from tests.unit.modelserve.graphs import graph, identity, lookup, pair, scaled, value
from tests.unit.modelserve.strategies import DTYPES

__all__ = [
    "HALVES",
    "HEAVY_KINDS",
    "HEAVY_WORDS",
    "INDICES",
    "KINDS",
    "NUMBERS",
    "PAIR",
    "SPREAD",
    "SPREAD_WIDTH",
    "TARGETS",
    "WORDS",
    "Target",
    "dtype",
]

SPREAD_WIDTH = 10_000
_KINDS = tuple(sorted(set(DTYPES) - {"FP16"} | {"BYTES"}))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model of the attacked deployment; `answer` is what it computes."""

    name: str
    model: Callable[[], bytes]
    inputs: dict[str, str]
    """Datatypes by name."""
    outputs: dict[str, str]
    answer: Callable[[Arrays], Arrays]
    width: int | None = None
    """Shapes are [rows, width], or [rows]."""
    binary_only: bool = False
    """JSON can't carry its datatypes."""
    gpu: bool = False
    """An endpoint runs it, behind its function."""

    @property
    def infer(self) -> str:
        return f"/v2/models/{self.name}/infer"

    def shape(self, rows: int) -> tuple[int, ...]:
        return (rows,) if self.width is None else (rows, self.width)

    def elements(self, name: str) -> st.SearchStrategy[Any]:
        """Elements of an input that every target computes with exactly."""
        datatype = self.inputs[name]
        if self.name == INDICES.name:
            return st.integers(0, 2)
        if datatype == "BYTES":
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
        if datatype == "BOOL":
            return st.booleans()
        if datatype == "BF16":
            return st.integers(0, 0x7F00)
        if datatype.startswith("FP"):
            return st.integers(-1000, 1000).map(lambda number: number / 2)
        bits, low = 8 * DTYPES[datatype].itemsize, 0 if datatype.startswith("U") else 1
        return st.integers(-low << (bits - low), (1 << (bits - low)) - 1)


def dtype(datatype: str) -> np.dtype[Any]:
    """How numpy holds a datatype: text as objects, BF16 as its bits."""
    return np.dtype(object) if datatype == "BYTES" else np.dtype("<u2") if datatype == "BF16" else DTYPES[datatype]


def _sum_and_difference(arrays: Arrays) -> Arrays:
    return {"total": arrays["a"] + arrays["b"], "difference": arrays["a"] - arrays["b"]}


def _renamed(arrays: Arrays) -> Arrays:
    return {f"{name}_out": array for name, array in arrays.items()}


def _identities(datatypes: dict[str, str], width: int | None) -> bytes:
    shape: tuple[int | str, ...] = ("rows",) if width is None else ("rows", width)
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in datatypes]
    inputs = [value(name, datatype, shape) for name, datatype in datatypes.items()]
    return graph(nodes, inputs, [value(f"{name}_out", datatype, shape) for name, datatype in datatypes.items()])


def _same(name: str, datatypes: dict[str, str], *, width: int | None = None, binary_only: bool = False) -> Target:
    return Target(
        name=name,
        model=lambda: _identities(datatypes, width),
        inputs=datatypes,
        outputs={f"{each}_out": datatype for each, datatype in datatypes.items()},
        answer=_renamed,
        width=width,
        binary_only=binary_only,
    )


def _spread() -> bytes:
    """`y` repeats each row's number `SPREAD_WIDTH` times."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, SPREAD_WIDTH])
    node = helper.make_node("Expand", ["x", "shape"], ["y"])
    return graph([node], [value("x", "FP32", ("rows", 1))], [value("y", "FP32", ("rows", SPREAD_WIDTH))], [shape])


NUMBERS = Target(
    name="numbers",
    model=lambda: scaled(2.0),
    inputs={"x": "FP32"},
    outputs={"y": "FP32"},
    answer=lambda arrays: {"y": 2 * arrays["x"]},
    width=3,
)
WORDS = Target(
    name="words",
    model=lambda: identity("BYTES", ("rows",)),
    inputs={"x": "BYTES"},
    outputs={"y": "BYTES"},
    answer=lambda arrays: {"y": arrays["x"]},
)
INDICES = Target(
    name="indices",
    model=lookup,
    inputs={"x": "INT64"},
    outputs={"y": "FP32"},
    answer=lambda arrays: {"y": np.array([1, 2, 3], "f4")[arrays["x"]]},
)
PAIR = Target(
    name="pair",
    model=pair,
    inputs={"a": "FP32", "b": "FP32"},
    outputs={"total": "FP32", "difference": "FP32"},
    answer=_sum_and_difference,
    width=2,
)
SPREAD = Target(
    name="spread",
    model=_spread,
    inputs={"x": "FP32"},
    outputs={"y": "FP32"},
    answer=lambda arrays: {"y": np.repeat(arrays["x"], SPREAD_WIDTH, axis=1)},
    width=1,
)
KINDS = _same("kinds", {datatype.lower(): datatype for datatype in _KINDS}, width=2)
HALVES = _same("halves", {"half": "FP16", "brain": "BF16"}, binary_only=True)
HEAVY_KINDS = replace(KINDS, name="heavy_kinds", gpu=True)
HEAVY_WORDS = replace(WORDS, name="heavy_words", gpu=True)
TARGETS = (NUMBERS, WORDS, INDICES, PAIR, SPREAD, KINDS, HALVES, HEAVY_KINDS, HEAVY_WORDS)
