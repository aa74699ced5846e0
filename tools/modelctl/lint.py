"""Reads a model before anything runs it: whoever made it may not be whoever publishes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs

from tools.modelctl import graphs

__all__ = ["CONTRIB", "IR", "MAX_DEPTH", "MAX_NODES", "OPSETS", "Finding", "lint"]

OPSETS = {"": (7, 25), "ai.onnx.ml": (1, 5)}
"""First and last operator set, by domain, that every tier runs: onnxruntime 1.31 (Lambda) loads up to 26 and 5, onnxruntime 1.24
(Triton 2.67) up to 25 and 5. Tried with both; ONNX Runtime promises all since 7 (its docs/Versioning.md)."""
IR = (3, 13)
"""Likewise; both load up to 13."""
CONTRIB = ("Tokenizer", "CDist")
"""Operators of ONNX Runtime's own domain, com.microsoft, that skl2onnx writes."""
_RUNTIMES = ("ai.onnx", "com.microsoft", "com.ms")
"""Beginnings of the domains that are ONNX's and ONNX Runtime's own."""
MAX_NODES = 100_000
"""Of the graph with its subgraphs, and with every call of a function written out."""
MAX_DEPTH = 8
"""Of subgraphs and functions within one another."""
MAX_TRIPS = 1_000_000
_MOST_BYTES = 2**31 - 1  # of a protobuf message
_LOCALES = {"C", "POSIX", "C.UTF-8"}
_SERVABLE = {
    *(TensorProto.BOOL, TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64),
    *(TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.STRING),
    *(TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE),
}
_PLAIN = {"name", "doc_string", "type", "i", "f", "s", "ints", "floats", "strings"}
"""Fields of an attribute that hold no tensor and no graph."""
_SHAPE_INPUT = {"ConstantOfShape": 0, "Expand": 1}


@dataclass(frozen=True)
class Finding:
    """A reason not to serve a model."""

    rule: str
    where: str
    what: str
    """What was found, and what to do."""

    def __str__(self) -> str:
        return f"{self.where} {self.what} [{self.rule}]"


def lint(file: Path, *, memory: int, beside: Mapping[str, int] | None = None) -> tuple[Finding, ...]:
    """What speaks against serving the model in `file` from a function of `memory` MB; nothing of it is run.

    Of a graph that ONNX Runtime made of a model, `beside` has the files for its weights by name, and their bytes; it may have operators of
    ONNX Runtime's own.
    """
    if not file.is_file() or file.is_symlink():
        return (Finding("file", file.name, "is no file of its own; publish the model itself, not a link to it"),)
    size = file.stat().st_size
    if size > (most := min(_MOST_BYTES, memory * 2**20)):
        return (Finding("size", file.name, f"has {size:,} bytes, and at most {most:,} can be loaded; raise `memory`, or compress it"),)
    try:
        model = onnx.load_model(file, load_external_data=False)
    except DecodeError:
        return (Finding("format", file.name, "is no ONNX model, or one whose parts nest too deep; convert it again"),)
    tensors, operators = (_tensors(model, size), _operators(model)) if beside is None else (_mapped(model, size, beside), ())
    rules = (
        *(_versions(model), _signature(model.graph), tensors, _defaults(model)),
        *(operators, _nodes(model, memory), _extent(model)),
    )
    return tuple(dict.fromkeys(finding for rule in rules for finding in rule))


def _versions(model: ModelProto) -> Iterator[Finding]:
    if not IR[0] <= model.ir_version <= IR[1]:
        yield Finding(
            "ir", "the model", f"has IR version {model.ir_version}; convert it to one from {IR[0]} to {IR[1]}, which every tier reads"
        )
    for opset in (*model.opset_import, *(opset for function in model.functions for opset in function.opset_import)):
        first, last = OPSETS.get(graphs.domain(opset.domain), (None, None))
        if first is not None and last is not None and not first <= opset.version <= last:
            name = opset.domain or "ai.onnx"
            yield Finding("opset", "the model", f"uses operator set {name} {opset.version}; convert with target_opset {first} to {last}")


def _signature(graph: GraphProto) -> Iterator[Finding]:
    constants = {tensor.name for tensor in graph.initializer}
    for value in (*(value for value in graph.input if value.name not in constants), *graph.output):
        where, kind, element = f"tensor {value.name!a:.60}", value.type.WhichOneof("value"), value.type.tensor_type.elem_type
        if not value.name or not value.name.isprintable():
            yield Finding("signature", where, "needs a name that can be printed; rename it")
        if kind != "tensor_type":
            yield Finding("signature", where, f"is a {str(kind).removesuffix('_type')}, no tensor; convert with zipmap=False")
        elif element not in _SERVABLE:
            yield Finding("signature", where, f"has ONNX element type {element}, which the protocol can't carry; cast it in the graph")


def _tensors(model: ModelProto, size: int) -> Iterator[Finding]:
    """Data outside the file (a path is read wherever it leads, a hard link too), and sizes that the file can't hold."""
    for tensor in graphs.tensors(model):
        where = f"tensor {tensor.name!a:.60}"
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            yield Finding(
                "external", where, "lies in another file; save the model as one, onnx.save(model, path, save_as_external_data=False)"
            )
        yield from _dimensions(tensor, where, size)
    for sparse in graphs.sparse_tensors(model):
        where = f"tensor {sparse.values.name!a:.60}"
        yield Finding("sparse", where, "is sparse, and as large as its shape says once it is loaded; make it dense")


