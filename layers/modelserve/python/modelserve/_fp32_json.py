"""FP32 in the fewest digits, twenty times as fast as Python can: orjson does so for NumPy's arrays only, and where there is no NumPy it
is shown a class in the place of theirs."""

from __future__ import annotations

import ctypes
import sys
import threading
from array import array
from collections.abc import Callable
from functools import partial
from types import ModuleType

import orjson

from ._typing import TYPE_CHECKING, Any
from .tensors import shortest

if TYPE_CHECKING:
    from .tensors import Data

__all__ = ["shower"]

_KEPT = 4
"""Outputs of an answer whose memory is kept for the next one."""
_ROOM = 2**14
"""Elements that it has room for."""
_VERSION = 2
_CONTIGUOUS, _ALIGNED, _NATIVE = 0x1, 0x100, 0x200
_FREE_THREADED = "t" in sys.abiflags
"""Where objects begin otherwise, and so what orjson counts down is another field."""
_SCALARS = "bool_ datetime64 float16 float32 float64 half int8 int16 int32 int64 uint8 uint16 uint32 uint64"
"""What orjson looks up in NumPy besides `ndarray`, once in a process."""


class _Interface(ctypes.Structure):
    """NumPy's PyArrayInterface (numpy.org/doc/stable/reference/arrays.interface.html)."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("dimensions", ctypes.c_int),
        ("kind", ctypes.c_char),
        ("size", ctypes.c_int),
        ("flags", ctypes.c_int),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("description", ctypes.py_object),
    )


class _Singles:
    """Memory for FP32 elements, which orjson reads once as it reads an array of NumPy's."""

    __slots__ = ("__array_struct__", "_held", "count", "interface", "view")

    def __init__(self, room: int) -> None:
        memory, self.count, stride = (ctypes.c_char * (4 * room))(), ctypes.c_ssize_t(0), ctypes.c_ssize_t(4)
        self.view = memoryview(memory).cast("B")
        addresses = (ctypes.addressof(each) for each in (self.count, stride, memory))
        self.interface = _Interface(_VERSION, 1, b"f", 4, _CONTIGUOUS | _ALIGNED | _NATIVE, *addresses, None)
        self._held = memory, stride
        self.__array_struct__ = _capsule(ctypes.addressof(self.interface), None, None)


_capsule = ctypes.pythonapi.PyCapsule_New
_capsule.restype, _capsule.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class _Kept(threading.local):
    """Of a thread, so that nobody else writes there before orjson has read it."""

    def __init__(self) -> None:
        self.singles = [_Singles(_ROOM) for _ in range(_KEPT)]


def shower() -> Callable[[Data, int], Any]:
    """What makes of a buffer of FP32, the output of an answer at an index, a thing to be put into the next document that orjson writes.

    Its numbers are written as NumPy's are, and null for NaN and infinity.
    """
    try:
        import numpy as np  # noqa: PLC0415 - where it is installed, orjson will look for it too
    except ImportError:
        kept = _Kept()
        return partial(_held, kept) if not _FREE_THREADED and _is_known(kept) else _in_python
    return lambda data, _: np.frombuffer(data, "<f4")


def _is_known(kept: _Kept) -> bool:
    """Shows `_Singles` to orjson, which looks for NumPy when it first meets a class that it doesn't know."""
    stand_in = ModuleType("numpy")
    vars(stand_in).update({name: type(name, (), {}) for name in _SCALARS.split()}, ndarray=_Singles)
    sys.modules["numpy"] = stand_in
    try:
        return orjson.dumps(_held(kept, array("f", [0.1]), 0), option=orjson.OPT_SERIALIZE_NUMPY) == b"[0.1]"
    except Exception:  # noqa: BLE001 - another orjson may look for more; the numbers can be written without
        return False
    finally:
        del sys.modules["numpy"]


def _held(kept: _Kept, data: Data, index: int) -> _Singles:
    held = data if type(data) is bytes else memoryview(data).cast("B")
    size = len(held)
    singles = kept.singles[index] if index < _KEPT and size <= 4 * _ROOM else _Singles(size // 4)
    singles.view[:size] = held
    singles.count.value = size // 4
    singles.interface.version = _VERSION  # orjson counts it down, as if it were a count of references
    return singles


def _in_python(data: Data, _: int) -> list[float]:
    return shortest(memoryview(data).cast("B").cast("f").tolist())
