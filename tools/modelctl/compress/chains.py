"""Follows the channels of a layer through a graph to the one layer that reads them; what can't be followed is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Chain", "Cut", "Reader", "chains", "constants", "inlined"]

Values = NDArray[np.float32]
Ids = NDArray[np.intp]
_SAME = {
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Softsign", "HardSwish", "Gelu", "Mish"),
    *("ThresholdedRelu", "Clip", "Erf", "Exp", "Sqrt", "Abs", "Neg", "Identity", "Cast", "Dropout"),
    *("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu"),
}
"""Operators that answer each number by that number, and by constants or other numbers at the same place."""
_POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool"}
_LAYERS = {"Conv", "Gemm", "MatMul"}
_ROWS = 2


@dataclass(frozen=True)
class Cut:
    """A constant that has a number, or a row of them, for each channel."""

    name: str
    axis: int
    ids: Ids
    """The channel of each place along the axis."""


@dataclass(frozen=True)
class Reader:
    """The layer that reads the channels, and answers sums over them."""

    node: onnx.NodeProto
    activations: str
    axis: int
    """Of the activations that has the channels."""
    ids: Ids
    weight: str
    weight_axis: int
    bias: str | None
    """What a constant part of removed channels is added to; None where there is nothing that would take it exactly."""


@dataclass
class Chain:
    """From the layer that makes `channels` to the one that reads them."""

    name: str
    """Of the tensor that the first layer answers."""
    channels: int
    cuts: list[Cut]
    reader: Reader
    reshapes: list[tuple[onnx.NodeProto, Ids]] = field(default_factory=list)
    """Nodes whose constant shape counts the channels."""


class _Lost(Exception):
    """Something on the way that isn't followed."""


@dataclass(frozen=True)
class _Layout:
    axis: int
    ids: Ids


@dataclass
class _Graph:
    nodes: list[onnx.NodeProto]
    constants: dict[str, Values]
    shapes: dict[str, tuple[int, ...]]
    """Of every tensor that was looked at, for `_ROWS` rows."""
    readers: dict[str, list[onnx.NodeProto]]
    outputs: set[str]

    @classmethod
    def of(cls, model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> _Graph:
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        return cls(list(model.graph.node), constants(model), shapes, readers, {output.name for output in model.graph.output})

    def own(self, name: str) -> Values:
        """A constant that one node alone reads, so that it may be cut."""
        if name not in self.constants or len(self.readers[name]) != 1:
            raise _Lost
        return self.constants[name]


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose Constant nodes of tensors are initializers."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    for node in nodes:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            node.attribute[0].t.name = node.output[0]
            copy.graph.initializer.append(node.attribute[0].t)
        else:
            copy.graph.node.append(node)
    return copy


def constants(model: onnx.ModelProto) -> dict[str, Values]:
    """FP32 initializers that no caller can replace."""
    given = {value.name for value in model.graph.input}
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in given
    }


def chains(model: onnx.ModelProto, shapes: dict[str, tuple[int, ...]]) -> Iterator[Chain]:
    """In the order of the graph. `shapes` are of its tensors when it is run with two rows."""
    graph = _Graph.of(model, shapes)
    for node in graph.nodes:
        if node.op_type in _LAYERS and not node.domain:
            try:
                yield _chain(graph, node)
            except _Lost:
                continue


def _chain(graph: _Graph, layer: onnx.NodeProto) -> Chain:
    weight, axis = _weight(graph, layer, made=True)
    channels = graph.constants[weight].shape[axis]
    everyone = np.arange(channels)
    cuts = [Cut(weight, axis, everyone)]
    rank = len(_shape(graph, layer.output[0]))
    layout = _Layout(1 if layer.op_type == "Conv" else rank - 1, everyone)
    if layer.op_type != "MatMul" and len(layer.input) > 2 and layer.input[2]:
        cuts += _parameter(
            graph, layer.input[2], 1 if layer.op_type == "Conv" else rank, layout if layer.op_type == "Gemm" else _Layout(0, everyone)
        )
    return _follow(graph, layer.output[0], layout, cuts)


def _follow(graph: _Graph, start: str, layout: _Layout, cuts: list[Cut]) -> Chain:
    """Everything that reads the channels, branches that meet again too, must end in one layer."""
    known = {start: layout}
    found: list[Reader] = []
    reshapes: list[tuple[onnx.NodeProto, Ids]] = []
    for node in graph.nodes:
        reads = [name for name in node.input if name in known]
        if not reads:
            continue
        if graph.outputs.intersection(reads):
            raise _Lost
        if node.op_type in _LAYERS and not node.domain:
            found.append(_reader(graph, node, known))
            continue
        known[node.output[0]], more = _step(graph, node, known)
        cuts += more
        if node.op_type == "Reshape":
            reshapes.append((node, known[node.output[0]].ids))
    if len(found) != 1 or graph.outputs.intersection(known):
        raise _Lost
    return Chain(start, len(layout.ids), cuts, found[0], reshapes)


def _step(graph: _Graph, node: onnx.NodeProto, known: dict[str, _Layout]) -> tuple[_Layout, list[Cut]]:
    """Where the channels are after `node`, and the constants of it that have them."""
    layout = known.get(node.input[0]) or next(known[name] for name in node.input if name in known)
    if node.domain or len(node.output) != 1:
        raise _Lost
    if node.op_type in _SAME:
        return layout, _elementwise(graph, node, known, layout)
    if node.input[0] not in known or any(name in known for name in node.input[1:]):
        raise _Lost
    if node.op_type in _POOLS and layout.axis == 1:
        return layout, []
    if node.op_type == "BatchNormalization" and layout.axis == 1:
        return layout, [cut for name in node.input[1:] for cut in _parameter(graph, name, 1, _Layout(0, layout.ids))]
    if node.op_type == "Transpose":
        return _transposed(node, layout), []
    if node.op_type in {"Flatten", "Reshape", "Squeeze"}:
        return _flat(graph, node, layout), []
    if node.op_type == "ReduceMean":
        return _reduced(graph, node, layout), []
    raise _Lost