def _mapped(model: ModelProto, size: int, beside: Mapping[str, int]) -> Iterator[Finding]:
    """Data that is neither in the file nor, by a plain name, in one of those that came with it."""
    for tensor in graphs.tensors(model):
        where = f"tensor {tensor.name!a:.60}"
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
            if location not in beside:
                yield Finding("external", where, f"lies in {location!a:.60}, which is no file of the version; publish it again")
        yield from _dimensions(tensor, where, size + sum(beside.values()))
    if any(True for _ in graphs.sparse_tensors(model)):
        yield Finding("sparse", "the graph", "has sparse tensors, which ONNX Runtime writes dense; publish it again")


def _dimensions(tensor: TensorProto, where: str, size: int) -> Iterator[Finding]:
    if any(dim < 0 for dim in tensor.dims) or prod(tensor.dims) > 2 * size:
        yield Finding("dimensions", where, f"has shape {list(tensor.dims)!s:.60}, more than the file can hold; convert the model again")


def _defaults(model: ModelProto) -> Iterator[Finding]:
    """A tensor or graph here is what a node of the function holds when its caller says nothing, and no walk over nodes meets it."""
    for function in model.functions:
        for attribute in function.attribute_proto:
            if {field.name for field, _ in attribute.ListFields()} - _PLAIN:
                where = f"function {function.name!a:.60}"
                yield Finding("default", where, "has a tensor or a graph as a default attribute; write it into the function's nodes")


def _operators(model: ModelProto) -> Iterator[Finding]:
    for function in model.functions:
        if graphs.domain(function.domain) in OPSETS or function.domain.startswith(_RUNTIMES):
            where = f"function {function.domain or 'ai.onnx'}.{function.name}"[:100]
            yield Finding("operator", where, "bears the domain of built-in operators, which would run in its place; give it one of its own")
    own = graphs.functions(model)
    for imports, nodes in graphs.scopes(model):
        for node in nodes:
            if graphs.called(node) not in own and not _is_known(node, imports):
                yield Finding(
                    "operator",
                    f"operator {node.domain or 'ai.onnx'}.{node.op_type}"[:100],
                    f"is not one that every tier runs; use those of ai.onnx and ai.onnx.ml, or com.microsoft's {' and '.join(CONTRIB)}",
                )


def _is_known(node: NodeProto, imports: dict[str, int]) -> bool:
    domain = graphs.domain(node.domain)
    if domain == "com.microsoft":
        return node.op_type in CONTRIB
    if domain not in OPSETS or domain not in imports:
        return False
    try:
        return not defs.get_schema(node.op_type, min(imports[domain], OPSETS[domain][1]), domain).deprecated
    except defs.SchemaError:
        return False


def _nodes(model: ModelProto, memory: int) -> Iterator[Finding]:
    constants = graphs.constants(model)
    for node in graphs.nodes(model):
        where = f"node {(node.name or node.op_type)!a:.60}"
        if node.op_type == "StringNormalizer" and not _has_portable_locale(node):
            fix = 'convert with options={id(vectorizer): {"locale": "C.UTF-8"}}'
            yield Finding("locale", where, f"needs a locale that AWS's image lacks; {fix}")
        if node.op_type == "Loop" and _trips(node, constants) > MAX_TRIPS:
            yield Finding("loop", where, f"may never end; give it a trip count of at most {MAX_TRIPS:,}")
        place = _SHAPE_INPUT.get(node.op_type, len(node.input))
        if place < len(node.input) and constants.get(node.input[place], 0) > memory * 2**20:
            yield Finding("memory", where, f"makes more elements than {memory:,} MB can hold; raise `memory`, or make fewer")


def _trips(loop: NodeProto, constants: dict[str, int]) -> int:
    """0 where the input decides: such a loop ends at the deadline."""
    return constants.get(loop.input[0], 0) if loop.input and loop.input[0] else MAX_TRIPS + 1


def _has_portable_locale(node: NodeProto) -> bool:
    """Without the attribute ONNX Runtime takes en_US.UTF-8; it needs none where it neither folds nor ignores case."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    changes = "case_change_action" in attributes and attributes["case_change_action"].s != b"NONE"
    ignores = "is_case_sensitive" not in attributes or not attributes["is_case_sensitive"].i
    if not changes and not (ignores and "stopwords" in attributes):
        return True
    return "locale" in attributes and attributes["locale"].s.decode("utf-8", "replace") in _LOCALES


def _extent(model: ModelProto) -> Iterator[Finding]:
    try:
        nodes, _ = graphs.extent(model, MAX_DEPTH)
    except graphs.TooDeep:
        yield Finding("depth", "the graph", f"nests subgraphs or functions more than {MAX_DEPTH} deep; make it flatter")
    else:
        if nodes > MAX_NODES:
            yield Finding(
                "nodes", "the graph", f"has {nodes:,} nodes, functions written out, and at most {MAX_NODES:,} are served; make it smaller"
            )
