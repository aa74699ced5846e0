"""What runs of a graph take: tensors given to ONNX Runtime, and taken from it, without a copy where they are large."""

from __future__ import annotations

from ctypes import POINTER, Union, byref, c_byte, c_char, c_char_p, c_int, c_int64, c_size_t, c_ssize_t, c_void_p
from math import prod
from typing import TYPE_CHECKING, Any

from . import _strings
from ._ort import Failed, Pinned, bytes_at
from .tensors import DATATYPES, Tensor, strings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._graph import Graph
    from .tensors import Data

__all__ = ["ELEMENTS", "Frame", "Plan"]

ELEMENTS = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}
"""Datatypes of the protocol by `ONNXTensorElementDataType`."""
_CODES = {datatype: code for code, datatype in ELEMENTS.items()}
_COPIED = 16 * 1024
"""Bytes up to which a tensor is copied: that takes less time than to hold on to its memory and to let go of it."""


class Plan:
    """The names of a run, and frames for as many runs as go on at once."""

    def __init__(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self._graph, self._inputs, self._outputs = graph, inputs, outputs
        self._frames: list[Frame] = []

    def take(self) -> Frame:
        """A frame that no other run has. Raises `Failed`."""
        try:
            return self._frames.pop()
        except IndexError:
            return Frame(self._graph, self._inputs, self._outputs)

    def give_back(self, frame: Frame) -> None:
        """Only after a run that succeeded, and in time."""
        self._frames.append(frame)


class _Slot:
    """An input of a frame. Where `memory` is set, `value` refers to it, and later inputs of the same type are copied there."""

    __slots__ = ("datatype", "memory", "pinned", "shape", "value")

    def __init__(self, value: c_void_p) -> None:
        self.value = value
        self.datatype = ""
        self.shape: tuple[int, ...] = ()
        self.memory: memoryview | None = None
        self.pinned: Any = None
        """What keeps the memory of `value` where it is."""


class _Lent:
    """A value of ONNX Runtime whose memory has been handed out; the graph stays too, since the memory may be a constant of its."""

    __slots__ = ("_graph", "_value")

    def __init__(self, graph: Graph, value: int | None) -> None:
        self._graph = graph
        self._value = c_void_p(value)

    def __del__(self) -> None:
        self._graph.api.ReleaseValue(self._value)


class _Octet(Union):
    """A byte. A memoryview of an array of unions can be cast to other formats, one of an array of c_byte can't."""

    _fields_ = (("value", c_byte),)


class Frame:
    """The values and the options of one run at a time; dropping it frees them."""

    def __init__(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raises `Failed`."""
        self._graph = graph
        self._api = graph.api
        self._given, self._taken = (c_void_p * len(inputs))(), (c_void_p * len(outputs))()
        self._slots = {name: _Slot(c_void_p.from_buffer(self._given, 8 * index)) for index, name in enumerate(inputs)}
        self._outputs = [(name, c_void_p.from_buffer(self._taken, 8 * index)) for index, name in enumerate(outputs)]
        self._element, self._dimensions, self._rank, self._data = c_int(), POINTER(c_int64)(), c_size_t(), c_void_p()
        self._shape_of = byref(self._element), byref(self._dimensions), byref(self._rank)
        self._options = c_void_p()
        self._options = self._api.made(self._api.CreateRunOptions)
        names = [(c_char_p * len(each))(*(name.encode() for name in each)) for each in (inputs, outputs)]
        self._arguments = (
            graph.session,
            self._options,
            names[0],
            self._given,
            c_size_t(len(inputs)),
            names[1],
            c_size_t(len(outputs)),
            self._taken,
        )

    def __del__(self) -> None:
        for value in (*(slot.value for slot in self._slots.values()), *(value for _, value in self._outputs)):
            self._api.ReleaseValue(value)  # nothing for null
        self._api.ReleaseRunOptions(self._options)

    def _terminate(self, _: bool) -> None:
        self._api.RunOptionsSetTerminate(self._options)

    terminate = property(fset=_terminate, doc="Set to end the run.")

    def write(self, inputs: Sequence[Tensor]) -> None:
        """Gives all inputs. Raises `Failed`, `InvalidInput`, `ValueError`."""
        if len(inputs) != len(self._slots) or len({tensor.name for tensor in inputs} & self._slots.keys()) != len(inputs):
            raise Failed(f"the inputs {[tensor.name for tensor in inputs]} were given; expected {list(self._slots)}")
        for tensor in inputs:
            slot = self._slots[tensor.name]
            if slot.memory is not None and slot.shape == tensor.shape and slot.datatype == tensor.datatype:
                slot.memory[:] = _contiguous(tensor, len(slot.memory))
            else:
                self._place(slot, tensor)

    def run(self) -> None:
        """Raises `Failed`."""
        self._api.check(self._api.Run(*self._arguments))

    def read(self) -> list[Tensor]:
        """The outputs of a run that succeeded. Raises `Failed`."""
        api = self._api
        answers = []
        for name, value in self._outputs:
            api.check(api.GetTensorElementTypeAndShapeDataReference(value, *self._shape_of))
            rank, datatype = self._rank.value, ELEMENTS[self._element.value]
            shape = tuple(self._dimensions[:rank]) if rank else ()
            answers.append(Tensor(name, datatype, shape, self._read(value, datatype, prod(shape))))
            api.ReleaseValue(value)
            value.value = None
        for slot in self._slots.values():
            if slot.memory is None:
                self._clear(slot)
        return answers

    def _read(self, value: c_void_p, datatype: str, count: int) -> Data:
        if datatype == "BYTES":
            return _strings.read(self._api, value, count)
        size = count * DATATYPES[datatype].size
        self._api.check(self._api.GetTensorMutableData(value, byref(self._data)))
        address = self._data.value or 0
        if size <= _COPIED or any(slot.pinned.holds(address) for slot in self._slots.values() if isinstance(slot.pinned, Pinned)):
            copied: bytes = bytes_at(self._data, c_ssize_t(size))
            return copied
        lent: Any = (_Octet * size).from_address(address)
        lent.owner = _Lent(self._graph, value.value)
        value.value = None
        return memoryview(lent).toreadonly()

    def _place(self, slot: _Slot, tensor: Tensor) -> None:
        """Makes a value for an input of another type than the last one, or one too large to be copied."""
        self._clear(slot)
        code = _CODES.get(tensor.datatype)
        if code is None:
            raise ValueError(f"input {tensor.name!r} is {tensor.datatype}; expected one of {', '.join(_CODES)}")
        shape = (c_int64 * len(tensor.shape))(*tensor.shape), c_size_t(len(tensor.shape)), code, byref(slot.value)
        if tensor.datatype == "BYTES":
            elements = [text.encode() for text in strings(tensor)]
            self._api.check(self._api.CreateTensorAsOrtValue(self._api.allocator, *shape))
            _strings.write(self._api, slot.value, elements)
            return
        element = DATATYPES[tensor.datatype].size
        size = prod(tensor.shape) * element
        address = self._own(slot, tensor, size) if size <= _COPIED else self._pin(slot, tensor, size, element)
        self._api.check(self._api.CreateTensorWithDataAsOrtValue(self._api.memory, address, c_size_t(size), *shape))

    def _own(self, slot: _Slot, tensor: Tensor, size: int) -> Any:
        memory = bytearray(_contiguous(tensor, size) or 1)
        slot.pinned = (c_char * len(memory)).from_buffer(memory)
        slot.memory, slot.shape, slot.datatype = memoryview(memory)[:size], tensor.shape, tensor.datatype
        return slot.pinned

    def _pin(self, slot: _Slot, tensor: Tensor, size: int, element: int) -> c_void_p:
        view = memoryview(tensor.data)
        slot.pinned = Pinned(view) if view.c_contiguous else None
        if slot.pinned is None or slot.pinned.address % element:  # kernels take their elements for aligned
            slot.pinned = Pinned(_contiguous(tensor, size))
        if slot.pinned.size != size:
            raise _other_size(tensor, slot.pinned.size, size)
        return c_void_p(slot.pinned.address)

    def _clear(self, slot: _Slot) -> None:
        self._api.ReleaseValue(slot.value)
        slot.value.value = None
        slot.memory = slot.pinned = None


def _contiguous(tensor: Tensor, size: int) -> bytes:
    data = memoryview(tensor.data).tobytes()
    if len(data) != size:
        raise _other_size(tensor, len(data), size)
    return data


def _other_size(tensor: Tensor, found: int, expected: int) -> ValueError:
    return ValueError(f"input {tensor.name!r} has {found} bytes; {tensor.datatype} of shape {list(tensor.shape)} takes {expected}")
