"""Takes whole neurons and filters out of a network, and refits the layer that read them.

Zeros in place of single weights would save nothing: a dense tensor of zeros is as large and as slow, and a sparse one isn't served.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from threadpoolctl import threadpool_limits

from tools.modelctl.compress import chains, elimination
from tools.modelctl.compress.chains import Chain
from tools.modelctl.compress.elimination import Elimination
from tools.modelctl.compress.probing import inner, sweep
from tools.modelctl.compress.subject import Inapplicable, Subject
from tools.modelctl.compress.validation import furthest, validation
from tools.modelctl.parity import Answers

__all__ = ["Layer", "measured", "prune", "without"]

_NUMBERS = 2**25  # activations of a layer that are looked at
_LOST = tuple(np.geomspace(1e-6, 0.5, 30))
"""Shares of a layer's answers that may be lost."""
_CAUTION = 0.25
"""A network is surest of the rows it was fitted on: on held-out rows a drop was up to four times as large (digits, pruned to all sizes)."""
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Layer:
    """A layer's channels, and what is known of them."""

    chain: Chain
    gram: Matrix
    """Of the activations that the next layer reads, and of a constant where it can add one."""
    eliminated: Elimination


def prune(subject: Subject) -> onnx.ModelProto:
    """The most neurons gone with which the drop on validation rows stays within [compress] max_drop.

    Each layer may lose the same share of its answers on calibration rows, so the less a layer needs its neurons, the more of them go.
    Raises `Inapplicable` where no layer can be followed to the next, or no neuron can go.
    """
    model = chains.inlined(subject.model)
    with threadpool_limits(1):
        judge = validation(subject, caution=_CAUTION)
        layers = measured(model, {name: values[judge.fit] for name, values in subject.calibration.items()})
        kept = furthest(
            [tuple(layer.eliminated.within(share) for layer in layers) for share in _LOST],
            lambda kept: judge.holds(without(model, layers, kept)),
        )
    if kept is None or all(some.all() for some in kept):
        raise Inapplicable(
            f"no neuron of {subject.config.name} can go without a drop of more than {subject.config.compress.max_drop:g}; "
            "raise max_drop in [compress] of model.toml, or use `dynamic-int8`, which keeps all of them"
        )
    gone, all_of_them = sum(int((~some).sum()) for some in kept), sum(map(len, kept))
    subject.tell(f"{gone} of {all_of_them} neurons and filters of {len(layers)} layers can go")
    return without(model, layers, kept)


def measured(model: onnx.ModelProto, rows: Answers) -> list[Layer]:
    """Every layer that can be followed to the next, in the order of the graph; `model` as `chains.inlined` leaves it."""
    names = [name for node in model.graph.node for name in node.output if name]
    two = inner(model, names, {name: values[:2] for name, values in rows.items()})
    found = list(chains.chains(model, {name: values.shape for name, values in two.items() if values.dtype == np.float32}))
    if not found:
        raise Inapplicable(
            "pruning needs a Conv, Gemm or MatMul whose neurons go through activations, pooling and flattening to just one other; "
            "this graph has none. `tree-prune` is for ensembles of trees, `distill` for any classifier or regression"
        )
    constants = chains.constants(model)
    layers = []
    for chain in found:
        size = two[chain.reader.activations].size // 2
        some = {name: values[: max(2, _NUMBERS // size)] for name, values in rows.items()}
        values = inner(model, [chain.reader.activations], some)[chain.reader.activations]
        gram = elimination.gram(_by_channel(values, chain), constant=chain.reader.bias is not None)
        weights = _weights(constants[chain.reader.weight], chain).reshape(chain.channels, -1)
        layers.append(Layer(chain, gram, elimination.eliminate(gram, weights)))
    return layers


def without(model: onnx.ModelProto, layers: list[Layer], kept: tuple[NDArray[np.bool_], ...]) -> onnx.ModelProto:
    """Without the channels that aren't `kept`, a mask for each layer."""
    pruned = onnx.ModelProto()
    pruned.CopyFrom(model)
    constants = {name: values.copy() for name, values in chains.constants(model).items()}
    nodes = {node.output[0]: node for node in pruned.graph.node}
    for layer, stays in zip(layers, kept, strict=True):
        _refit(constants, layer, stays)
        for cut in layer.chain.cuts:
            constants[cut.name] = np.compress(stays[cut.ids], constants[cut.name], cut.axis)
        for node, ids in layer.chain.reshapes:
            shape = f"{node.output[0]}.shape"
            nodes[node.output[0]].input[1] = shape
            pruned.graph.initializer.append(numpy_helper.from_array(np.array([-1, stays[ids].sum()]), shape))
    for tensor in pruned.graph.initializer:
        if tensor.name in constants:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(constants[tensor.name], np.float32), tensor.name))
    sweep(pruned)
    return pruned


def _refit(constants: dict[str, NDArray[np.float32]], layer: Layer, stays: NDArray[np.bool_]) -> None:
    """The reader's weights become those that make the most of the channels that stay."""
    reader = layer.chain.reader
    weights = _weights(constants[reader.weight], layer.chain)
    combined = np.tensordot(elimination.refitted(layer.gram, stays), weights, 1)
    left = combined[: stays.sum()]
    if reader.bias is not None:
        bias = constants[reader.bias]
        # What the removed channels answer at any row, summed over every place of them that an output reads.
        constants[reader.bias] = (bias + _outputs(combined[-1], bias.size).reshape(bias.shape)).astype(np.float32)
    ids = reader.ids[stays[reader.ids]]
    moved = np.moveaxis(constants[reader.weight], reader.weight_axis, 0)[stays[reader.ids]]
    moved[np.argsort(ids, kind="stable")] = left.reshape(moved.shape)
    constants[reader.weight] = np.moveaxis(moved, 0, reader.weight_axis)


def _weights(weights: NDArray[np.float32], chain: Chain) -> Matrix:
    """[channels, places of each, the rest]"""
    moved = np.moveaxis(weights, chain.reader.weight_axis, 0)
    grouped = moved[np.argsort(chain.reader.ids, kind="stable")]
    found: Matrix = grouped.reshape(chain.channels, len(moved) // chain.channels, -1).astype(np.float64)
    return found


def _outputs(row: Matrix, outputs: int) -> Matrix:
    """Of [places, the rest], where the rest of a convolution is [outputs, taps]."""
    total: Matrix = row.sum(axis=0)
    return total.reshape(outputs, -1).sum(axis=1)


def _by_channel(values: NDArray[np.float32], chain: Chain) -> NDArray[np.float32]:
    """Activations as [rows and places, channels]."""
    reader = chain.reader
    last = np.moveaxis(values, reader.axis, -1).reshape(-1, len(reader.ids))[:, np.argsort(reader.ids, kind="stable")]
    return last.reshape(len(last), chain.channels, -1).transpose(0, 2, 1).reshape(-1, chain.channels)
