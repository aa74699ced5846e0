"""A graph in ONNX Runtime's memory, its signature, and the options that it is loaded with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import byref, c_int, c_int64, c_size_t, c_void_p

from ._ort import Api, Failed, Pinned
from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .tensors import Data

__all__ = ["KINDS", "TENSOR", "Graph", "options"]

TENSOR = 1
KINDS = ("unknown", "tensor", "sequence", "map", "opaque", "sparse tensor", "optional")
"""By `ONNXType`."""


class Graph:
    """A loaded graph, which lasts as long as anything refers to this."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.session = c_void_p()
        self._data: Pinned | None = None

    def load(self, path: str, settings: c_void_p) -> None:
        """Reads a file, and external data beside it. Raises `Failed`."""
        self.api.check(self.api.CreateSession(self.api.env, os.fsencode(path), settings, byref(self.session)))

    def load_mapped(self, path: str, settings: c_void_p) -> None:
        """Maps a file of ONNX Runtime's own format into memory, where its weights stay. Raises `Failed`."""
        import mmap  # noqa: PLC0415 - few graphs are loaded so

        with open(path, "rb") as file:
            if not os.path.getsize(path):
                raise Failed("an empty file")
            mapped = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        self.load_data(mapped, settings)

    def load_data(self, data: Data, settings: c_void_p) -> None:
        """Reads what is in memory, and keeps it there. Raises `Failed`."""
        self._data = Pinned(data)
        memory, size = c_void_p(self._data.address), c_size_t(self._data.size)
        self.api.check(self.api.CreateSessionFromArray(self.api.env, memory, size, settings, byref(self.session)))

    def __del__(self) -> None:
        self.api.ReleaseSession(self.session)  # nothing for null

    def signature(self, side: str) -> Iterator[tuple[str, int, int, tuple[int, ...]]]:
        """Name, `ONNXType`, `ONNXTensorElementDataType` and shape of each on a `side`, `Input` or `Output`; -1 is a dynamic dimension."""
        count = c_size_t()
        self.api.check(getattr(self.api, f"SessionGet{side}Count")(self.session, byref(count)))
        for index in map(c_size_t, range(count.value)):
            name = self.api.text(getattr(self.api, f"SessionGet{side}Name"), self.session, index)
            held = self.api.made(getattr(self.api, f"SessionGet{side}TypeInfo"), self.session, index)
            try:
                yield name, *self._described(held)
            finally:
                self.api.ReleaseTypeInfo(held)

    def _described(self, held: c_void_p) -> tuple[int, int, tuple[int, ...]]:
        kind, element, rank = c_int(), c_int(), c_size_t()
        self.api.check(self.api.GetOnnxTypeFromTypeInfo(held, byref(kind)))
        if kind.value != TENSOR:
            return kind.value, 0, ()
        tensor = self.api.made(self.api.CastTypeInfoToTensorInfo, held)
        self.api.check(self.api.GetTensorElementType(tensor, byref(element)))
        self.api.check(self.api.GetDimensionsCount(tensor, byref(rank)))
        shape = (c_int64 * rank.value)()
        self.api.check(self.api.GetDimensions(tensor, shape, rank))
        return kind.value, element.value, tuple(shape)


@contextmanager
def options(api: Api, *, threads: int, entries: Mapping[str, str], unoptimized: bool) -> Iterator[c_void_p]:
    """Session options, those of `binding`. Raises `Failed`."""
    made = api.made(api.CreateSessionOptions)
    try:
        api.check(api.DisableCpuMemArena(made))
        api.check(api.SetIntraOpNumThreads(made, threads))
        api.check(api.SetInterOpNumThreads(made, 1))
        api.check(api.SetSessionLogSeverityLevel(made, 4))
        if unoptimized:
            api.check(api.SetSessionGraphOptimizationLevel(made, 0))
        for key, entry in entries.items():
            api.check(api.AddSessionConfigEntry(made, key.encode(), entry.encode()))
        yield made
    finally:
        api.ReleaseSessionOptions(made)
