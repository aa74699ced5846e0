"""Whether two targets gave one answer: the same status, the same tensors, the same words, whatever they call model and version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelserve.endpoints import Response
from tests.hostile.targets import dtype

__all__ = ["TOLERANCE", "difference"]

TOLERANCE = 1e-6
"""Relative, of a number."""
_LENGTH = "Inference-Header-Content-Length"
_COMPARED = ("Content-Type", "Retry-After", "Allow")
_MODEL_FAILED = "could not run on this input"


def difference(one: Response, other: Response, names: Mapping[str, str]) -> str:
    """What is different in the other's answer; empty when nothing is. `names` are its words for the one's, of model and versions."""
    if one.status != other.status:
        return f"status {other.status}, expected {one.status}: {other.body[:300]!r}, expected {one.body[:300]!r}"
    for header in _COMPARED:
        if one.headers.get(header) != other.headers.get(header):
            return f"{header} {other.headers.get(header)!r}, expected {one.headers.get(header)!r}"
    (expected, expected_tail), (found, tail) = _split(one, {}), _split(other, names)
    if one.status != 200 or "outputs" not in expected or not isinstance(expected["outputs"][0], dict) or "model_name" not in expected:
        return "" if _told(expected) == _told(found) else f"{found}, expected {expected}"
    return _differs(expected, expected_tail, found, tail)


def _split(response: Response, names: Mapping[str, str]) -> tuple[Any, bytes]:
    """The JSON object and what is behind it."""
    length = int(response.headers.get(_LENGTH, len(response.body)))
    text = response.body[:length].decode()
    for name, word in names.items():
        text = text.replace(name, word)
    return json.loads(text) if text else {}, response.body[length:]


def _told(document: Any) -> Any:
    """What a model says when it can't run is the engine's, and each engine has its own words."""
    error = document.get("error", "") if isinstance(document, dict) else ""
    return error.partition(_MODEL_FAILED)[0] if _MODEL_FAILED in error else document


def _differs(expected: Any, expected_tail: bytes, found: Any, tail: bytes) -> str:
    if _without_data(expected) != _without_data(found):
        return f"{_without_data(found)}, expected {_without_data(expected)}"
    for one, other in zip(expected["outputs"], found["outputs"], strict=True):
        (right, expected_tail), (got, tail) = _elements(one, expected_tail), _elements(other, tail)
        if not _equal(right, got):
            return f"output {one['name']!r} is {got!r:.200}, expected {right!r:.200}"
    return "" if tail == expected_tail == b"" else f"{len(tail)} bytes behind the outputs, expected {len(expected_tail)}"


def _without_data(document: Any) -> Any:
    return {**document, "outputs": [{key: value for key, value in output.items() if key != "data"} for output in document["outputs"]]}


def _elements(output: Any, tail: bytes) -> tuple[Any, bytes]:
    """The elements as an array of their datatype, and the bytes behind them."""
    kind = dtype(output["datatype"])
    size = output.get("parameters", {}).get("binary_data_size")
    if size is None:
        return np.array(output["data"], kind), tail
    text = output["datatype"] == "BYTES"
    return np.array([tail[:size]], object) if text else np.frombuffer(tail[:size], kind), tail[size:]


def _equal(one: Any, other: Any) -> bool:
    if one.dtype.kind == "f":
        return one.shape == other.shape and bool(np.allclose(one, other, rtol=TOLERANCE, atol=0, equal_nan=True))
    return bool(one.tolist() == other.tolist())
