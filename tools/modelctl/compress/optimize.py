"""Writes a graph anew without what no answer needs, in operators that every runtime has."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import onnx

from tools.modelctl import graphs
from tools.modelctl.compress.subject import Subject
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.running import session

__all__ = ["optimize", "restored", "simplified"]


def optimize(subject: Subject) -> onnx.ModelProto:
    """Constants folded, dead nodes and unused tensors gone, batch norms within convolutions, doc strings and stack traces stripped."""
    return simplified(subject.model)


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy with the same signature. Raises `BuildFailed` for a graph that ONNX Runtime can't load.

    ONNX Runtime's basic level, whose rewrites are all within the standard's operators (docs/performance/model-optimizations, "Basic Graph
    Optimizations"); the levels above write operators that are its own, or this CPU's.
    """
    found = restored(_folded(model), model)
    _strip(found)
    return found


def restored(found: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """`found`, with what tools write beside the nodes put back as it is in `model`: signature, operator sets, who made it, notes."""
    for kept, given in ((found.graph.input, model.graph.input), (found.graph.output, model.graph.output)):
        del kept[:]
        kept.extend(given)
    del found.graph.value_info[:]
    found.graph.name = model.graph.name
    found.producer_name, found.producer_version = model.producer_name, model.producer_version
    del found.metadata_props[:]
    found.metadata_props.extend(model.metadata_props)
    _forget_domains(found, model)
    return found


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as scratch:
        folded = Path(scratch, "folded.onnx")
        try:
            session(model, folded=folded)
        except Exception as error:  # ONNX Runtime's own have no common base
            raise BuildFailed(f"ONNX Runtime can't load the graph that is to be made smaller: {first_line(error)}") from error
        return onnx.load(folded)


def _strip(model: onnx.ModelProto) -> None:
    """What a person wrote or an exporter traced, and nothing reads; ONNX Runtime itself drops the metadata of nodes and tensors."""
    model.ClearField("doc_string")
    documented: list[Any] = [*graphs.graphs(model), *graphs.nodes(model), *graphs.tensors(model)]
    for part in documented:
        if part.doc_string:  # to clear what isn't there would make a tensor of an attribute that has none
            part.ClearField("doc_string")


def _forget_domains(found: onnx.ModelProto, model: onnx.ModelProto) -> None:
    """ONNX Runtime names every domain that it knows."""
    named = {graphs.domain(opset.domain) for opset in model.opset_import}
    used = named & {"", *(graphs.domain(node.domain) for node in graphs.nodes(found))}
    kept = sorted((opset for opset in found.opset_import if graphs.domain(opset.domain) in used), key=lambda opset: opset.domain)
    del found.opset_import[:]
    found.opset_import.extend(kept)
