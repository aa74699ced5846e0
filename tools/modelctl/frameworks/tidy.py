"""Changes a graph without a change of what it computes: other names, and nothing that differs from export to export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count

from onnx import GraphProto, ModelProto, NodeProto, helper

from tools.modelctl import graphs

__all__ = ["clean", "names", "rename", "renumber"]


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


def renumber(graph: GraphProto) -> None:
    """Names what is within by its operator and its place, for exporters that count on from one export to the next.

    Constants stand in the order of their first use, and nothing is copied that need not be: either comes as a set has it.
    """
    numbers, wanted = count(), {}
    _direct(graph, outermost=True)
    kept = {value.name for value in (*graph.input, *graph.output)}
    for within in (graph, *_below(graph)):
        used = {name: place for place, name in reversed(list(enumerate(name for node in within.node for name in _reads(node))))}
        ordered = sorted(within.initializer, key=lambda item: used.get(item.name, -1))
        del within.initializer[:]
        within.initializer.extend(ordered)
        for item in (*within.initializer, *(() if within is graph else within.input)):
            wanted[item.name] = f"constant_{next(numbers)}"
        for node in within.node:
            node.name = f"{node.op_type}_{next(numbers)}"
            wanted |= {name: f"{node.name}_{place}" if place else node.name for place, name in enumerate(node.output) if name}
    _apply(graph, {old: new for old, new in wanted.items() if old not in kept})


def _direct(graph: GraphProto, *, outermost: bool) -> None:
    """Without Identity but where an output is another's copy, or isn't made here."""
    copies: dict[str, str] = {}
    nodes = list(graph.node)
    for node in nodes:
        if node.op_type == "Identity":
            copies[node.output[0]] = copies.get(node.input[0], node.input[0])
    del graph.node[:]
    graph.node.extend(node for node in nodes if node.op_type != "Identity")
    _apply(graph, copies)
    made = {name for node in graph.node for name in node.output} | {value.name for value in (() if outermost else graph.input)}
    for value in graph.output:
        if value.name in made:
            made.remove(value.name)
        else:
            copy = next(name for number in count() if (name := f"{value.name}_copy_{number}") not in made)
            graph.node.append(helper.make_node("Identity", [value.name], [copy]))
            value.name = copy
    for node in graph.node:
        for subgraph in graphs.subgraphs(node):
            _direct(subgraph, outermost=False)


def _reads(node: NodeProto) -> Iterator[str]:
    """In its subgraphs too."""
    yield from node.input
    for subgraph in graphs.subgraphs(node):
        for within in subgraph.node:
            yield from _reads(within)


def _below(graph: GraphProto) -> Iterator[GraphProto]:
    for node in graph.node:
        for subgraph in graphs.subgraphs(node):
            subgraph.name = "within"
            for value in (*subgraph.input, *subgraph.output):
                for dim in value.type.tensor_type.shape.dim:
                    dim.ClearField("dim_param")
            yield subgraph
            yield from _below(subgraph)


def _apply(graph: GraphProto, names: Mapping[str, str]) -> None:
    for item in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
        item.name = names.get(item.name, item.name)
    for node in graph.node:
        for field in (node.input, node.output):
            field[:] = [names.get(name, name) for name in field]
        for subgraph in graphs.subgraphs(node):
            _apply(subgraph, names)


def names(graph: GraphProto) -> Iterator[str]:
    """Of every tensor, those of subgraphs too."""
    for item in (*graph.input, *graph.output, *graph.initializer):
        yield item.name
    for node in graph.node:
        yield from (*node.input, *node.output)
        for subgraph in graphs.subgraphs(node):
            yield from names(subgraph)
