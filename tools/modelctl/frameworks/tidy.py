"""Changes a graph without a change of what it computes: other names, and nothing that differs from export to export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import count

from onnx import GraphProto, ModelProto, NodeProto

from tools.modelctl import graphs

__all__ = ["clean", "names", "rename"]


def clean(model: ModelProto) -> None:
    """Without what differs from one export to the next, such as paths and lines of code, and without shapes of what is within."""
    tensors = (tensor for graph in graphs.graphs(model) for tensor in graph.initializer)
    held = (attribute.t for node in graphs.nodes(model) for attribute in node.attribute if attribute.HasField("t"))
    for message in (model, *graphs.graphs(model), *graphs.nodes(model), *tensors, *held, *model.functions):
        message.ClearField("doc_string")
        message.ClearField("metadata_props")
    for graph in graphs.graphs(model):
        del graph.value_info[:]
        for value in (*graph.input, *graph.output):
            value.ClearField("doc_string")
            value.ClearField("metadata_props")
    for function in model.functions:
        del function.value_info[:]


def rename(graph: GraphProto, wanted: Mapping[str, str]) -> None:
    """Everywhere in the graph and its subgraphs; what has a new name already gets another."""
    taken = set(names(graph))
    mapping = {old: new for old, new in wanted.items() if old != new}
    for new in set(mapping.values()) & taken - set(mapping):
        mapping[new] = next(other for number in count() if (other := f"{new}_{number}") not in taken)
    if mapping:
        _apply(graph, mapping)


def _apply(graph: GraphProto, names: Mapping[str, str]) -> None:
    for item in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        item.name = names.get(item.name, item.name)
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
        for subgraph in _subgraphs(node):
            _apply(subgraph, names)


def names(graph: GraphProto) -> Iterator[str]:
    """Of every tensor, those of subgraphs too."""
    for item in (*graph.input, *graph.output, *graph.initializer):
        yield item.name
    for node in graph.node:
        yield from (*node.input, *node.output)
        for subgraph in _subgraphs(node):
            yield from names(subgraph)


def _subgraphs(node: NodeProto) -> Iterable[GraphProto]:
    for attribute in node.attribute:
        yield from (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs)
