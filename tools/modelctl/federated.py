"""Averages models of the same shape that were trained apart, so that weights travel and rows stay where they are.

Federated averaging, after McMahan, Moore, Ramage, Hampson and Agüera y Arcas: "Communication-Efficient Learning of Deep Networks from
Decentralized Data", AISTATS 2017: each weight is the mean over the sites, each site weighted by its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from tools.modelctl import graphs
from tools.modelctl.errors import BuildFailed, UsageFailed

__all__ = ["average"]

_AVERAGED = {TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.FLOAT, TensorProto.DOUBLE}
"""Means of other types, whole numbers and text, mean nothing: of these all sites must have the same."""


def average(models: Sequence[onnx.ModelProto], rows: Sequence[int] | None = None) -> onnx.ModelProto:
    """The first model, with the mean of every floating-point weight over all `models`; a model counts by its `rows`, or each the same.

    Sums are in float64, in the order given; the same models give the same bytes. Raises `UsageFailed` for a wrong number of rows, and
    `BuildFailed` naming what differs in models that are not of the same shape, or hold weights that no mean is defined for.
    """
    if len(models) < 2:
        raise UsageFailed(f"{len(models)} model can't be averaged; expected two or more")
    counts = list(rows) if rows else [1] * len(models)
    if len(counts) != len(models) or min(counts) < 1:
        raise UsageFailed(f"the models were given with rows {counts}; expected one positive number for each of {len(models)} models")
    for number, other in enumerate(models[1:], 2):
        if difference := next(_differences(models[0], other), None):
            raise BuildFailed(f"model {number} is not of the shape of model 1: {difference}; expected copies of one network, trained apart")
    averaged = onnx.ModelProto()
    averaged.CopyFrom(models[0])
    for tensors in zip(_weights(averaged), *map(_weights, models), strict=True):
        _fill(tensors[0], tensors[1:], counts)
    return averaged


def _fill(into: TensorProto, tensors: Sequence[TensorProto], counts: Sequence[int]) -> None:
    total = sum(counts)
    values = [_values(tensor) for tensor in tensors]
    if into.data_type not in _AVERAGED:
        if any(not np.array_equal(values[0], other) for other in values[1:]):
            raise BuildFailed(
                f"{into.name!r} is {TensorProto.DataType.Name(into.data_type)} and not the same in all models; "
                "expected equal whole numbers and text, since only floating-point weights have a mean: average before compressing"
            )
        return
    if not all(np.isfinite(each).all() for each in values):
        raise BuildFailed(f"{into.name!r} holds NaN or infinity in one of the models; expected numbers: that training went wrong")
    mean = sum(each.astype(np.float64) * (count / total) for each, count in zip(values, counts, strict=True))
    into.CopyFrom(numpy_helper.from_array(np.asarray(mean).astype(values[0].dtype), into.name))


def _differences(one: onnx.ModelProto, other: onnx.ModelProto) -> Iterator[str]:
    """Everything but the values of weights, and notes such as the producer, must be the same."""
    opsets = [sorted((graphs.domain(each.domain), each.version) for each in model.opset_import) for model in (one, other)]
    if opsets[0] != opsets[1]:
        yield f"operator sets {opsets[1]} instead of {opsets[0]}"
    for place, (first, second) in enumerate(zip_longest(graphs.nodes(one), graphs.nodes(other))):
        if first is None or second is None or _named(first) != _named(second):
            yield f"node {place} is {_named(second)} instead of {_named(first)}"
        elif _plain(first) != _plain(second):
            yield (
                f"node {place}, {_named(first)}, has other inputs, outputs or attributes, "
                "where ai.onnx.ml's linear models, scalers, encoders and trees keep what they learnt"
            )
    for what, specs in {"input": (one.graph.input, other.graph.input), "output": (one.graph.output, other.graph.output)}.items():
        for given, found in zip_longest(*specs):
            if given is None or found is None or (given.name, given.type) != (found.name, found.type):
                names = [getattr(spec, "name", "missing") for spec in (found, given)]
                yield f"{what} {names[0]!r} instead of {names[1]!r}, or of another type"
    yield from _unlike_weights(one, other)


def _unlike_weights(one: onnx.ModelProto, other: onnx.ModelProto) -> Iterator[str]:
    if any(graph.sparse_initializer for model in (one, other) for graph in graphs.graphs(model)):
        yield "sparse weights, which have no mean here, instead of dense ones"
    for given, found in zip_longest(map(_kind, _weights(one)), map(_kind, _weights(other))):
        if given != found:
            yield f"weight {found or 'missing'} instead of {given or 'missing'}"


def _named(node: onnx.NodeProto | None) -> str:
    return f"{node.op_type} {node.name!a:.60}" if node else "missing"


def _plain(node: onnx.NodeProto) -> bytes:
    """Without a constant, which `_weights` has, its subgraphs, whose nodes are walked too, and its note."""
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.ClearField("doc_string")
    for attribute in plain.attribute:
        attribute.ClearField("g")
        if node.op_type == "Constant" and attribute.name == "value":
            attribute.ClearField("t")
    return bytes(plain.SerializeToString(deterministic=True))


def _weights(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Initializers and constants, of subgraphs and functions too."""
    for graph in graphs.graphs(model):
        yield from graph.initializer
    for node in graphs.nodes(model):
        if node.op_type == "Constant":
            yield from (attribute.t for attribute in node.attribute if attribute.name == "value")


def _kind(tensor: TensorProto) -> str:
    return f"{tensor.name!r} {TensorProto.DataType.Name(tensor.data_type)} {list(tensor.dims)}"


def _values(tensor: TensorProto) -> NDArray[np.float64]:
    if tensor.data_location == TensorProto.EXTERNAL:
        raise BuildFailed(
            f"{tensor.name!r} lies in another file; save the model as one, onnx.save(model, path, save_as_external_data=False)"
        )
    values: NDArray[np.float64] = numpy_helper.to_array(tensor)
    return values
