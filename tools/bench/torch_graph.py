"""Runs an ONNX graph in torch, operator by operator: as many operators as the samples have, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch  # type: ignore[import-not-found,unused-ignore]  # an extra
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper
from torch.nn import functional  # type: ignore[import-not-found,unused-ignore]

from tools.bench.devices import Answers, Run
from tools.loopback.errors import MeasureError

__all__ = ["OPERATORS", "open_graph"]


def _gather(data: Any, at: Any, axis: int = 0) -> Any:
    return data.index_select(axis, at.flatten()).reshape(*data.shape[:axis], *at.shape, *data.shape[axis + 1 :])


def _reshape(data: Any, shape: Any) -> Any:
    """A 0 stands for what the dimension was."""
    return data.reshape([given or kept for given, kept in zip(shape, [*data.shape, *shape], strict=False)])


def _max_pool(data: Any, kernel_shape: Any, strides: Any) -> Any:
    return functional.max_pool2d(data, kernel_shape, strides)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Add": torch.add,
    "ArgMax": lambda data, axis, keepdims: data.argmax(axis, keepdim=bool(keepdims)),
    "Conv": functional.conv2d,
    "Div": torch.div,
    "Erf": torch.erf,
    "Flatten": lambda data: data.flatten(1),
    "Gather": _gather,
    "Gemm": lambda data, weight, bias: data @ weight + bias,
    "LayerNormalization": lambda data, scale, bias, epsilon: functional.layer_norm(data, data.shape[-1:], scale, bias, epsilon),
    "MatMul": torch.matmul,
    "MaxPool": _max_pool,
    "Mul": torch.mul,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Softmax": lambda data: data.softmax(-1),
    "Transpose": lambda data, perm: data.permute(perm),
}
"""With the attributes that the samples' nodes have; another is a TypeError, and never ignored."""


def open_graph(model: ModelProto, device: str) -> Run:
    """Raises `MeasureError` for a graph with other operators."""
    missing = {node.op_type for node in model.graph.node} - set(OPERATORS)
    if missing:
        raise MeasureError(
            f"torch runs no {', '.join(sorted(missing))} here; add it to tools/bench/torch_graph.py, or install onnxruntime-gpu"
        )
    (entry,), names = model.graph.input, [output.name for output in model.graph.output]
    last = {name: at for at, node in enumerate(model.graph.node) for name in node.input}
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    constants = {name: values.tolist() if name in shapes else torch.tensor(values, device=device) for name, values in arrays.items()}
    steps = [
        (OPERATORS[node.op_type], node, _attributes(node), [name for name in {*node.input} - {*arrays, *names} if last[name] == at])
        for at, node in enumerate(model.graph.node)
    ]

    def run(rows: NDArray[Any]) -> Answers:
        with torch.inference_mode():
            values = {**constants, entry.name: torch.from_numpy(rows).to(device)}
            for operator, node, attributes, done in steps:
                values[node.output[0]] = operator(*(values[name] for name in node.input), **attributes)
                for name in done:  # all that a large batch goes through is more than a GPU holds
                    del values[name]
            return {name: values[name].cpu().numpy() for name in names}

    return run


def _attributes(node: Any) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
