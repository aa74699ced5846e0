"""Words that stand nowhere but in what a test sends, so that wherever one turns up, it was let through."""

from __future__ import annotations

import json
import secrets
import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any


class Canaries:
    """A word for each field that never stands anywhere else, and the numbers that were sent as data."""

    def __init__(self) -> None:
        self.words: dict[str, str] = {}

    def word(self, field: str) -> str:
        return self.words.setdefault(field, f"canary{secrets.token_hex(8)}")

    def number(self, field: str) -> float:
        """One that FP32 holds exactly, so that it is written the same everywhere."""
        value = float(2**22 + secrets.randbelow(2**22)) + 0.5
        self.words[field] = str(value)
        return value

    def found_in(self, text: str) -> set[str]:
        """The fields whose canary stands in a text: plainly, or in base64 at any of its three alignments."""
        return {field for field, word in self.words.items() if any(form in text for form in _forms(word))}


def _forms(word: str) -> Iterator[str]:
    yield word
    for shift in range(3):
        encoded = b64encode(b" " * shift + word.encode()).decode().rstrip("=")
        yield encoded[(0, 2, 3)[shift] : -1]


def document(canaries: Canaries, case: str, **changes: Any) -> dict[str, Any]:
    """A request that is right but for `changes` of its tensor, with a canary in everything that may be anything."""

    def free(field: str) -> str:
        return canaries.word(f"{case}: {field}")

    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": [1, 3],
        "data": [canaries.number(f"{case}: data"), 0, 0],
        "parameters": {free("tensor parameter"): free("tensor parameter's value")},
        **changes,
    }
    return {"id": free("id"), "parameters": {free("parameter"): free("parameter's value")}, "inputs": [tensor], free("key"): free("value")}


def broken(canaries: Canaries) -> Iterator[tuple[str, Any]]:
    """Requests that are wrong in one place each, where a message could quote it."""
    word = canaries.word
    yield "tensor name", document(canaries, "tensor name", name=word("wrong tensor name"))
    yield "datatype", document(canaries, "datatype", datatype=word("wrong datatype"))
    yield "shape", document(canaries, "shape", shape=[word("wrong shape")])
    yield "data", document(canaries, "data", data=[word("wrong data"), 0, 0])
    yield "output", document(canaries, "output") | {"outputs": [{"name": word("wrong output")}]}
    yield "outputs", document(canaries, "outputs") | {"outputs": word("wrong outputs")}
    yield "id", document(canaries, "id") | {"id": [word("wrong id")]}
    yield "inputs", {"inputs": word("wrong inputs")}
    yield "binary size", document(canaries, "binary size", parameters={"binary_data_size": word("wrong binary size")})
    yield "classification", document(canaries, "class") | {"outputs": [{"name": "y", "parameters": {"classification": word("classes")}}]}
    yield "no object", [word("no object")]


def binary(canaries: Canaries) -> tuple[bytes, dict[str, str]]:
    """Data after the header: three numbers, the first of them four bytes of text."""
    body = document(canaries, "binary", parameters={"binary_data_size": 12})
    del body["inputs"][0]["data"]
    head = json.dumps(body).encode()
    return head + struct.pack("<3f", canaries.number("binary data"), 0, 0), {"Inference-Header-Content-Length": str(len(head))}
