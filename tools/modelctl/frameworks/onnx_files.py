"""A graph that exists already: read by the lint before anything runs it, then given the inputs and outputs of its task."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from onnx.external_data_helper import load_external_data_for_tensor
from pydantic import ValidationError

from tools.modelctl import graphs
from tools.modelctl.convert import datatype
from tools.modelctl.data import tensors
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks import Context, heads
from tools.modelctl.frameworks.probe import Probed, Tensor, dtype_of
from tools.modelctl.frameworks.rows import FLOATS, inputs_of
from tools.modelctl.lint import lint
from tools.modelctl.running import session

__all__ = ["adapt", "examined", "load", "probed"]

_MEMORY = 10_240
"""MB that a function can have at most; a model of a GPU's is linted again with what it has there."""
_MOST_BYTES = 2**31 - 1
_PRODUCER = 40
_CLASSIFIERS = ("Classifier", "ZipMap")


class OnnxFile:
    """`Adapted`."""

    def __init__(self, model: ModelProto, context: Context) -> None:
        self.model, self.context = model, context
        producer = "".join(filter(str.isprintable, f"{model.producer_name} {model.producer_version}")).strip()
        self.framework = f"onnx ({producer[:_PRODUCER]})" if producer else "onnx"

    @cached_property
    def classes_(self) -> tuple[Any, ...]:
        """Those of y, or text as model.toml has it, or else 0, 1, ...: in the order of the probabilities."""
        if self.context.config.task != "classification":
            return ()
        numbers = self._held_out[-1]
        width = max(2, numbers.reshape(len(numbers), -1).shape[1])
        y, labels = self.context.rows.y, self.context.config.labels
        known = [] if y is None else np.unique(np.concatenate([np.asarray(y), np.asarray(self.context.rows.held_out_y)])).tolist()
        if any(isinstance(each, str) for each in known):
            return labels or tuple(known)
        return tuple(map(int, known)) if len(known) == width else tuple(range(width))

    def answers(self, X: Any) -> dict[str, NDArray[Any]]:
        """Raises `BuildFailed` for rows that the graph can't take."""
        task = self.context.config.task
        if task == "custom":
            return dict(zip([value.name for value in self.model.graph.output], _run(self.model, self._tensors(X)), strict=True))
        return heads.answers(task, self._ordered(X), classes=self.classes_, kind=heads.kind_of(task, self._held_out))

    def to_onnx(self, name: str) -> ModelProto:
        """Raises `BuildFailed` for inputs and outputs that can't be those of the task."""
        task = self.context.config.task
        kind = heads.kind_of(task, self._held_out)
        rows = self._tensors(self.context.rows.held_out_X)
        return heads.served(self.model, name=name, task=task, classes=self.classes_, kind=kind, rows=rows)

    @cached_property
    def _held_out(self) -> list[NDArray[Any]]:
        return self._ordered(self.context.rows.held_out_X)

    def _ordered(self, X: Any) -> list[NDArray[Any]]:
        """A label before the numbers, as `heads` has it."""
        return sorted(_run(self.model, self._tensors(X)), key=lambda values: values.dtype.kind == "f")

    def _tensors(self, X: Any) -> dict[str, NDArray[Any]]:
        kinds = [value.type.tensor_type.elem_type for value in inputs_of(self.model.graph)]
        return tensors(X, np.int64 if len(kinds) == 1 and kinds[0] not in FLOATS else datatype(self.model))


def adapt(trained: ModelProto, context: Context) -> OnnxFile:
    """Raises `BuildFailed` once it is asked, for a graph that doesn't fit the task or the rows."""
    return OnnxFile(trained, context)


def load(path: Path, context: Context) -> ModelProto:  # noqa: ARG001 - one signature for all frameworks
    """As `examined`."""
    return examined(path)


def examined(path: Path) -> ModelProto:
    """A graph that the lint has nothing against, with the weights that lie beside it. Raises `BuildFailed`."""
    if path.stat().st_size > _MOST_BYTES:
        raise BuildFailed(f"{path.name} has {path.stat().st_size:,} bytes, and a graph at most {_MOST_BYTES:,}; make it smaller")
    try:
        model = onnx.load_model(path, load_external_data=False)
    except DecodeError:
        raise BuildFailed(
            f"{path.name} is no whole ONNX model; it is cut short or damaged, or something else: copy or export it again"
        ) from None
    if not model.graph.node:
        raise BuildFailed(f"{path.name} has no graph in it, so it is no ONNX model, or an empty one; export it again")
    _take_in(model, path)
    with TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        file.write_bytes(model.SerializeToString())
        if findings := lint(file, memory=_MEMORY):
            more = f"; and {len(findings) - 5} more" if len(findings) > 5 else ""
            raise BuildFailed(f"{path.name} may not be served: {'; '.join(map(str, findings[:5]))}{more}")
    return model