def _elementwise(graph: _Graph, node: onnx.NodeProto, known: dict[str, _Layout], layout: _Layout) -> list[Cut]:
    shape = _shape(graph, node.output[0])
    cuts: list[Cut] = []
    for name in filter(None, node.input):
        if name not in known:
            cuts += _parameter(graph, name, len(shape), layout)
        elif _shape(graph, name) != shape or known[name].axis != layout.axis or not np.array_equal(known[name].ids, layout.ids):
            raise _Lost
    return cuts


def _parameter(graph: _Graph, name: str, rank: int, layout: _Layout) -> list[Cut]:
    """How a constant beside the channels is cut, shapes being aligned at their ends; one number for all needs no cut."""
    if name not in graph.constants:
        raise _Lost
    shape = graph.constants[name].shape
    axis = layout.axis - rank + len(shape)
    if len(shape) > rank or (len(shape) == rank and rank > 1 and shape[0] != 1):
        raise _Lost
    if axis < 0 or shape[axis] == 1:
        return []
    graph.own(name)
    if shape[axis] != len(layout.ids):
        raise _Lost
    return [Cut(name, axis, layout.ids)]


def _transposed(node: onnx.NodeProto, layout: _Layout) -> _Layout:
    order = list(_attribute(node, "perm", ()))
    if not order or order[0] != 0:
        raise _Lost
    return _Layout(order.index(layout.axis), layout.ids)


def _flat(graph: _Graph, node: onnx.NodeProto, layout: _Layout) -> _Layout:
    """One row of all numbers for each of the rows, in the order that they lie in."""
    before, after = _shape(graph, node.input[0]), _shape(graph, node.output[0])
    if len(after) != 2 or before[0] != _ROWS or after[0] != _ROWS:
        raise _Lost
    at = [1] * (len(before) - 1)
    at[layout.axis - 1] = len(layout.ids)
    return _Layout(1, np.broadcast_to(layout.ids.reshape(at), before[1:]).reshape(-1))


def _reduced(graph: _Graph, node: onnx.NodeProto, layout: _Layout) -> _Layout:
    """A mean over places, such as the one over a whole image: channels stay first, or stay last."""
    before, after = _shape(graph, node.input[0]), _shape(graph, node.output[0])
    last = layout.axis == len(before) - 1
    axis = layout.axis if len(before) == len(after) or not last else len(after) - 1
    others = [size for place, size in enumerate(before) if place not in {0, layout.axis}]
    if (layout.axis != 1 and not last) or after[0] != _ROWS or axis >= len(after) or after[axis] != len(layout.ids):
        raise _Lost
    if len(layout.ids) in others or (len(before) != len(after) and len(after) != 2):
        raise _Lost  # which axis it was can't be told by its size
    return _Layout(axis, layout.ids)


def _reader(graph: _Graph, node: onnx.NodeProto, known: dict[str, _Layout]) -> Reader:
    if node.input[0] not in known or any(name in known for name in node.input[1:]):
        raise _Lost
    layout, rank = known[node.input[0]], len(_shape(graph, node.input[0]))
    weight, axis = _weight(graph, node, made=False)
    expected = 1 if node.op_type == "Conv" else rank - 1
    if layout.axis != expected or graph.constants[weight].shape[axis] != len(layout.ids):
        raise _Lost
    return Reader(node, node.input[0], layout.axis, layout.ids, weight, axis, _bias(graph, node))


def _weight(graph: _Graph, node: onnx.NodeProto, *, made: bool) -> tuple[str, int]:
    """Its constant weights, and the axis of what the layer makes or else of what it reads. Raises `_Lost` for a layer of another kind."""
    name = node.input[1]
    values = graph.own(name)
    if node.op_type == "Conv":
        if _attribute(node, "group", 1) != 1:
            raise _Lost
        return name, 0 if made else 1
    if values.ndim != 2 or (node.op_type == "Gemm" and (_attribute(node, "transA", 0) or _attribute(node, "alpha", 1.0) != 1.0)):
        raise _Lost
    transposed = node.op_type == "Gemm" and _attribute(node, "transB", 0)
    return name, int(made) ^ int(bool(transposed))


def _bias(graph: _Graph, node: onnx.NodeProto) -> str | None:
    """None for a padded convolution too: at the border it sums over fewer numbers than elsewhere."""
    name = node.input[2] if node.op_type != "MatMul" and len(node.input) > 2 else None
    if node.op_type == "MatMul":
        (reader, *others) = graph.readers.get(node.output[0]) or [node]
        if not others and reader.op_type == "Add" and node.output[0] not in graph.outputs:
            name = next(value for value in (*reader.input, None) if value != node.output[0])
    padded = any(_attribute(node, "pads", ())) or _attribute(node, "auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}
    if not name or name not in graph.constants or len(graph.readers[name]) != 1 or padded or _attribute(node, "beta", 1.0) != 1.0:
        return None
    made = graph.constants[node.input[1]].shape[_weight(graph, node, made=True)[1]]
    return name if graph.constants[name].shape in {(made,), (1, made)} else None


def _shape(graph: _Graph, name: str) -> tuple[int, ...]:
    if name not in graph.shapes:
        raise _Lost
    return graph.shapes[name]


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name), default)
