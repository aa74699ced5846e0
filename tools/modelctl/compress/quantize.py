"""Writes the weights of dense layers and convolutions as 8-bit integers, and lets ONNX Runtime multiply by them as such."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static

from tools.modelctl.compress.optimize import restored, simplified
from tools.modelctl.compress.subject import LEAST, Inapplicable, Subject, advice
from tools.modelctl.errors import BuildFailed, first_line
from tools.modelctl.parity import Answers

__all__ = ["dynamic_int8", "static_int8"]

CALIBRATION = 512
"""Rows for training that ranges are taken from, at most; the split has shuffled them."""
_BATCH = 32
_DENSE = ("Gemm", "MatMul")
_PASSING = ("Relu", "Clip", "MaxPool", "GlobalAveragePool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
"""What stays in 8 bits between two layers that are."""
_OPSET = 13  # the first that scales each channel by itself
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")
"""What ONNX Runtime asks for before it quantizes without a warning; `simplified` does what it means."""
_WEIGHTS: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": QuantType.QInt8}
"""A scale for each output: one for all loses what small ones say. 7 of the 8 bits: a CPU without VNNI adds two products in 16 bits, and
would answer otherwise than the one that this was measured on (ONNX Runtime's docs/performance/model-optimizations/quantization)."""


def dynamic_int8(subject: Subject) -> onnx.ModelProto:
    """Dense layers; what goes in is scaled as it comes, by the largest of all rows of a request.

    Convolutions stay as they are: ConvInteger took 7 times as long as Conv on a CPU with VNNI. Raises `Inapplicable`.
    """
    if subject.config.target == "gpu" and subject.config.gpu.max_batch:
        raise Inapplicable(
            "it scales a request by its largest number, so that a row is answered otherwise among others, and max_batch in [gpu] of "
            "model.toml joins requests; use static-int8, whose scales are fixed, or set max_batch = 0"
        )
    model = _prepared(subject.model)
    layers = _layers(model, _DENSE)
    # A Gemm becomes a MatMul of this name before anything is chosen by name.
    names = [name for layer in layers for name in (layer, f"{layer}_MatMul")]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "quantized.onnx")
        with _Told("dynamic-int8"):
            quantize_dynamic(model, file, op_types_to_quantize=["MatMul"], nodes_to_quantize=names, **_WEIGHTS)
        return restored(onnx.load(file), subject.model)


def static_int8(subject: Subject) -> onnx.ModelProto:
    """Dense layers and convolutions; what goes in is scaled by the range that it has on rows for training.

    The whole range, not the part that loses least entropy: both gave the same answers on the sample models, and the whole clips no row that
    training has seen. Answers of dense layers stay floats, which cost nothing and keep probabilities apart. Raises `Inapplicable`.
    """
    if (opset := _opset(subject.model)) < _OPSET:
        raise Inapplicable(
            f"a scale for each channel needs operator set {_OPSET}, and this graph has {opset}; raise it with modelctl migrate"
        )
    model = _prepared(subject.model)
    layers = _layers(model, ("Conv", *_DENSE))
    passing = [node.name for node in model.graph.node if node.op_type in _PASSING]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "quantized.onnx")
        with _Told("static-int8"):
            quantize_static(
                *(model, file, _Rows(subject.calibration, _fixed(model))),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv", *_DENSE, *_PASSING],
                nodes_to_quantize=[*layers, *passing],
                activation_type=QuantType.QUInt8,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"OpTypesToExcludeOutputQuantization": list(_DENSE)},
                **_WEIGHTS,
            )
        return restored(onnx.load(file), subject.model)


class _Rows:
    """Batches of the rows, as ONNX Runtime's calibration asks for them; a graph of a fixed number of rows gets as many."""

    def __init__(self, inputs: Answers, rows: int | None) -> None:
        size = rows or _BATCH
        count = min(CALIBRATION, *map(len, inputs.values()))
        starts = range(0, count - size + 1 if rows else count, size)
        self._batches: Iterator[Answers] = iter([{name: values[at : at + size] for name, values in inputs.items()} for at in starts])

    def get_next(self) -> Answers | None:
        return next(self._batches, None)


class _Told:
    """Whatever ONNX Runtime's quantization raises is told as `BuildFailed`."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            raise BuildFailed(
                f"ONNX Runtime's quantization can't take this graph: {first_line(error, named=True)}. "
                f"Compress it by another method than {self._method}: fp16 and optimize take any graph"
            ) from error


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """A simplified copy whose nodes have names, each its own, and whose biases have one dimension."""
    found = simplified(model)
    used = Counter(node.name for node in found.graph.node)
    for place, node in enumerate(found.graph.node):
        if not node.name or used[node.name] > 1:
            node.name = f"{node.op_type}_{place}"
    added = {node.input[2] for node in found.graph.node if node.op_type == "Gemm" and len(node.input) > 2}
    for tensor in found.graph.initializer:
        if tensor.name in added and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            del tensor.dims[0]
    found.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])
    return found


def _layers(model: onnx.ModelProto, kinds: tuple[str, ...]) -> list[str]:
    """Names of the nodes whose weight is worth it. Raises `Inapplicable` when there are none."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    given = {value.name for value in model.graph.input}
    found = []
    for node in model.graph.node:
        weight = stored.get(node.input[1]) if node.op_type in kinds and node.input[1] not in given else None
        bias = stored.get(node.input[2]) if len(node.input) > 2 else None
        if weight is not None and prod(weight.dims) >= LEAST and (bias is None or len(bias.dims) == 1):
            found.append(node.name)
    if not found:
        what = "dense layer or convolution" if "Conv" in kinds else "dense layer"
        raise Inapplicable(f"no {what} of this graph has {LEAST} FP32 weights or more; {advice(model)}")
    return found


def _fixed(model: onnx.ModelProto) -> int | None:
    """The number of rows that the graph insists on."""
    sizes = [value.type.tensor_type.shape.dim[0].dim_value for value in model.graph.input if value.type.tensor_type.shape.dim]
    return max(sizes, default=0) or None


def _opset(model: onnx.ModelProto) -> int:
    return next((int(opset.version) for opset in model.opset_import if opset.domain in {"", "ai.onnx"}), 0)