def probed(model: ModelProto) -> Probed:
    """What the graph declares. Raises `BuildFailed` for names that steer a terminal, and sizes that no row has."""
    inputs = [value for value in inputs_of(model.graph) if value.type.WhichOneof("value") == "tensor_type"]
    try:
        return Probed(task=_task(model), inputs=tuple(map(_tensor, inputs)))
    except ValidationError as error:
        wrong = error.errors()[0]
        raise BuildFailed(f"an input of the graph has {wrong['loc'][0]} {wrong['input']!a:.100}; export it again with another") from None


def _task(model: ModelProto) -> Any:
    """By the operators that only a classifier or a regressor has; anything else may mean anything."""
    last = {output: node.op_type for node in model.graph.node for output in node.output}
    operators = [node.op_type for node in model.graph.node]
    outputs = list(model.graph.output)
    if any(operator.endswith(_CLASSIFIERS) for operator in operators) or (
        len(outputs) == 1 and last.get(outputs[0].name) in {"Softmax", "Sigmoid"} and len(outputs[0].type.tensor_type.shape.dim) == 2
    ):
        return "classification"
    return "regression" if len(outputs) == 1 and any(operator.endswith("Regressor") for operator in operators) else "custom"


def _tensor(value: ValueInfoProto) -> Tensor:
    tensor = value.type.tensor_type
    kind = "object" if tensor.elem_type == TensorProto.STRING else helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return Tensor(name=value.name, dtype=dtype_of(kind), shape=tuple(dim.dim_value or -1 for dim in tensor.shape.dim[1:]))


def _take_in(model: ModelProto, path: Path) -> None:
    """Weights in files beside it become part of it. Raises `BuildFailed` for any that lie elsewhere, or are more than a graph holds."""
    outside = [tensor for tensor in graphs.tensors(model) if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data]
    files = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    total = path.stat().st_size
    for name in sorted(files):
        file = path.parent / name
        if os.path.basename(name) != name or not file.is_file() or file.is_symlink() or file.stat().st_nlink > 1:
            raise BuildFailed(
                f"{path.name} has weights in {name!a:.100}, which is no file of its own beside it; bring both in one folder, or save the "
                "model as one file: onnx.save(model, path, save_as_external_data=False)"
            )
        total += file.stat().st_size
    if total > _MOST_BYTES:
        raise BuildFailed(f"{path.name} and its weights have {total:,} bytes, and one file at most {_MOST_BYTES:,}; make it smaller")
    for tensor in outside:
        _take_in_one(tensor, path)


def _take_in_one(tensor: TensorProto, path: Path) -> None:
    try:
        load_external_data_for_tensor(tensor, str(path.parent))
    except Exception as error:  # onnx raises its checker's, and of files that are cut short whatever numpy says
        raise BuildFailed(f"the weights of {path.name} can't be read: {first_line(error)}; export it again") from error
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _run(model: ModelProto, rows: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """As the graph is, so many rows at a time as it takes. Raises `BuildFailed`."""
    values = inputs_of(model.graph)
    if len(values) != len(rows):
        raise BuildFailed(
            f"the graph takes {', '.join(value.name for value in values)}; the rows have {', '.join(rows)}; "
            'let load() answer X as a dict with an array for each input, and say task = "custom" in model.toml'
        )
    kinds = [helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in values]
    given = {value.name: rows.get(value.name, other).astype(kind) for value, other, kind in zip(values, rows.values(), kinds, strict=True)}
    count = len(next(iter(given.values())))
    fixed = max((value.type.tensor_type.shape.dim[0].dim_value for value in values if value.type.tensor_type.shape.dim), default=0) or count
    try:
        loaded = session(model)
        parts = [
            loaded.run(None, {name: each.take(range(at, at + fixed), axis=0, mode="wrap") for name, each in given.items()})
            for at in range(0, count, fixed)
        ]
        return [np.concatenate(found)[:count] for found in zip(*parts, strict=True)]
    except Exception as error:  # ONNX Runtime's own have no common base
        raise BuildFailed(f"the graph doesn't take these rows: {first_line(error)}; see its inputs, and load()") from error
