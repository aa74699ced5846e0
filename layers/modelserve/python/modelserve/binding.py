"""ONNX Runtime through its Python binding: the reference for `native`, and the only module that imports onnxruntime and numpy."""

from __future__ import annotations

import ctypes
import time
from math import prod
from typing import Any

import numpy as np
import onnxruntime as ort

from ._watchdog import Watchdog
from .errors import DeadlineExceeded, UnverifiedModel
from .manifest import Load, TensorSpec
from .session import Session, entries, failed, unloadable, unoptimized
from .tensors import Tensor, encode_bytes, not_finite, strings

__all__ = ["BindingSession"]

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_DTYPES = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has no bfloat16: its bits
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16
_WATCHDOG = Watchdog()


class BindingSession(Session):
    """A loaded graph; `inputs` and `outputs` are its signature.

    The file may be deleted once the session exists. Raises `UnverifiedModel` for a graph that can't be loaded or served,
    `InsufficientMemory` for one that asks for more than the process may have.
    """

    def __init__(self, path: str, *, name: str, threads: int, refuse_nan: bool = False, load: Load | None = None) -> None:
        options = ort.SessionOptions()
        # An arena keeps what the largest run took, which other models and Python itself then lack. Without it runs take as long, but for
        # tensors beyond the 8 MiB of MALLOC_MMAP_THRESHOLD_ in the Dockerfile (1.2x there).
        options.enable_cpu_mem_arena = False
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Only fatal: its error lines would carry elements of the input into the log, and the exception says the same.
        options.log_severity_level = 4
        for key, entry in entries(load).items():
            options.add_session_config_entry(key, entry)
        if unoptimized(load):
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._session = _load(path, options, name)
        self.name = name
        self.inputs = tuple(_spec(name, argument) for argument in self._session.get_inputs())
        self.outputs = tuple(_spec(name, argument) for argument in self._session.get_outputs())
        self._output_datatypes = {output.name: output.datatype for output in self.outputs}
        self._refuse_nan = refuse_nan
        self._bfloat16 = any(spec.datatype == "BF16" for spec in (*self.inputs, *self.outputs))

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        """As `Session.run`."""
        feed = {tensor.name: self._to_array(tensor) for tensor in inputs}
        options = ort.RunOptions()
        ticket = _WATCHDOG.watch(options, time.monotonic() + seconds)
        try:
            if self._bfloat16:
                return self._run_with_values(feed, outputs, options)
            arrays = self._session.run(outputs, feed, options)
        except Exception as error:  # noqa: BLE001 - as above
            if options.terminate:
                raise DeadlineExceeded(self.name, seconds) from None
            raise failed(error, name=self.name) from None
        finally:
            _WATCHDOG.release(ticket)
        return [_to_tensor(name, self._output_datatypes[name], array) for name, array in zip(outputs, arrays, strict=True)]

    def _to_array(self, tensor: Tensor) -> Any:
        if tensor.datatype == "BYTES":
            return np.array(strings(tensor), dtype=object).reshape(tensor.shape)
        array = np.frombuffer(memoryview(tensor.data), _DTYPES[tensor.datatype]).reshape(tensor.shape)
        if self._refuse_nan and not _is_finite(array, tensor.datatype):
            raise not_finite(tensor.name)
        return array

    def _run_with_values(self, feed: dict[str, Any], outputs: list[str], options: Any) -> list[Tensor]:
        """As `run`, through OrtValues, which is how bfloat16 passes the binding."""
        datatypes = {spec.name: spec.datatype for spec in self.inputs}
        values = {
            name: ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
            if datatypes[name] == "BF16"
            else ort.OrtValue.ortvalue_from_numpy(array)
            for name, array in feed.items()
        }
        answers = self._session.run_with_ort_values(outputs, values, options)
        return [self._from_value(name, value) for name, value in zip(outputs, answers, strict=True)]

    def _from_value(self, name: str, value: Any) -> Tensor:
        if self._output_datatypes[name] != "BF16":
            return _to_tensor(name, self._output_datatypes[name], value.numpy())
        shape = tuple(value.shape())
        return Tensor(name, "BF16", shape, ctypes.string_at(value.data_ptr(), 2 * prod(shape)))


def _load(path: str, options: Any, name: str) -> Any:
    try:
        return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no other base
        raise unloadable(error, name=name, path=path) from None


def _spec(model: str, argument: Any) -> TensorSpec:
    datatype = _DATATYPES.get(argument.type)
    if datatype is None:
        raise UnverifiedModel(f"{argument.name!r} of {model!r}", argument.type, "a tensor; convert with zipmap=False")
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in argument.shape)
    return TensorSpec(name=argument.name, datatype=datatype, shape=shape)


def _is_finite(array: Any, datatype: str) -> bool:
    if datatype == "BF16":
        return bool((array & 0x7F80 != 0x7F80).all())  # the exponent is all ones in NaN and infinities
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _to_tensor(name: str, datatype: str, array: Any) -> Tensor:
    if datatype == "BYTES":
        return Tensor(name, datatype, array.shape, encode_bytes([str(element).encode() for element in array.flat]))
    return Tensor(name, datatype, array.shape, array.reshape(-1))
