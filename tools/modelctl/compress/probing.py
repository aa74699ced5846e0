"""Runs a graph that is still in memory, and looks at tensors inside it."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from tools.modelctl.graphs import subgraphs
from tools.modelctl.parity import Answers
from tools.modelctl.running import session

__all__ = ["answers", "inner", "sweep"]


def answers(model: onnx.ModelProto, inputs: Answers, names: list[str] | None = None) -> Answers:
    """By output, those in `names` or all. One thread: the same sums each time."""
    found = session(model)
    wanted = names or [output.name for output in found.get_outputs()]
    return dict(zip(wanted, found.run(wanted, inputs), strict=True))


def inner(model: onnx.ModelProto, tensors: Iterable[str], inputs: Answers) -> Answers:
    """Values of tensors that need not be outputs. A graph input is answered as it is."""
    wanted = list(dict.fromkeys(tensors))
    inside = [name for name in wanted if name not in inputs]
    looked = onnx.ModelProto()
    looked.CopyFrom(model)
    known = {output.name for output in looked.graph.output}
    looked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside if name not in known)
    found = answers(looked, inputs, inside) if inside else {}
    return {name: found[name] if name in found else inputs[name] for name in wanted}


def sweep(model: onnx.ModelProto) -> None:
    """Takes out nodes and constants that no output needs, and shapes of inner tensors, which a change of weights makes wrong."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
            needed.update(_captured(node))
    kept.reverse()
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def _captured(node: onnx.NodeProto) -> set[str]:
    """What the subgraphs of a node may read of the graph around them."""
    found: set[str] = set()
    for graph in subgraphs(node):
        found.update(output.name for output in graph.output)
        for inside in graph.node:
            found.update(inside.input, _captured(inside))
    return found
