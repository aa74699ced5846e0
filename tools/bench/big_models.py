"""The large models that loading is measured on: a convolutional network of 100 MB and a transformer of 400 MB, both with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tools.bench.samples import Sample, transformer
from tools.modelctl.scaffold.transformer.train import Sizes

__all__ = ["resnet", "resnet_sample", "small_resnet_sample", "transformer_sample"]

_STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
"""Blocks, and channels of their inner convolutions; a block's output has four times as many."""
_WIDER = 4


def resnet(stages: tuple[tuple[int, int], ...] = _STAGES, *, classes: int = 1000, pixels: int = 224) -> ModelProto:
    """FP32 images `input` [n, 3, pixels, pixels] to `probabilities` [n, classes].

    Of ResNet-50's shape unless told otherwise (https://arxiv.org/abs/1512.03385), its norms folded into the convolutions, as exporters
    write it.
    """
    graph = _Graph()
    states = graph.conv("input", 3, 64, kernel=7, stride=2, relu=True)
    states, channels = graph.add("MaxPool", states, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4), 64
    for stage, (blocks, inner) in enumerate(stages):
        for block in range(blocks):
            states = graph.block(states, channels, inner, stride=2 if stage and not block else 1)
            channels = _WIDER * inner
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", states))
    logits = graph.add("Gemm", pooled, graph.weight(channels, classes), graph.weight(classes))
    graph.add("Softmax", logits, to="probabilities", axis=1)
    return graph.model(classes, pixels)


def resnet_sample(rows: int = 1) -> Sample:
    """ResNet-50 and random images."""
    images = np.random.default_rng(1).random((rows, 3, 224, 224), np.float32)
    return Sample("resnet50", "ResNet-50, 224x224 images, random weights", resnet(), images)


def small_resnet_sample(rows: int = 1) -> Sample:
    """As `resnet_sample`, of 4 MB and 32x32 images."""
    images = np.random.default_rng(1).random((rows, 3, 32, 32), np.float32)
    return Sample("small resnet", "32x32 images, random weights", resnet(((1, 64), (1, 128), (1, 160)), classes=10, pixels=32), images)


def transformer_sample(rows: int = 1) -> Sample:
    """The encoder of `modelctl new --template transformer`, of BERT base's size, and random tokens."""
    sample = transformer(Sizes())
    return Sample(sample.name, sample.what, sample.model, sample.rows[:rows])


class _Graph:
    """Nodes in the order in which they are added, and weights small enough that what passes through stays finite."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._weights: list[TensorProto] = []
        self._nodes: list[onnx.NodeProto] = []

    def add(self, operator: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        """The name of its output."""
        output = to or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def weight(self, *shape: int) -> str:
        scale = np.float32(1 / np.sqrt(np.prod(shape[1:], initial=100.0 if len(shape) == 1 else 1.0)))
        values: NDArray[np.float32] = self._random.standard_normal(shape, np.float32) * scale
        self._weights.append(numpy_helper.from_array(values, f"weight_{len(self._weights)}"))
        return self._weights[-1].name

    def conv(self, states: str, inputs: int, outputs: int, *, kernel: int, stride: int = 1, relu: bool) -> str:
        weights, bias, pad = self.weight(outputs, inputs, kernel, kernel), self.weight(outputs), kernel // 2
        found = self.add("Conv", states, weights, bias, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        return self.add("Relu", found) if relu else found

    def block(self, states: str, inputs: int, inner: int, *, stride: int) -> str:
        """Three convolutions, added to what went in; through one of its own where that has another shape."""
        found = self.conv(states, inputs, inner, kernel=1, relu=True)
        found = self.conv(found, inner, inner, kernel=3, stride=stride, relu=True)
        found = self.conv(found, inner, _WIDER * inner, kernel=1, relu=False)
        if inputs != _WIDER * inner or stride != 1:
            states = self.conv(states, inputs, _WIDER * inner, kernel=1, stride=stride, relu=False)
        return self.add("Relu", self.add("Add", found, states))

    def model(self, classes: int, pixels: int) -> ModelProto:
        images = helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 3, pixels, pixels])
        probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, classes])
        graph = helper.make_graph(self._nodes, "resnet", [images], [probabilities], self._weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
