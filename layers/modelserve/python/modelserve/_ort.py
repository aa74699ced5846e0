"""ONNX Runtime's library through its C API: found beside its Python package, which isn't imported, and its functions by their names."""

from __future__ import annotations

import os
import sys
from ctypes import CDLL, CFUNCTYPE, PYFUNCTYPE, byref, c_char_p, c_int, c_ssize_t, c_uint32, c_void_p, py_object, pythonapi
from functools import lru_cache
from threading import Lock

from ._typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensors import Data

__all__ = ["Api", "Failed", "LibraryUnavailable", "Pinned", "api", "array_of", "bytes_at", "find_library"]

_VERSION = 24
"""Of the C API: the first with GetTensorElementTypeAndShapeDataReference. Release 1.N of the library has version N and all below."""
_FATAL = 4

# The order of `struct OrtApi` in onnxruntime_c_api.h, which is only ever appended to. These return a status, null for success.
_STATUS = {
    "CreateEnv": 3,
    "DisableTelemetryEvents": 6,
    "CreateSession": 7,
    "CreateSessionFromArray": 8,
    "Run": 9,
    "CreateSessionOptions": 10,
    "DisableCpuMemArena": 19,
    "SetSessionLogSeverityLevel": 22,
    "SetSessionGraphOptimizationLevel": 23,
    "SetIntraOpNumThreads": 24,
    "SetInterOpNumThreads": 25,
    "SessionGetInputCount": 30,
    "SessionGetOutputCount": 31,
    "SessionGetInputTypeInfo": 33,
    "SessionGetOutputTypeInfo": 34,
    "SessionGetInputName": 36,
    "SessionGetOutputName": 37,
    "CreateRunOptions": 39,
    "RunOptionsSetTerminate": 46,
    "CreateTensorAsOrtValue": 48,
    "CreateTensorWithDataAsOrtValue": 49,
    "GetTensorMutableData": 51,
    "FillStringTensor": 52,
    "GetStringTensorDataLength": 53,
    "GetStringTensorContent": 54,
    "CastTypeInfoToTensorInfo": 55,
    "GetOnnxTypeFromTypeInfo": 56,
    "GetTensorElementType": 60,
    "GetDimensionsCount": 61,
    "GetDimensions": 62,
    "CreateCpuMemoryInfo": 69,
    "AllocatorFree": 76,
    "GetAllocatorWithDefaultOptions": 78,
    "AddSessionConfigEntry": 130,
    "GetResizedStringTensorElementBuffer": 252,
    "GetTensorElementTypeAndShapeDataReference": 414,
}
_RELEASE = {
    "ReleaseStatus": 93,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseRunOptions": 97,
    "ReleaseTypeInfo": 98,
    "ReleaseSessionOptions": 100,
}
_LONG = {"CreateEnv", "CreateSession", "CreateSessionFromArray", "Run", "ReleaseSession"}
"""Other threads run meanwhile; the rest ends sooner than they could be let in."""
_CODES = (
    "SUCCESS",
    "FAIL",
    "INVALID_ARGUMENT",
    "NO_SUCHFILE",
    "NO_MODEL",
    "ENGINE_ERROR",
    "RUNTIME_EXCEPTION",
    "INVALID_PROTOBUF",
    "MODEL_LOADED",
    "NOT_IMPLEMENTED",
    "INVALID_GRAPH",
    "EP_FAIL",
)


class LibraryUnavailable(Exception):
    """This process finds no library of ONNX Runtime that has what `Api` calls."""


class Failed(Exception):
    """What a status says, in the form that the Python binding gives it."""


