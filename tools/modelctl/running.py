"""Runs a graph that is still in memory."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime

__all__ = ["session"]


def session(model: onnx.ModelProto, *, folded: Path | None = None) -> onnxruntime.InferenceSession:
    """On the CPU, and on one thread: the same sums each time. What ONNX Runtime raises has no common base.

    `folded` is where to leave the graph as it is with the basic optimizations, which are done alone then.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and a graph on its way may still hold what nothing reads
    if folded:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
