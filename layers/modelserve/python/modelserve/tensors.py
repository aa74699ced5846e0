"""A tensor is a datatype, a shape and a buffer; JSON lists become buffers here, and binary payloads stay where they are."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, compress
from math import isfinite, prod
from operator import ne
from reprlib import repr as brief
from struct import Struct, pack
from struct import error as StructError  # noqa: N812 - an exception, which the library writes small

from ._typing import TYPE_CHECKING, Any, TypeAlias
from .errors import InvalidInput, InvalidRequest, UnsupportedDatatype

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .manifest import TensorSpec

    Data: TypeAlias = Buffer

__all__ = [
    "DATATYPES",
    "Datatype",
    "Tensor",
    "encode_bytes",
    "from_list",
    "is_finite",
    "iter_bytes",
    "made",
    "not_finite",
    "packed",
    "shortest",
    "strings",
    "to_list",
]

_LENGTH = Struct("<I")
_struct = lru_cache(64)(Struct)
_EXPONENTS = {"FP16": 0x7C00, "BF16": 0x7F80}  # all ones in NaN and infinities; Python 3.11 reads no half of a float


class Datatype:
    """An element type of the protocol: `size` in bytes (0 for BYTES) and `code`, its letter for `array` and `memoryview`."""

    __slots__ = ("code", "name", "size")

    def __init__(self, name: str, size: int, code: str | None) -> None:
        self.name = name
        self.size = size
        self.code = code


DATATYPES = {
    name: Datatype(name, size, code)
    for name, size, code in (
        ("BOOL", 1, "?"),
        ("UINT8", 1, "B"),
        ("UINT16", 2, "H"),
        ("UINT32", 4, "I"),
        ("UINT64", 8, "Q"),
        ("INT8", 1, "b"),
        ("INT16", 2, "h"),
        ("INT32", 4, "i"),
        ("INT64", 8, "q"),
        ("FP16", 2, None),
        ("BF16", 2, None),
        ("FP32", 4, "f"),
        ("FP64", 8, "d"),
        ("BYTES", 0, None),
    )
}
"""Every datatype of the Open Inference Protocol; those without a code can't be written as JSON numbers."""


class Tensor:
    """Elements in row-major order, little-endian; a BYTES element is its length as four bytes, then itself."""

    __slots__ = ("data", "datatype", "name", "shape")

    def __init__(self, name: str, datatype: str, shape: tuple[int, ...], data: Data) -> None:
        self.name = name
        self.datatype = datatype
        self.shape = shape
        self.data = data


def from_list(name: str, datatype: str, shape: tuple[int, ...], values: list[Any], *, booleans: bool) -> Tensor:
    """A tensor of JSON `values`, flat or nested as `shape` says.

    `booleans` tells that true or false stands somewhere in the request, so that they are looked for.
    Raises `InvalidInput` for another count or nesting, `InvalidRequest` for elements of another type.
    """
    kind = DATATYPES[datatype]
    if values and type(values[0]) is list:
        values = _flatten(name, shape, values)
    if len(values) != prod(shape):
        raise InvalidInput(f"input {name!r} has {len(values)} values; shape {list(shape)} takes {prod(shape)}")
    if datatype == "BYTES":
        return Tensor(name, datatype, shape, _from_strings(name, values))
    if kind.code is None:
        raise UnsupportedDatatype(f"input {name!r} is {datatype}, which JSON can't carry; send it by the binary tensor data extension")
    if kind.code == "?":
        return Tensor(name, datatype, shape, _from_booleans(name, values))
    if booleans and bool in set(map(type, values)):
        raise InvalidRequest(f"input {name!r} holds true or false; {datatype} takes numbers")
    try:
        return Tensor(name, datatype, shape, packed(kind.code, values))
    except (StructError, OverflowError):
        raise InvalidRequest(f"input {name!r} holds {_culprit(kind.code, values)}; expected numbers that fit {datatype}") from None


def packed(code: str, values: list[Any]) -> bytes:
    """Numbers in the native form of a datatype's `code`. Raises `struct.error`, `OverflowError`."""
    return _struct(f"{len(values)}{code}").pack(*values)  # `struct.pack`, which is given the format too, copies all of them once more


def _flatten(name: str, shape: tuple[int, ...], values: list[Any]) -> list[Any]:
    for size in shape[1:]:
        if set(map(type, values)) != {list} or set(map(len, values)) != {size}:
            raise InvalidInput(
                f"input {name!r} has data that is not nested as its shape {list(shape)} says; send it so, or as one flat list"
            )
        values = list(chain.from_iterable(values))
    return values


def _culprit(code: str, values: list[Any]) -> str:
    for index, value in enumerate(values):
        try:
            pack(code, value)
        except (StructError, OverflowError):
            return f"{brief(value):.60} at position {index}"
    raise AssertionError  # some element was refused


