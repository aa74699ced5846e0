"""Thrift's compact protocol, in which Parquet writes its metadata: any struct read, changed and written, unknown fields included."""

from __future__ import annotations

from typing import Any, TypeAlias

__all__ = ["BINARY", "I32", "I64", "LIST", "STRUCT", "Struct", "decode", "encode"]

# https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
TRUE, FALSE, I8, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)

Struct: TypeAlias = dict[int, tuple[int, Any]]
"""Field id to type and value; a list's value is the type of its elements, and these."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        result = shift = 0
        while True:
            byte = self.byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7

    def zigzag(self) -> int:
        number = self.varint()
        return (number >> 1) ^ -(number & 1)

    def taken(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def struct(self) -> Struct:
        fields: Struct = {}
        number = 0
        while header := self.byte():
            number = number + (header >> 4) if header >> 4 else self.zigzag()
            kind = header & 0x0F
            fields[number] = (kind, kind == TRUE if kind in {TRUE, FALSE} else self.value(kind))
        return fields

    def value(self, kind: int) -> Any:  # noqa: PLR0911 - a case a type
        match kind:
            case 1 | 2 | 3:  # a boolean in a list is a byte
                return self.byte()
            case 4 | 5 | 6:
                return self.zigzag()
            case 7:
                return self.taken(8)
            case 8:
                return self.taken(self.varint())
            case 9 | 10:
                header = self.byte()
                count = header >> 4 if header >> 4 != 15 else self.varint()
                return header & 0x0F, [self.value(header & 0x0F) for _ in range(count)]
            case 11:
                count = self.varint()
                kinds = self.byte() if count else 0
                return kinds, [(self.value(kinds >> 4), self.value(kinds & 0x0F)) for _ in range(count)]
            case 12:
                return self.struct()
            case _:
                raise ValueError(f"no type {kind} in Thrift's compact protocol")


def decode(data: bytes) -> Struct:
    """The struct at the start of `data`. Raises `ValueError` for what is none."""
    try:
        return _Reader(data).struct()
    except IndexError:
        raise ValueError("Thrift data end within a value") from None


def encode(fields: Struct) -> bytes:
    """What `decode` reads to an equal value."""
    out = bytearray()
    _write(out, STRUCT, fields)
    return bytes(out)


def _write_varint(out: bytearray, number: int) -> None:
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _write_struct(out: bytearray, fields: Struct) -> None:
    last = 0
    for number, (kind, value) in sorted(fields.items()):
        written = (TRUE if value else FALSE) if kind in {TRUE, FALSE} else kind
        if 0 < number - last < 16:
            out.append((number - last) << 4 | written)
        else:
            out.append(written)
            _write(out, I16, number)
        last = number
        if kind not in {TRUE, FALSE}:
            _write(out, kind, value)
    out.append(0)


def _write(out: bytearray, kind: int, value: Any) -> None:  # noqa: C901 - as above
    match kind:
        case 1 | 2 | 3:
            out.append(value)
        case 4 | 5 | 6:
            _write_varint(out, value << 1 if value >= 0 else (-value << 1) - 1)
        case 7:
            out += value
        case 8:
            _write_varint(out, len(value))
            out += value
        case 9 | 10:
            element, values = value
            out.append((len(values) << 4 if len(values) < 15 else 0xF0) | element)
            if len(values) >= 15:
                _write_varint(out, len(values))
            for each in values:
                _write(out, element, each)
        case 11:
            kinds, pairs = value
            _write_varint(out, len(pairs))
            if pairs:
                out.append(kinds)
            for key, each in pairs:
                _write(out, kinds >> 4, key)
                _write(out, kinds & 0x0F, each)
        case _:
            _write_struct(out, value)
