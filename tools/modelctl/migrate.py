"""Writes a model in another version of ONNX: its operator set, and the IR that the file is written in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from onnx import defs, helper, inliner, version_converter

from models.config import ModelConfig
from tools.modelctl import convert, graphs, parity
from tools.modelctl.assess import assess
from tools.modelctl.built import Built
from tools.modelctl.data import Split
from tools.modelctl.errors import BuildFailed, UsageFailed, first_line
from tools.modelctl.lint import IR, OPSETS
from tools.modelctl.origin import Origin, space
from tools.modelctl.source import Source

__all__ = ["migrate", "rewritten"]
_CARRIED_OVER = {
    (13, 12): {"Softmax", "LogSoftmax"},
    (12, 13): {"Hardmax"},
    (20, 21): {"GroupNormalization"},
    (21, 20): {"GroupNormalization"},
}
"""Operators that changed between two operator sets, and that onnx's converter only relabels."""


def migrate(
    config: ModelConfig,
    source: Source,
    origin: Origin,
    rows: Split,
    folder: Path,
    *,
    opset: int | None,
    ir: int | None,
    progress: Callable[[str], None] = lambda _: None,
) -> Built:
    """The model in operator set `opset` of ai.onnx and IR `ir`, judged in `folder` against the version it was made from, on held-out rows.

    Clusters are judged where train.py's own pipeline sees them, so it is fitted once more. Raises `UsageFailed` for versions that can't be
    had or are there already, `BuildFailed` naming the operator that stands in the way.
    """
    after = rewritten(onnx.load_model(origin.model), opset=opset, ir=ir)
    transform = ", ".join(f"{what} {version}" for what, version in {"opset": opset, "IR": ir}.items() if version)
    expected = parity.run(origin.model, origin.asked(rows))
    return assess(config, origin.converted(after, transform, expected, space(config, source, rows)), rows, folder, progress=progress)


def rewritten(model: onnx.ModelProto, *, opset: int | None, ir: int | None) -> onnx.ModelProto:
    """A copy in that operator set of ai.onnx, and that IR or else the first that has the operator set, if it is newer.

    Functions are written out where they are called, since onnx's converter drops them. Operator sets of other domains stay: it has
    adapters for none of them, ai.onnx.ml's neither, and every tier runs versions 1 to 5 of that. Raises as `migrate`.
    """
    current = convert.opsets(model).get("", 0)
    _within("--opset", opset, OPSETS[""])
    _within("--ir", ir, IR)
    if opset in {None, current} and ir in {None, model.ir_version}:
        raise UsageFailed(f"the model has operator set {current} and IR {model.ir_version} already; expected another --opset or --ir")
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if opset not in {None, current}:
        _convert(changed, int(opset or 0))
    least = helper.find_min_ir_version_for([each for each in changed.opset_import if each.domain in {"", "ai.onnx", "ai.onnx.ml"}])
    if ir is not None and ir < least:
        raise UsageFailed(f"operator set {convert.opsets(changed)['']} needs IR {least} or later; expected --ir {least} to {IR[1]}")
    changed.ir_version = ir or max(least, model.ir_version)
    try:
        onnx.checker.check_model(changed, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BuildFailed(
            f"the model is none in operator set {opset or current} and IR {changed.ir_version}: {first_line(error)}"
        ) from None
    return changed


def _convert(model: onnx.ModelProto, opset: int) -> None:
    """In place, version by version; all but the graph and its operator sets stays: onnx's converter drops some of it."""
    current = convert.opsets(model).get("", opset)
    step = 1 if opset > current else -1
    converted = inliner.inline_local_functions(model, convert_version=True)
    for version in range(current, opset, step):
        converted = _stepped(converted, version, version + step, opset)
    model.graph.CopyFrom(converted.graph)
    del model.functions[:]
    _relabel(model, opset)


def _stepped(model: onnx.ModelProto, before: int, after: int, wanted: int) -> onnx.ModelProto:
    """By onnx's converter, or, where that lacks an adapter, as it is: if nothing but types has changed, which the checker looks at."""
    if operator := next(_otherwise(model, before, after), None):
        raise _in_the_way(operator, before, after, wanted)
    try:
        return version_converter.convert_version(model, after)
    except (RuntimeError, version_converter.ConvertError):
        if operator := next(_changed(model, before, after), None):
            raise _in_the_way(operator, before, after, wanted) from None
        _relabel(model, after)
        return model


def _in_the_way(operator: str, before: int, after: int, wanted: int) -> BuildFailed:
    return BuildFailed(
        f"{operator} stands in the way of operator set {wanted}: it changed between {before} and {after}, and onnx's converter "
        f"can't adapt it; expected --opset {before} or {'later' if after < before else 'earlier'}, or the original converted with "
        f"target_opset {wanted}"
    )


def _otherwise(model: onnx.ModelProto, before: int, after: int) -> Iterator[str]:
    """Operators that onnx's converter carries over although they mean something else: an axis that is not the last, scales of groups."""
    wrong = _CARRIED_OVER.get((before, after), set())
    for node in graphs.nodes(model):
        if graphs.domain(node.domain) == "" and node.op_type in wrong:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1 if before < after else -1)
            if node.op_type == "GroupNormalization" or axis not in _last(model, node.input[0]):
                yield node.op_type


def _last(model: onnx.ModelProto, tensor: str) -> set[int]:
    """How an axis may be written that is the last one of a tensor, whose rank may not be known."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [value for value in (*graph.input, *graph.value_info, *graph.output) if value.name == tensor]
    return {-1, *(len(value.type.tensor_type.shape.dim) - 1 for value in values if value.type.tensor_type.HasField("shape"))}


def _changed(model: onnx.ModelProto, before: int, after: int) -> Iterator[str]:
    """Operators of ai.onnx that aren't in `after`, or have other inputs, outputs or attributes there."""
    for node in graphs.nodes(model):
        if graphs.domain(node.domain) == "":
            try:
                old, new = defs.get_schema(node.op_type, before), defs.get_schema(node.op_type, after)
            except defs.SchemaError:
                yield node.op_type
                continue
            if old.since_version != new.since_version and _form(old) != _form(new):
                yield node.op_type


def _form(schema: defs.OpSchema) -> tuple[object, ...]:
    attributes = {name: (each.type, each.required, each.default_value.SerializeToString()) for name, each in schema.attributes.items()}
    return attributes, *([(each.name, each.option, each.is_homogeneous) for each in ends] for ends in (schema.inputs, schema.outputs))


def _relabel(model: onnx.ModelProto, opset: int) -> None:
    """Names the operator sets that nodes are of, ai.onnx in that version."""
    versions = {graphs.domain(each.domain): each.version for each in model.opset_import} | {"": opset}
    used = {graphs.domain(node.domain) for node in graphs.nodes(model)} | {""}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in sorted(versions.items()) if domain in used)


def _within(option: str, value: int | None, bounds: tuple[int, int]) -> None:
    if value is not None and not bounds[0] <= value <= bounds[1]:
        raise UsageFailed(f"{option} {value} is not one that every tier runs; expected {bounds[0]} to {bounds[1]}")
