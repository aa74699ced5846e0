"""Tensors of strings between ONNX Runtime, which holds each on its own, and the BYTES of the protocol, which are one buffer."""

from __future__ import annotations

from ctypes import byref, c_char, c_char_p, c_size_t, c_void_p, memmove
from itertools import pairwise
from math import prod

from ._ort import array_of
from ._typing import TYPE_CHECKING
from .tensors import Tensor, encode_bytes, iter_bytes, strings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._ort import Api

__all__ = ["elements", "read", "write"]


def elements(tensor: Tensor) -> list[bytes]:
    """The elements of an input. Raises `InvalidInput` unless they are UTF-8, and as many as its shape."""
    found = list(iter_bytes(tensor))
    try:
        b"\0".join(found).decode()
    except UnicodeDecodeError:
        strings(tensor)  # which says so
    if len(found) != prod(tensor.shape):
        strings(tensor)
    return found


def write(api: Api, value: c_void_p, elements: Sequence[bytes]) -> None:
    """Sets all elements of a tensor that has as many. Raises `Failed`."""
    if b"\0".join(elements).count(b"\0") >= len(elements):  # one is in an element, where a C string would end
        for index, element in enumerate(elements):
            target = api.made(api.GetResizedStringTensorElementBuffer, value, c_size_t(index), c_size_t(len(element)))
            memmove(target, element, len(element))
    else:
        api.check(api.FillStringTensor(value, array_of(c_char_p, len(elements))(*elements), c_size_t(len(elements))))


def read(api: Api, value: c_void_p, count: int) -> bytes:
    """The `count` elements of a tensor. Raises `Failed`."""
    if not count:
        return b""
    length, offsets = c_size_t(), array_of(c_size_t, count)()
    api.check(api.GetStringTensorDataLength(value, byref(length)))
    content = bytearray(length.value + 1)
    api.check(api.GetStringTensorContent(value, byref(c_char.from_buffer(content)), length, offsets, c_size_t(count)))
    whole = bytes(content)
    return encode_bytes([whole[start:end] for start, end in pairwise((*offsets[:], length.value))])
