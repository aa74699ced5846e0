"""Puts another estimator behind a model's own preprocessing, with the same inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import NodeProto, TensorProto, helper

from tools.modelctl.compress.ensemble import OPERATORS
from tools.modelctl.compress.probing import sweep
from tools.modelctl.compress.subject import Inapplicable

__all__ = ["grafted", "place"]

_ESTIMATORS = {*OPERATORS, "LinearClassifier", "LinearRegressor", "SVMClassifier", "SVMRegressor", "Gemm", "MatMul", "Conv"}


def place(model: onnx.ModelProto) -> str:
    """The tensor of numbers that the first estimator takes: all that comes before it is preprocessing.

    Where no estimator is known, the one input of numbers. Raises `Inapplicable` when neither is there.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    depends = {value.name: {value.name} for value in inputs}
    for node in model.graph.node:
        comes_from = set().union(*(depends.get(name, set()) for name in node.input))
        depends.update(dict.fromkeys(node.output, comes_from))
        if node.op_type in _ESTIMATORS and len(depends.get(node.input[0], ())) == len(inputs):
            return str(node.input[0])
    if len(inputs) == 1 and inputs[0].type.tensor_type.elem_type == TensorProto.FLOAT:
        return str(inputs[0].name)
    raise Inapplicable(
        "distillation needs one tensor of numbers that all inputs go into, such as an estimator behind a ColumnTransformer takes; "
        "this graph has none. `optimize` and `dynamic-int8` take any graph"
    )


def grafted(model: onnx.ModelProto, nodes: Iterable[NodeProto], constants: Iterable[TensorProto]) -> onnx.ModelProto:
    """The model's inputs, outputs and what of its nodes `nodes` need, which end in its outputs.

    No inner name of `nodes` may be one of the model's.
    """
    outputs = {output.name for output in model.graph.output}
    made = onnx.ModelProto()
    made.CopyFrom(model)
    kept = [node for node in model.graph.node if not outputs.intersection(node.output)]
    del made.graph.node[:]
    made.graph.node.extend([*kept, *nodes])
    made.graph.initializer.extend(constants)
    if all(opset.domain != "ai.onnx.ml" for opset in made.opset_import) and any(node.domain == "ai.onnx.ml" for node in made.graph.node):
        made.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    sweep(made)
    return made
