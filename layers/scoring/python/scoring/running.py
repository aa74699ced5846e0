"""Asks the model, batch by batch; where a batch fails, the rows that it fails for are found by halves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from modelserve.dataplane import Model
from modelserve.errors import InsufficientMemory, InvalidInput, ModelFailed
from modelserve.tensors import Tensor, iter_bytes

from .arrays import placed
from .block import Block
from .errors import UnsuitableModel
from .inputs import Inputs
from .outputs import column, column_type

__all__ = ["Runner"]

_LONGEST = 60


class Runner:
    """Runs one model on blocks of rows."""

    def __init__(self, model: Model, *, batch_rows: int, seconds: float) -> None:
        """`seconds` bounds each run."""
        self._model = model
        self._batch_rows = batch_rows
        self._seconds = seconds
        self._names = [spec.name for spec in model.outputs]
        self.types = {spec.name: column_type(spec, model.labels) for spec in model.outputs}

    def run(self, block: Block, inputs: Inputs) -> dict[str, Any]:
        """A column an output, null for bad rows; `block.bad` gains the rows that the model fails for. Raises `ServeError`."""
        good = np.setdiff1d(np.arange(block.rows), np.fromiter(block.bad, np.int64, len(block.bad))) if block.bad else None
        asked = inputs if good is None else inputs.taken(good)
        failed: dict[int, str] = {}
        starts = range(0, asked.rows, self._batch_rows)
        parts = [self._run(asked, start, min(start + self._batch_rows, asked.rows), failed) for start in starts]
        block.bad |= {row if good is None else int(good[row]): reason for row, reason in failed.items()}
        columns = {name: _joined([part[name] for part in parts], self.types[name]) for name in self._names}
        if good is None:
            return columns
        indices = placed(block.rows, good)
        return {name: values.take(indices) for name, values in columns.items()}

    def _run(self, inputs: Inputs, start: int, stop: int, failed: dict[int, str]) -> dict[str, Any]:
        tensors = inputs.tensors(start, stop)
        try:
            outputs = self._model.run(tensors, self._names, seconds=self._seconds)
        except (ModelFailed, InvalidInput, InsufficientMemory) as error:
            if stop - start == 1:
                if isinstance(error, InsufficientMemory):
                    raise
                failed[start] = _reason(error, tensors)
                return {name: pa.nulls(1, kind) for name, kind in self.types.items()}
        else:
            return self._columns(outputs, stop - start)
        middle = (start + stop) // 2
        one, other = self._run(inputs, start, middle, failed), self._run(inputs, middle, stop, failed)
        return {name: pa.concat_arrays([one[name], other[name]]) for name in self._names}

    def _columns(self, outputs: list[Tensor], rows: int) -> dict[str, Any]:
        for tensor in outputs:
            if tensor.shape[:1] != (rows,):
                found = f"output {tensor.name!r} has shape {list(tensor.shape)} for {rows} rows"
                raise UnsuitableModel(f"{self._model.name} can't score a data set: {found}; expected an entry a row")
        specs = zip(outputs, self._model.outputs, strict=True)
        return {spec.name: column(tensor, spec, self._model.labels) for tensor, spec in specs}


def _joined(parts: list[Any], kind: Any) -> Any:
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts) if parts else pa.array([], kind)


def _reason(error: Exception, tensors: list[Tensor]) -> str:
    """The error's text, with long texts of the row shortened."""
    reason = str(error)
    for tensor in tensors:
        for element in iter_bytes(tensor) if tensor.datatype == "BYTES" else ():
            if len(element) > _LONGEST:
                text = element.decode(errors="replace")
                reason = reason.replace(text, text[: _LONGEST - 3] + "...")
    return reason
