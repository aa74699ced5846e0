"""Keeps the weights as halves: FP16, of 11 significant bits, for half the bytes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from tools.modelctl import graphs
from tools.modelctl.compress.optimize import restored, simplified
from tools.modelctl.compress.subject import LEAST, Inapplicable, Subject, advice

__all__ = ["fp16"]

_MOST = float(np.finfo(np.float16).max)


def fp16(subject: Subject) -> onnx.ModelProto:
    """For a function the weights alone, which ONNX Runtime widens once, as it loads: a CPU has hardly an operator for halves, and would
    cast before and after each. For a GPU the whole computation, inputs and answers staying as they are; a graph with operators other
    than ai.onnx's, or with subgraphs, is kept as for a function. Raises `Inapplicable`.
    """
    model = simplified(subject.model)
    if not any(_halved(model)):
        raise Inapplicable(f"no constant of this graph has {LEAST} FP32 numbers or more, all within what FP16 holds; {advice(model)}")
    plain = all(graphs.domain(node.domain) == "" for node in graphs.nodes(model)) and len(list(graphs.graphs(model))) == 1
    return restored(_computed(model) if subject.config.target == "gpu" and plain else _stored(model), subject.model)


def _halved(model: onnx.ModelProto) -> list[TensorProto]:
    """The constants that are worth it. One that is an input too may be given otherwise."""
    given = {value.name for value in model.graph.input}
    large = (tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT and prod(tensor.dims) >= LEAST)
    return [tensor for tensor in large if tensor.name not in given and _fits(numpy_helper.to_array(tensor))]


def _fits(values: NDArray[np.float32]) -> bool:
    return bool(np.abs(values).max() <= _MOST)  # not so of NaN either


def _stored(model: onnx.ModelProto) -> onnx.ModelProto:
    """Each under another name, and cast to what the graph knows it as; with constants folded, which every tier does, that happens once."""
    taken = {name for node in graphs.nodes(model) for name in (*node.input, *node.output)} | {value.name for value in model.graph.input}
    casts = []
    for tensor in _halved(model):
        name, halves = tensor.name, numpy_helper.to_array(tensor).astype(np.float16)
        stored = f"{name}_fp16"
        while stored in taken:
            stored += "_"
        tensor.CopyFrom(numpy_helper.from_array(halves, stored))
        casts.append(helper.make_node("Cast", [stored], [name], name=stored, to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])
    return model


def _computed(model: onnx.ModelProto) -> onnx.ModelProto:
    found: Any = convert_float_to_float16(model, keep_io_types=True)
    waiting, made = list(found.graph.node), {tensor.name for tensor in (*found.graph.initializer, *found.graph.input)} | {""}
    del found.graph.node[:]
    while waiting:  # the casts come last, and the standard wants what is made before what uses it
        ready = [node for node in waiting if made.issuperset(node.input)]
        assert ready  # as many as there are, or the graph before had a circle
        found.graph.node.extend(ready)
        made.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not made.issuperset(node.output)]
    assert isinstance(found, onnx.ModelProto)
    return found
