"""What runs of a graph take: tensors given to ONNX Runtime, and taken from it, without a copy where they are large."""

from __future__ import annotations

from ctypes import POINTER, Union, byref, c_byte, c_char, c_char_p, c_int, c_int64, c_size_t, c_ssize_t, c_void_p, sizeof
from math import prod

from . import _strings
from ._ort import Failed, Pinned, array_of, bytes_at
from ._typing import TYPE_CHECKING, Any
from .tensors import DATATYPES, Tensor

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
_POINTER = sizeof(c_void_p)
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
    """An input or output of a frame. Where it has `memory`, `value` is a tensor there, of that datatype and shape, for run after run."""

    __slots__ = ("datatype", "memory", "name", "pinned", "shape", "size", "turn", "value")

    def __init__(self, name: str, value: c_void_p) -> None:
        self.name = name
        self.value = value
        self.memory: bytearray | None = None
        self.size = 0
        self.datatype = ""
        self.shape: tuple[int, ...] = ()
        self.pinned: Pinned | None = None
        """Memory of the caller's that `value` refers to."""
        self.turn = 0
        """The run that it was last given for."""


class _Lent:
    """A value whose memory has been handed out, and the graph, which ONNX Runtime may have lent it from."""

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
    """The values and the options of one run at a time; dropping it frees them.

    Small tensors have memory here, which later runs on inputs of the same shapes share. So do outputs, whose shapes are taken to be those
    of the run before; for a graph whose shapes depend on its data that is tried once.
    """

    def __init__(self, graph: Graph, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raises `Failed`."""
        self._graph, self._api = graph, graph.api
        given, taken = (c_void_p * len(inputs))(), (c_void_p * len(outputs))()
        self._inputs = {name: _Slot(name, c_void_p.from_buffer(given, _POINTER * index)) for index, name in enumerate(inputs)}
        self._outputs = [_Slot(name, c_void_p.from_buffer(taken, _POINTER * index)) for index, name in enumerate(outputs)]
        self._turn = 0
        self._single: list[_Slot] = []
        """Inputs that have their value for this run alone."""
        self._repeats, self._varies = False, False
        """Whether all inputs of this run have the shapes of the last one's, and whether outputs then had others."""
        self._element, self._dimensions, self._rank = c_int(), POINTER(c_int64)(), c_size_t()
        self._to_type = byref(self._element), byref(self._dimensions), byref(self._rank)
        self._options = c_void_p()
        self._options = self._api.made(self._api.CreateRunOptions)
        names = [(c_char_p * len(each))(*(name.encode() for name in each)) for each in (inputs, outputs)]
        counts = c_size_t(len(inputs)), c_size_t(len(outputs))
        self._arguments = graph.session, self._options, names[0], given, counts[0], names[1], counts[1], taken

    def __del__(self) -> None:
        for slot in (*self._inputs.values(), *self._outputs):
            self._api.ReleaseValue(slot.value)  # nothing for null
        self._api.ReleaseRunOptions(self._options)

    def _terminate(self, _: bool) -> None:
        self._api.RunOptionsSetTerminate(self._options)

    terminate = property(fset=_terminate, doc="Set to end the run.")

    def write(self, inputs: Sequence[Tensor]) -> None:
        """Gives all inputs. Raises `Failed`, `InvalidInput`, `ValueError`."""
        self._turn = turn = self._turn + 1
        self._repeats = True
        for tensor in inputs:
            slot = self._inputs.get(tensor.name)
            if slot is None or slot.turn == turn:
                raise Failed(f"the input {tensor.name!r} was given; expected each of {list(self._inputs)} once")
            slot.turn = turn
            if slot.memory is not None and slot.shape == tensor.shape and slot.datatype == tensor.datatype:
                slot.memory[:] = _contiguous(tensor, slot.size)
            else:
                self._place(slot, tensor)
        if len(inputs) != len(self._inputs):
            raise Failed(f"{len(inputs)} inputs were given; expected each of {list(self._inputs)} once")

    def run(self) -> None:
        """Raises `Failed`."""
        if not self._repeats:
            self._forget()
        try:
            self._api.check(self._api.Run(*self._arguments))
        except Failed:  # for its own reason, or since an output has another shape than in the run before
            if all(slot.memory is None for slot in self._outputs):
                raise
            self._varies = True
            self._forget()
            self._api.check(self._api.Run(*self._arguments))

    def read(self) -> list[Tensor]:
        """The outputs of a run that succeeded. Raises `Failed`."""
        answers = []
        for slot in self._outputs:
            data = self._taken(slot) if slot.memory is None else bytes(slot.memory)
            answers.append(Tensor(slot.name, slot.datatype, slot.shape, data))
        for slot in self._single:
            self._clear(slot)
        self._single.clear()
        return answers

    def _forget(self) -> None:
        for slot in self._outputs:
            self._clear(slot)

    def _clear(self, slot: _Slot) -> None:
        self._api.ReleaseValue(slot.value)
        slot.value.value = None
        slot.memory = slot.pinned = None

    def _place(self, slot: _Slot, tensor: Tensor) -> None:
        """Makes a value for an input of another type than the last one, or one too large to be copied."""
        self._clear(slot)
        self._repeats = False
        if tensor.datatype not in _CODES:
            raise ValueError(f"input {tensor.name!r} is {tensor.datatype}; expected one of {', '.join(_CODES)}")
        slot.datatype, slot.shape = tensor.datatype, tensor.shape
        slot.size = prod(tensor.shape) * DATATYPES[tensor.datatype].size
        if tensor.datatype == "BYTES":
            self._single.append(slot)
            elements = _strings.elements(tensor)
            self._api.check(self._api.CreateTensorAsOrtValue(self._api.allocator, *_type(slot)))
            _strings.write(self._api, slot.value, elements)
        elif slot.size <= _COPIED:
            self._own(slot, _contiguous(tensor, slot.size))
        else:
            self._single.append(slot)
            slot.pinned = _pinned(tensor, slot.size)
            self._refer(slot, c_void_p(slot.pinned.address))

    def _own(self, slot: _Slot, content: bytes) -> None:
        slot.memory = bytearray(content)
        self._refer(slot, byref(c_char.from_buffer(slot.memory)) if content else b"")

    def _refer(self, slot: _Slot, address: Any) -> None:
        create = self._api.CreateTensorWithDataAsOrtValue
        self._api.check(create(self._api.memory, address, c_size_t(slot.size), *_type(slot)))

    def _taken(self, slot: _Slot) -> Data:
        """What a run has left in an output without memory here."""
        api, address = self._api, c_void_p()
        api.check(api.GetTensorElementTypeAndShapeDataReference(slot.value, *self._to_type))
        slot.datatype = ELEMENTS[self._element.value]
        slot.shape = tuple(self._dimensions[: self._rank.value]) if self._rank.value else ()
        slot.size = prod(slot.shape) * DATATYPES[slot.datatype].size
        if slot.datatype == "BYTES":
            text = _strings.read(api, slot.value, prod(slot.shape))
            self._clear(slot)
            return text
        api.check(api.GetTensorMutableData(slot.value, byref(address)))
        if slot.size > _COPIED and not any(given.pinned and given.pinned.holds(address.value or 0) for given in self._single):
            return self._lent(slot, address)
        found: bytes = bytes_at(address, c_ssize_t(slot.size))
        self._clear(slot)
        # An output that is an input would not be written: no node makes it.
        if self._repeats and not self._varies and slot.size <= _COPIED and slot.name not in self._inputs:
            self._own(slot, found)
        return found

    def _lent(self, slot: _Slot, address: c_void_p) -> memoryview:
        lent = array_of(_Octet, slot.size).from_address(address.value)
        lent.owner = _Lent(self._graph, slot.value.value)
        slot.value.value = None
        return memoryview(lent).toreadonly()


def _type(slot: _Slot) -> tuple[Any, ...]:
    """The last arguments of what makes a value."""
    return array_of(c_int64, len(slot.shape))(*slot.shape), c_size_t(len(slot.shape)), _CODES[slot.datatype], byref(slot.value)


def _pinned(tensor: Tensor, size: int) -> Pinned:
    """The memory of an input, or of a copy where its elements aren't aligned, as kernels take them to be."""
    view = memoryview(tensor.data)
    if view.nbytes != size:
        raise _other_size(tensor, view.nbytes, size)
    if view.c_contiguous:
        pinned = Pinned(view)
        if not pinned.address % DATATYPES[tensor.datatype].size:
            return pinned
    return Pinned(view.tobytes())


def _contiguous(tensor: Tensor, size: int) -> bytes:
    data = memoryview(tensor.data).tobytes()
    if len(data) != size:
        raise _other_size(tensor, len(data), size)
    return data


def _other_size(tensor: Tensor, found: int, expected: int) -> ValueError:
    return ValueError(f"input {tensor.name!r} has {found} bytes; {tensor.datatype} of shape {list(tensor.shape)} takes {expected}")
