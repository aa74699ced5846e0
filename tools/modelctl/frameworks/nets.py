"""A network of any framework as modelctl takes a model: what it answers for rows, and the graph that answers the same."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from tools.modelctl.data import INPUT, tensors
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import Context, heads
from tools.modelctl.frameworks.tidy import rename

__all__ = ["Net", "Tensors", "inputs", "quiet"]

Tensors = dict[str, NDArray[Any]]
_ROWS = 4  # to export with: more than one, which exporters take for a constant
_SAME = 1e-5


@dataclass(frozen=True, kw_only=True)
class Net:
    """`Adapted` by two functions of the framework."""

    framework: str
    context: Context
    takes: Callable[[Any], Tensors]
    """Rows as the network takes them. Raises `BuildFailed` for rows that it can't take."""
    forward: Callable[[Tensors], Tensors]
    """What it answers, by output."""
    export: Callable[[Tensors], ModelProto]
    """Its graph, given some rows; inputs and outputs in the order of what it takes and answers."""

    @cached_property
    def classes_(self) -> tuple[Any, ...]:
        """Those of y, or the labels of model.toml where there is no y, or else 0, 1, ..., in the order of the probabilities.

        Places that y doesn't have are classes too where y are places. Raises `BuildFailed` when these don't fit what it answers.
        """
        if self._task != "classification":
            return ()
        numbers = self._outputs[-1]
        width = max(2, numbers.reshape(len(numbers), -1).shape[1])
        y = self.context.rows.y
        classes = tuple(self.context.config.labels or range(width)) if y is None else tuple(np.unique(np.asarray(y)).tolist())
        places = all(isinstance(each, int | float) and each in range(width) for each in classes)
        if len(classes) != width and not (places and y is not None):
            raise BuildFailed(f"the network answers {width} numbers a row for the {len(classes)} classes of y; expected one for each class")
        return classes if len(classes) == width else tuple(range(width))

    def answers(self, X: Any) -> Tensors:
        """Raises `BuildFailed` for rows that the network can't take."""
        found = self._forward(self.takes(X))
        if self._task == "custom":
            return found
        return heads.answers(self._task, _ordered(found, self._task), classes=self.classes_, kind=self._kind)

    def to_onnx(self, name: str) -> ModelProto:
        """Raises `BuildFailed` for a network that answers the same rows otherwise each time, or whose outputs don't fit the task."""
        held_out = self.context.rows.held_out_X
        rows = {tensor: values[: max(_ROWS, 2)] for tensor, values in self.takes(held_out).items()}
        first, second = self._forward(rows), self._forward(rows)
        if not all(np.allclose(first[output], second[output], rtol=_SAME, atol=_SAME, equal_nan=True) for output in first):
            raise BuildFailed(f"{name} answers the same rows otherwise each time; leave out what is random when it predicts")
        model = self.export(rows)
        rename(model.graph, {value.name: output for value, output in zip(model.graph.output, first, strict=True)})
        return heads.served(model, name=name, task=self._task, classes=self.classes_, kind=self._kind, rows=rows)

    @property
    def _task(self) -> str:
        return self.context.config.task

    @cached_property
    def _outputs(self) -> list[NDArray[Any]]:
        """For the held-out rows."""
        return _ordered(self._forward(self.takes(self.context.rows.held_out_X)), self._task)

    @cached_property
    def _kind(self) -> heads.Kind:
        return heads.kind_of(self._task, self._outputs)

    def _forward(self, rows: Tensors) -> Tensors:
        try:
            return self.forward(rows)
        except BuildFailed:
            raise
        except Exception as error:  # whatever a network raises is told
            raise BuildFailed(f"{_unable(rows)}: {first_line(error, named=True)}; let load() answer X as the network takes it") from error


def inputs(X: Any, kinds: Sequence[Any], attempt: Callable[[Tensors], object]) -> Tensors:
    """Rows as tensors by name; an array in the first of `kinds` that `attempt` doesn't fail with for the first rows.

    A dict of arrays is as it is. Raises `BuildFailed` when it fails with each, or for a table with text.
    """
    found = tensors(X)
    if any(values.dtype.kind not in "fiub" for values in found.values()):
        raise BuildFailed("a network takes no text; let load() answer X as numbers, or train a pipeline of scikit-learn on the table")
    if isinstance(X, dict) or tuple(found) != (INPUT,):
        return found
    values, first = np.asarray(X), None
    for kind in kinds if values.dtype.kind == "f" else (np.int64, *kinds):
        rows = {INPUT: values.astype(kind)}
        if not np.array_equal(rows[INPUT].astype(values.dtype), values, equal_nan=values.dtype.kind == "f") and kind is np.int64:
            continue
        try:
            attempt({INPUT: rows[INPUT][:_ROWS]})
        except Exception as error:  # noqa: BLE001 - whatever a network raises for a type, the next may be its own
            first = first or error
        else:
            return rows
    raise BuildFailed(f"{_unable(found)}: {first_line(first, named=True)}; let load() answer X as the network takes it") from first


@contextmanager
def quiet() -> Iterator[None]:
    """None of what a framework says on the way."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _unable(rows: Tensors) -> str:
    shown = ", ".join(f"{name} {[-1, *values.shape[1:]]} of {values.dtype.name}" for name, values in rows.items())
    return f"the network can't answer the rows {shown}"


def _ordered(found: Tensors, task: str) -> list[NDArray[Any]]:
    """A label, if there is one, before the numbers. Raises `BuildFailed` for outputs that no task but custom has."""
    outputs = sorted(found.values(), key=lambda values: values.dtype.kind == "f")
    if task != "custom" and [values.dtype.kind == "f" for values in outputs] not in ([True], [False, True]):
        shown = ", ".join(f"{name} of {values.dtype.name}" for name, values in found.items())
        raise BuildFailed(
            f'the network answers {shown}; {task} needs one tensor of numbers; task = "custom" in model.toml serves all outputs'
        )
    return outputs
