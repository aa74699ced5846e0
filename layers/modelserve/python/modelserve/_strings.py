"""Tensors of strings between ONNX Runtime, which holds each on its own, and the BYTES of the protocol, which are one buffer."""

from __future__ import annotations

from ctypes import byref, c_char, c_char_p, c_size_t, c_void_p, memmove
from itertools import pairwise
from typing import TYPE_CHECKING

from .tensors import encode_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._ort import Api

__all__ = ["read", "write"]


def write(api: Api, value: c_void_p, elements: Sequence[bytes]) -> None:
    """Sets all elements of a tensor that has as many. Raises `Failed`."""
    if any(b"\0" in element for element in elements):  # where C's strings end
        for index, element in enumerate(elements):
            target = api.made(api.GetResizedStringTensorElementBuffer, value, c_size_t(index), c_size_t(len(element)))
            memmove(target, element, len(element))
    else:
        api.check(api.FillStringTensor(value, (c_char_p * len(elements))(*elements), c_size_t(len(elements))))


def read(api: Api, value: c_void_p, count: int) -> bytes:
    """The `count` elements of a tensor. Raises `Failed`."""
    if not count:
        return b""
    length, offsets = c_size_t(), (c_size_t * count)()
    api.check(api.GetStringTensorDataLength(value, byref(length)))
    content = bytearray(length.value + 1)
    api.check(api.GetStringTensorContent(value, byref(c_char.from_buffer(content)), length, offsets, c_size_t(count)))
    return encode_bytes([bytes(content[start:end]) for start, end in pairwise([*offsets, length.value])])
