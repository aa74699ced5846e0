"""What a model answered, on its way out of the process that ran it, which its file may have taken over."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.config import ParityConfig
    from modelserve.tensors import Tensor

__all__ = ["Answer", "agree", "encoded"]

Answer = tuple[str, str, Sequence[int], str]
"""Name, datatype, shape and data in base64."""


def encoded(answers: Iterable[Tensor]) -> list[Answer]:
    """For JSON."""
    return [
        (tensor.name, tensor.datatype, list(tensor.shape), b64encode(bytes(memoryview(tensor.data).cast("B"))).decode())
        for tensor in answers
    ]


def agree(expected: Iterable[Answer], found: Iterable[Answer], allowed: ParityConfig) -> bool:
    """Whether both hold the same tensors, of numbers and labels within what is `allowed`. Raises `ValueError` for what holds none."""
    from tools.modelctl import parity  # noqa: PLC0415 - a process that is held to a function's memory imports this module, too

    ours, theirs = _arrays(expected), _arrays(found)
    return ours.keys() == theirs.keys() and parity.compare(ours, theirs, allowed).passed


def _arrays(answers: Iterable[Answer]) -> dict[str, Any]:
    return {name: _array(datatype, tuple(shape), b64decode(data)) for name, datatype, shape, data in answers}


def _array(datatype: str, shape: tuple[int, ...], data: bytes) -> Any:
    import numpy as np  # noqa: PLC0415 - as above

    from modelserve.tensors import Tensor, strings  # noqa: PLC0415
    from tools.modelctl.data import DATATYPES  # noqa: PLC0415

    if datatype == "BYTES":
        return np.array(strings(Tensor("", datatype, shape, data)), dtype=object).reshape(shape)
    if datatype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    numbers = {known: name for name, known in DATATYPES.items()}
    return np.frombuffer(data, np.dtype(numbers[datatype])).reshape(shape)