def _from_booleans(name: str, values: list[Any]) -> bytes:
    if any(value is not True and value is not False for value in values):
        raise InvalidRequest(f"input {name!r} holds more than true and false; BOOL takes nothing else")
    return bytes(values)


def _from_strings(name: str, values: list[Any]) -> bytes:
    try:
        return encode_bytes([value.encode() for value in values])
    except AttributeError:
        raise InvalidRequest(f"input {name!r} holds elements that are not strings; BYTES takes strings in JSON") from None
    except UnicodeEncodeError:
        raise InvalidRequest(f"input {name!r} holds a lone surrogate; send such bytes by the binary tensor data extension") from None


def encode_bytes(elements: Sequence[bytes]) -> bytes:
    """The elements of a BYTES tensor as one buffer."""
    return b"".join(chain.from_iterable((_LENGTH.pack(len(element)), element) for element in elements))


def iter_bytes(tensor: Tensor) -> Iterator[bytes]:
    """The elements of a BYTES tensor. Raises `InvalidInput` when the lengths don't add up to the buffer."""
    data = memoryview(tensor.data).cast("B")
    offset, end = 0, len(data)
    while offset < end:
        start = offset + 4
        offset = start + _LENGTH.unpack_from(data, offset)[0] if start <= end else end + 1
        if offset > end:
            raise InvalidInput(f"input {tensor.name!r} has a BYTES element that runs past the end of its {end} bytes")
        yield bytes(data[start:offset])


def strings(tensor: Tensor) -> list[str]:
    """The elements of a BYTES tensor that is an input of a model. Raises `InvalidInput` unless they are UTF-8, and as many as its shape."""
    try:
        elements = [element.decode() for element in iter_bytes(tensor)]
    except UnicodeDecodeError:
        raise InvalidInput(f"input {tensor.name!r} holds bytes that are not UTF-8; this model's strings are text") from None
    if len(elements) != prod(tensor.shape):
        raise InvalidInput(f"input {tensor.name!r} has {len(elements)} elements; shape {list(tensor.shape)} takes {prod(tensor.shape)}")
    return elements


def made(spec: TensorSpec) -> Tensor:
    """Zeros or empty strings for an input, with 1 for a dimension of any size."""
    shape = tuple(1 if size < 0 else size for size in spec.shape)
    return Tensor(spec.name, spec.datatype, shape, bytes(prod(shape) * (DATATYPES[spec.datatype].size or 4)))


def is_finite(tensor: Tensor) -> bool:
    """Whether no element is NaN or infinity; for tensors that are no numpy arrays."""
    data = memoryview(tensor.data).cast("B")
    if exponent := _EXPONENTS.get(tensor.datatype):
        return all(bits & exponent != exponent for bits in data.cast("H"))
    if tensor.datatype not in {"FP32", "FP64"}:
        return True
    values = data.cast("f") if tensor.datatype == "FP32" else data.cast("d")
    return isfinite(sum(values)) or all(map(isfinite, values))  # a sum of finite numbers may overflow


def not_finite(name: str) -> InvalidInput:
    """What to raise for an input that `is_finite` is not true of, where the model refuses such."""
    return InvalidInput(f"input {name!r} holds NaN or infinity, which this model refuses; send finite numbers")


def shortest(values: Sequence[float]) -> list[float]:
    """FP32 values as the doubles of their fewest digits, as a numpy array is written: 0.1, and not 0.10000000149011612.

    Below 1e-5 and from 1e13 on orjson chooses another notation for a double, such as 1.9e-6 for 0.0000019.
    Six digits are always enough from text to FP32, and nine from FP32 to text. About 1 us an element; `_fp32_json` is faster.
    """
    exact = array("f", values)
    found = list(values)
    left: Sequence[int] = range(len(found))
    for form in ("%.6g ", "%.7g ", "%.8g ", "%.9g "):
        tried = list(map(float, (form * len(left) % tuple(map(found.__getitem__, left))).split()))
        wrong = list(compress(left, map(ne, array("f", tried), map(exact.__getitem__, left))))
        for index, value in zip(left, tried, strict=True):
            found[index] = value
        for index in wrong:
            found[index] = exact[index]
        if not wrong:
            break
        left = wrong
    return found


def to_list(tensor: Tensor) -> list[Any]:
    """The elements as JSON takes them, flat. Raises `UnsupportedDatatype` for those it can't carry."""
    if tensor.datatype == "BYTES":
        try:
            return [element.decode() for element in iter_bytes(tensor)]
        except UnicodeDecodeError:
            raise UnsupportedDatatype(f"output {tensor.name!r} holds bytes that are not UTF-8; ask for it with binary_data") from None
    code = DATATYPES[tensor.datatype].code
    if code is None:
        raise UnsupportedDatatype(f"output {tensor.name!r} is {tensor.datatype}, which JSON can't carry; ask for it with binary_data")
    view: Any = memoryview(tensor.data)  # Any: `cast` is typed for literal codes only
    values: list[Any] = view.cast("B").cast(code).tolist()
    return values
