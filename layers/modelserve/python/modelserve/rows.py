"""Tensors by rows: a request that is too much at once in parts, requests that run together as one, and their answers each to its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod

from .errors import InvalidInput, PayloadTooLarge
from .tensors import Tensor, iter_bytes

__all__ = ["cut", "join", "split"]


def split(inputs: Sequence[Tensor], *, rows: int, size: int) -> Iterator[list[Tensor]]:
    """The inputs in parts of at most `rows` rows and `size` bytes of data; a row is a step of every input's first dimension.

    Raises `InvalidInput` where they differ in rows, `PayloadTooLarge` for a row that is too large by itself.
    """
    first, total = inputs[0], inputs[0].shape[0]
    for tensor in inputs:
        if tensor.shape[0] != total:
            raise InvalidInput(
                f"input {tensor.name!r} has {tensor.shape[0]} rows, and input {first.name!r} has {total}; send as many of each"
            )
    offsets = [_offsets(tensor) for tensor in inputs]
    start = 0
    while start < total:
        stop = min(start + rows, total)
        while sum(at[stop] - at[start] for at in offsets) > size:
            if stop == start + 1:
                raise PayloadTooLarge("one row", size, "send smaller rows")
            stop = (start + stop) // 2
        yield [_slice(tensor, at, start, stop) for tensor, at in zip(inputs, offsets, strict=True)]
        start = stop


def join(parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """The outputs of all parts, in order. Raises `ValueError` with the reason where those of one part don't fit another's."""
    joined = []
    for pieces in zip(*parts, strict=True):
        for one, other in pairwise(pieces):
            if one.shape[1:] != other.shape[1:]:
                raise ValueError(f"output {one.name!r} has shape {list(one.shape)} for some rows and {list(other.shape)} for others")
        shape = (sum(piece.shape[0] for piece in pieces), *pieces[0].shape[1:])
        joined.append(Tensor(pieces[0].name, pieces[0].datatype, shape, b"".join(piece.data for piece in pieces)))
    return joined


def cut(tensors: Sequence[Tensor], counts: Sequence[int]) -> list[list[Tensor]]:
    """What `join` put together, taken apart again: of each tensor as many rows as `counts` says, in order, for every count.

    Raises `ValueError` for a tensor of another number of rows than all of `counts` together.
    """
    parts: list[list[Tensor]] = [[] for _ in counts]
    for tensor in tensors:
        if tensor.shape[:1] != (sum(counts),):
            raise ValueError(f"{tensor.name!r} has shape {list(tensor.shape)}; expected {sum(counts)} rows")
        at = _offsets(tensor)
        start = 0
        for part, count in zip(parts, counts, strict=True):
            part.append(_slice(tensor, at, start, start + count))
            start += count
    return parts


def _offsets(tensor: Tensor) -> Sequence[int]:
    """Where each row begins in the data, and the last one ends."""
    if tensor.datatype != "BYTES":
        width = memoryview(tensor.data).nbytes // tensor.shape[0]
        return [row * width for row in range(tensor.shape[0] + 1)]
    elements, offsets = prod(tensor.shape[1:]), [0]
    offset = 0
    for index, element in enumerate(iter_bytes(tensor), 1):
        offset += 4 + len(element)
        if index % elements == 0:
            offsets.append(offset)
    return offsets


def _slice(tensor: Tensor, at: Sequence[int], start: int, stop: int) -> Tensor:
    data = memoryview(tensor.data).cast("B")[at[start] : at[stop]]
    return Tensor(tensor.name, tensor.datatype, (stop - start, *tensor.shape[1:]), data)