class Api:
    """The library's functions, and what all sessions share: the environment, which lives as long as the process, and its memory.

    A function takes pointers as ctypes objects, bytes or None, and integers that fit a C int; with argument types declared, converting
    them would take longer than the call.
    """

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, path: str) -> None:
        """Raises `LibraryUnavailable` for a library that can't be loaded, or is too old."""
        table = _table(path)
        self._code, self._message = PYFUNCTYPE(c_int)(table[1]), PYFUNCTYPE(c_char_p)(table[2])
        for result, functions in ((c_void_p, _STATUS), (None, _RELEASE)):
            slow, fast = CFUNCTYPE(result), PYFUNCTYPE(result)
            for name, index in functions.items():
                setattr(self, name, (slow if name in _LONG else fast)(table[index]))
        # Below fatal it would write elements of the input to the log, and the status says the same.
        self.env = self.made(self.CreateEnv, _FATAL, b"modelserve")
        self.check(self.DisableTelemetryEvents(self.env))
        self.memory = self.made(self.CreateCpuMemoryInfo, 0, 0)
        self.allocator = self.made(self.GetAllocatorWithDefaultOptions)

    def check(self, status: int | None) -> None:
        """Raises `Failed` for a status that is not null, and frees it."""
        if status:
            held = c_void_p(status)
            code, message = self._code(held), self._message(held).decode(errors="replace")
            self.ReleaseStatus(held)
            raise Failed(f"[ONNXRuntimeError] : {code} : {_CODES[code] if code < len(_CODES) else 'GENERAL ERROR'} : {message}")

    def made(self, function: Any, *arguments: Any) -> c_void_p:
        """What `function` leaves where its last argument points to. Raises `Failed`."""
        found = c_void_p()
        self.check(function(*arguments, byref(found)))
        return found

    def text(self, function: Any, *arguments: Any) -> str:
        """As `made`, of a string."""
        found = self.made(function, *arguments, self.allocator)
        text = (c_char_p.from_buffer(found).value or b"").decode()
        self.check(self.AllocatorFree(self.allocator, found))
        return text


def _table(path: str) -> Any:
    try:
        get = CDLL(path).OrtGetApiBase
    except (OSError, AttributeError) as error:
        raise LibraryUnavailable(f"ONNX Runtime's library can't be loaded: {error}; install onnxruntime again") from None
    get.restype = c_void_p
    base: Any = (c_void_p * 2).from_address(get())
    found = CFUNCTYPE(c_void_p, c_uint32)(base[0])(_VERSION)
    if not found:
        release = CFUNCTYPE(c_char_p)(base[1])().decode()
        raise LibraryUnavailable(f"ONNX Runtime's library is of release {release}; expected 1.{_VERSION} or newer; install that")
    return (c_void_p * (max(_STATUS.values()) + 1)).from_address(found)


def find_library() -> str:
    """The library's path. Raises `LibraryUnavailable`."""
    for entry in sys.path:
        folder = f"{entry or '.'}/onnxruntime/capi"
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if name.startswith("libonnxruntime.") and (".so" in name or name.endswith(".dylib")):
                return f"{folder}/{name}"
    raise LibraryUnavailable("no folder of sys.path has onnxruntime/capi/libonnxruntime.*; install onnxruntime")


_API: list[Api] = []
_LOADING = Lock()


def api() -> Api:
    """The one of this process, loaded at the first call. Raises `LibraryUnavailable`."""
    with _LOADING:
        if not _API:
            _API.append(Api(find_library()))
    return _API[0]


bytes_at: Any = PYFUNCTYPE(py_object)(("PyBytes_FromStringAndSize", pythonapi))
"""A copy of memory as bytes: of a pointer, and a size as c_ssize_t."""
_get_buffer = PYFUNCTYPE(c_int, py_object, c_void_p, c_int)(("PyObject_GetBuffer", pythonapi))
_release_buffer = PYFUNCTYPE(None, c_void_p)(("PyBuffer_Release", pythonapi))


@lru_cache(maxsize=64)
def array_of(kind: Any, size: int) -> Any:
    """The type of an array; ctypes makes a new one each time, for longer than a small run takes."""
    return kind * size


class Pinned:
    """The memory of a buffer, which stays where it is as long as this lives."""

    def __init__(self, data: Data) -> None:
        """Raises `BufferError` unless `data` is contiguous."""
        self._view = array_of(c_void_p, 16)()  # a Py_buffer: its pointer first, its length third
        _get_buffer(data, self._view, 0)
        self.address: int = self._view[0] or 0
        self.size: int = c_ssize_t.from_buffer(self._view, 16).value

    def __del__(self, release: Any = _release_buffer) -> None:
        release(self._view)  # nothing where there is no buffer

    def holds(self, address: int) -> bool:
        """Whether an address lies in it."""
        return self.address <= address < self.address + self.size
