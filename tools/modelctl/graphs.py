"""Walks an ONNX graph as a whole: with its subgraphs, and with the functions that a model brings along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from math import prod

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

__all__ = [
    "TooDeep",
    "called",
    "constants",
    "domain",
    "extent",
    "functions",
    "graphs",
    "nodes",
    "scopes",
    "sparse_tensors",
    "subgraphs",
    "tensors",
]

_SHAPE = 64  # more elements than a shape ever has
_Key = tuple[str, str, str]  # domain, name and overload
_Functions = dict[_Key, FunctionProto]
_Counts = dict[_Key, tuple[int, int]]


class TooDeep(Exception):
    """Subgraphs or functions within one another beyond a bound, or without end."""


def scopes(model: ModelProto) -> Iterator[tuple[dict[str, int], Iterator[NodeProto]]]:
    """The graph and each function: the operator sets it is written in by domain, and its nodes, those of subgraphs too."""
    yield {domain(opset.domain): opset.version for opset in model.opset_import}, _walk(model.graph.node)
    for function in model.functions:
        yield {domain(opset.domain): opset.version for opset in function.opset_import}, _walk(function.node)


def functions(model: ModelProto) -> dict[_Key, FunctionProto]:
    """The model's own functions, by what a node calls each by."""
    return {(function.domain, function.name, function.overload): function for function in model.functions}


def called(node: NodeProto) -> _Key:
    """What `functions` has the node's function under, if the model has one."""
    return node.domain, node.op_type, node.overload


def nodes(model: ModelProto) -> Iterator[NodeProto]:
    """Every node of the graph, its subgraphs and the functions."""
    for _, within in scopes(model):
        yield from within


def _walk(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Every node, those of subgraphs too; how deep these can be is bounded by the parser."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _walk(graph.node)


def graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The graph and every subgraph."""
    yield model.graph
    for node in nodes(model):
        yield from subgraphs(node)


def tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Every tensor that the file holds or names, as an initializer or as an attribute."""
    for graph in graphs(model):
        yield from graph.initializer
    for attribute in _attributes(model):
        yield from (attribute.t, *attribute.tensors)


def sparse_tensors(model: ModelProto) -> Iterator[SparseTensorProto]:
    """Every sparse tensor, as an initializer or as an attribute."""
    for graph in graphs(model):
        yield from graph.sparse_initializer
    for attribute in _attributes(model):
        yield from attribute.sparse_tensors
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor


def constants(model: ModelProto) -> dict[str, int]:
    """Product of the elements of each small integer constant, by name: how many a shape makes, or how often a loop runs.

    Functions and branches may each have a constant of the same name; the largest counts.
    """
    initializers = ((tensor.name, _integers(tensor)) for graph in graphs(model) for tensor in graph.initializer)
    found: dict[str, int] = {}
    for name, integers in chain(initializers, _constant_nodes(model)):
        if integers:
            found[name] = max(prod(integers), found.get(name, 0))
    return found


def _constant_nodes(model: ModelProto) -> Iterator[tuple[str, list[int]]]:
    for node in nodes(model):
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], _integers(attribute.t)
                elif attribute.name in {"value_int", "value_ints"}:
                    yield node.output[0], list(attribute.ints) or [attribute.i]


def extent(model: ModelProto, most: int) -> tuple[int, int]:
    """Nodes, and levels of subgraphs and functions. Raises `TooDeep` beyond `most` levels.

    Every call of a function counts with all its nodes, since ONNX Runtime writes each out: thirty functions can be a billion nodes.
    """
    return _measure(model.graph.node, functions(model), {}, most)


def domain(name: str) -> str:
    """The default domain has two names."""
    return "" if name == "ai.onnx" else name


def _measure(within: Iterable[NodeProto], own: _Functions, known: _Counts, most: int) -> tuple[int, int]:
    if most < 0:
        raise TooDeep
    count, depth = 0, 0
    for node in within:
        count += 1
        below = [_measure(graph.node, own, known, most - 1) for graph in subgraphs(node)]
        if function := own.get(key := called(node)):
            if key not in known:
                known[key] = _measure(function.node, own, known, most - 1)
            below.append(known[key])
        for inner, levels in below:
            count, depth = count + inner, max(depth, levels + 1)
    if depth > most:
        raise TooDeep
    return count, depth


def _attributes(model: ModelProto) -> Iterator[AttributeProto]:
    for node in nodes(model):
        yield from node.attribute


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Those that the node itself holds."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH or attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _integers(tensor: TensorProto) -> list[int]:
    """Empty for what can't be a shape."""
    if tensor.data_type != TensorProto.INT64 or prod(tensor.dims) > _SHAPE:
        return []
    if not tensor.HasField("raw_data"):
        return list(tensor.int64_data)
    return [int.from_bytes(tensor.raw_data[start : start + 8], "little", signed=True) for start in range(0, len(tensor.raw_data), 8)]
