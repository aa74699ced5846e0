"""Makes a graph take rows: any number of them, under the names and in the types that they are served as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper

from tools.modelctl.data import INPUT
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.frameworks.tidy import names, rename
from tools.modelctl.running import session

__all__ = ["FLOATS", "INTEGERS", "ROWS", "Rows", "inputs_of", "open_rows", "own_inputs", "shown"]

ROWS = "rows"
"""Name of the first dimension."""
FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
INTEGERS = (
    *(TensorProto.INT64, TensorProto.INT32, TensorProto.INT16, TensorProto.INT8),
    *(TensorProto.UINT64, TensorProto.UINT32, TensorProto.UINT16, TensorProto.UINT8),
)
Rows = Mapping[str, NDArray[Any]]
"""Tensors by name, a row of each for every row."""
_SAME = 1e-4  # of floats summed in another order


def inputs_of(graph: GraphProto) -> list[ValueInfoProto]:
    """Without the constants that graphs of old list among them."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def own_inputs(model: ModelProto, rows: Rows | None) -> None:
    """Names as the rows have them; numbers as INT64 or FP32, which every array of rows becomes; constants are no inputs."""
    graph = model.graph
    inputs = inputs_of(graph)
    wanted = tuple(rows) if rows else (INPUT,) if len(inputs) == 1 else tuple(value.name for value in inputs)
    if len(wanted) != len(inputs):
        raise BuildFailed(
            f"{graph.name} takes {', '.join(map(shown, inputs)) or 'nothing'}; the rows have {', '.join(wanted)}; "
            'let load() answer X as a dict with an array for each input, and say task = "custom" in model.toml'
        )
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # before, every constant was an input too
    rename(graph, {value.name: name for value, name in zip(inputs, wanted, strict=True)})
    for value in graph.input:
        tensor = value.type.tensor_type
        if rows and value.type.WhichOneof("value") == "tensor_type" and not tensor.HasField("shape"):
            value.CopyFrom(helper.make_tensor_value_info(value.name, tensor.elem_type, [None, *rows[value.name].shape[1:]]))
    if wanted == (INPUT,):
        _widen(graph)


def _widen(graph: GraphProto) -> None:
    """An array of rows comes as FP32 or INT64, whatever narrower type the graph takes it as."""
    tensor = graph.input[0].type.tensor_type
    wide = TensorProto.INT64 if tensor.elem_type in INTEGERS else TensorProto.FLOAT if tensor.elem_type in FLOATS else tensor.elem_type
    if wide != tensor.elem_type:
        inner = next(name for number in count() if (name := f"narrow_{number}") not in set(names(graph)))
        rename(graph, {INPUT: inner})
        graph.input[0].name = INPUT
        graph.node.insert(0, helper.make_node("Cast", [INPUT], [inner], name=inner, to=tensor.elem_type))
        tensor.elem_type = wide


def open_rows(found: ModelProto, model: ModelProto, rows: Rows | None, task: str) -> None:
    """Any number of rows; a fixed one only where a run shows that it need not be. Outputs get the shapes that the run shows."""
    fixed = max((value.type.tensor_type.shape.dim[0].dim_value for value in found.graph.input if _has_rows(value)), default=0)
    if not all(map(_has_rows, found.graph.input)):
        raise BuildFailed(f"{found.graph.name} takes {', '.join(map(shown, found.graph.input))}; expected rows as the first dimension")
    for value in (*found.graph.input, *(() if task == "custom" and not fixed else filter(_has_rows, found.graph.output))):
        value.type.tensor_type.shape.dim[0].dim_param = ROWS
    if rows:
        _prove(found, model, rows, fixed)
    elif fixed:
        raise BuildFailed(f"{found.graph.name} takes {fixed} rows at a time; export it with a dynamic first dimension")
    if rows and task != "custom":
        _declare(found.graph, _run(found, _some(rows, 2)))


def _prove(found: ModelProto, model: ModelProto, rows: Rows, fixed: int) -> None:
    """One row, and more than a whole number of times as many as it takes, are each answered as by the original."""
    if not fixed:
        return
    name, advice = found.graph.name, "export it with a dynamic first dimension, such as by dynamic_shapes or dynamic_axes"
    some = _some(rows, fixed)
    expected = _run(model, dict(zip((value.name for value in inputs_of(model.graph)), some.values(), strict=True)))
    try:
        alone, more = _run(found, _some(rows, 1)), _run(found, {key: np.concatenate([of, of, of[:1]]) for key, of in some.items()})
    except BuildFailed as error:
        raise BuildFailed(f"{name} takes {fixed} rows at a time and fails with others; {advice}") from error
    for one, many, wanted in zip(alone, more, expected, strict=True):
        parts = np.split(many, [fixed, 2 * fixed]) if many.shape[:1] == (2 * fixed + 1,) else ()
        if not parts or not all(_same(part, wanted[: len(part)]) for part in (*parts, one)):
            raise BuildFailed(f"{name} takes {fixed} rows at a time and answers others otherwise; {advice}")


def _same(found: NDArray[Any], wanted: NDArray[Any]) -> bool:
    if found.dtype.kind == "f" and found.shape == wanted.shape:
        return bool(np.allclose(found, wanted, rtol=_SAME, atol=_SAME, equal_nan=True))
    return np.array_equal(found, wanted)


def _declare(graph: GraphProto, found: Sequence[NDArray[Any]]) -> None:
    """Shapes as the run shows them: exporters leave dimensions open, or state a wrong one."""
    for value, answer in zip(graph.output, found, strict=True):
        if answer.ndim:
            shape = [ROWS, *answer.shape[1:]]
            value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))


def _run(model: ModelProto, rows: Rows) -> list[NDArray[Any]]:
    """The rows as the graph takes them: an array of whole numbers may have come as floats."""
    kinds = {value.name: helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) for value in inputs_of(model.graph)}
    try:
        found: list[NDArray[Any]] = session(model).run(None, {name: values.astype(kinds[name]) for name, values in rows.items()})
    except Exception as error:  # ONNX Runtime's own have no common base
        raise BuildFailed(f"ONNX Runtime can't run {model.graph.name}: {first_line(error)}") from error
    return found


def _some(rows: Rows, wanted: int) -> dict[str, NDArray[Any]]:
    """So many rows, over again where there are fewer."""
    return {name: values.take(range(wanted), axis=0, mode="wrap") for name, values in rows.items()}


def _has_rows(value: ValueInfoProto) -> bool:
    return value.type.WhichOneof("value") == "tensor_type" and len(value.type.tensor_type.shape.dim) > 0


def shown(value: ValueInfoProto) -> str:
    """Name and shape, for a person."""
    if value.type.WhichOneof("value") != "tensor_type":
        return f"{value.name} (a {str(value.type.WhichOneof('value')).removesuffix('_type')})"
    if not value.type.tensor_type.HasField("shape"):
        return f"{value.name} (of any shape)"
    shape = [dim.dim_value or "rows" * (place == 0) or -1 for place, dim in enumerate(value.type.tensor_type.shape.dim)]
    return f"{value.name} [{', '.join(map(str, shape))}]"
