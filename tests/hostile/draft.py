"""A valid request that is still open to change: hostile ones are made from it by one change each."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.hostile.case import Arrays, Case, Outputs, encode
from tests.hostile.targets import HALVES, Target, dtype

__all__ = ["HEADER_LENGTH", "Draft", "drafts", "valid"]

HEADER_LENGTH = "Inference-Header-Content-Length"


class Draft:
    """`document` and `tail` are the two parts of the body; `outputs` is the right answer for as long as nothing is changed."""

    def __init__(self, target: Target, arrays: Arrays, *, binary: bool = False, binary_answer: bool = False) -> None:
        self.target = target
        self.binary = binary or target.binary_only
        self.tail = b"".join(encode(target.inputs[name], array) for name, array in arrays.items()) if self.binary else b""
        self.document: dict[str, Any] = {"inputs": [self._input(name, array) for name, array in arrays.items()]}
        if binary_answer or target.binary_only:
            self.document["parameters"] = {"binary_data_output": True}
        self.headers: list[tuple[str, str]] = []
        self.arrays = arrays
        self.outputs = Outputs(target.outputs, target.answer(arrays))

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The tensors of the document."""
        inputs: list[dict[str, Any]] = self.document["inputs"]
        return inputs

    def text(self) -> bytes:
        """The document as JSON, with what only Python writes (NaN) and surrogates as escapes."""
        return json.dumps(self.document).encode()

    def body(self) -> bytes:
        return self.text() + self.tail

    def framed(self) -> list[tuple[str, str]]:
        """Its headers."""
        length = [(HEADER_LENGTH, str(len(self.text())))] if self.binary else []
        return [*length, *self.headers]

    def case(self, theme: str, name: str, status: int, **changes: Any) -> Case:
        return Case(
            **{
                "theme": theme,
                "name": name,
                "model": self.target.name,
                "status": status,
                "headers": tuple(self.framed()),
                "body": self.body(),
                "outputs": self.outputs if status == 200 else None,
                **changes,
            }
        )

    def _input(self, name: str, array: Any) -> dict[str, Any]:
        datatype = self.target.inputs[name]
        head = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if self.binary:
            return {**head, "parameters": {"binary_data_size": len(encode(datatype, array))}}
        return {**head, "data": array.reshape(-1).tolist()}


@st.composite
def drafts(draw: st.DrawFn, targets: tuple[Target, ...], *, binary: bool | None = None) -> Draft:
    """A valid request to one of `targets`, in JSON or binary, or always the one that `binary` says."""
    target = draw(st.sampled_from(targets if binary is not False else tuple(each for each in targets if not each.binary_only)))
    shape = target.shape(draw(st.integers(1, 3)))
    size = int(np.prod(shape))
    arrays = {}
    for name, datatype in target.inputs.items():
        elements = draw(st.lists(target.elements(name), min_size=size, max_size=size))
        arrays[name] = np.array(elements, dtype=dtype(datatype)).reshape(shape)
    return Draft(target, arrays, binary=draw(st.booleans()) if binary is None else binary, binary_answer=draw(st.booleans()))


def valid(target: Target, rows: int = 1, *, binary: bool = False, binary_answer: bool = False) -> Draft:
    """The same small request each time."""
    shape = target.shape(rows)
    size = int(np.prod(shape))
    arrays = {}
    for name, datatype in target.inputs.items():
        numbers = [index % 3 for index in range(size)]
        elements = [f"word {number}" for number in numbers] if datatype == "BYTES" else numbers
        arrays[name] = np.array(elements, dtype=dtype(datatype)).reshape(shape)
    return Draft(target, arrays, binary=binary or target is HALVES, binary_answer=binary_answer)
