"""A request, and what is right to answer to it, known from the way it was made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.unit.modelserve.strategies import DTYPES

__all__ = ["Arrays", "Case", "Outputs"]

Arrays = dict[str, "np.ndarray[Any, Any]"]
"""A tensor by name; BYTES as objects that are str, BF16 as its bits."""


@dataclass(frozen=True)
class Outputs:
    """The right answer of an inference."""

    datatypes: dict[str, str]
    arrays: Arrays
    id: str | None = None

    def differs(self, headers: dict[str, str], body: bytes) -> str:
        """What is wrong with an answer; empty when it is right."""
        length = headers.get("Inference-Header-Content-Length")
        document = json.loads(body[: int(length)] if length else body)
        tail = body[int(length) :] if length else b""
        if document.get("id") != self.id:
            return f"id {document.get('id')!r:.80}; expected {self.id!r:.80}"
        if [output["name"] for output in document["outputs"]] != list(self.arrays):
            return f"outputs {[output['name'] for output in document['outputs']]}; expected {list(self.arrays)}"
        for output in document["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            found, tail = (output["data"], tail) if size is None else (tail[:size], tail[size:])
            if problem := self._differs(output, found):
                return problem
        return f"{len(tail)} bytes too many" if tail else ""

    def _differs(self, output: dict[str, Any], found: Any) -> str:
        name, array = output["name"], self.arrays[output["name"]]
        if (output["datatype"], output["shape"]) != (self.datatypes[name], list(array.shape)):
            return f"{name} is {output['datatype']} {output['shape']}; expected {self.datatypes[name]} {list(array.shape)}"
        if isinstance(found, list):
            flat = np.array(found, dtype=object if output["datatype"] == "BYTES" else DTYPES[output["datatype"]])
            right = flat.tolist() == array.reshape(-1).tolist()
        else:
            right = found == encode(output["datatype"], array)
        return "" if right else f"{name} holds {found!r:.200}; expected {array.reshape(-1)!r:.200}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One request; `model` is the one whose next valid request must be right."""

    theme: str
    name: str
    model: str
    status: int = 400
    method: str = "POST"
    path: str = ""
    """The model's own `infer` unless it says otherwise."""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    outputs: Outputs | None = None
    """Of an inference that is right; nothing is looked at in any other answer of status 200 but the status."""
    keyless: bool = False
    """It brings its own Authorization, or goes without."""
    wire: bytes | None = None
    """Every byte on the socket, where the framing itself is hostile."""

    @property
    def title(self) -> str:
        return f"{self.theme}: {self.name} ({self.model})"


def encode(datatype: str, array: Any) -> bytes:
    """A tensor as binary data."""
    if datatype != "BYTES":
        data: bytes = array.tobytes()
        return data
    elements = [element.encode() for element in array.reshape(-1)]
    return b"".join(len(element).to_bytes(4, "little") + element for element in elements)
