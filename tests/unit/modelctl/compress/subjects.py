"""Models to make smaller, and rows to do it by."""

from typing import Any

import numpy as np
import onnx

from models.config import CompressConfig, ModelConfig
from tools.modelctl import convert
from tools.modelctl.compress.subject import Subject
from tools.modelctl.data import Split


def subject(task: str, model: Any, X: Any, y: Any, *, max_drop: float = 0.01, student: str | None = None, seed: int = 0) -> Subject:
    """`model` is an estimator or a graph. Held-out rows are no rows: a method that looked at them would fail."""
    config = ModelConfig(name="small", task=task, compress=CompressConfig(max_drop=max_drop))  # type: ignore[arg-type]
    graph = model if isinstance(model, onnx.ModelProto) else convert.convert("small", task, model, X)
    return Subject(config=config, model=graph, rows=Split(X, y, None, None), student=student, seed=seed)


def ensemble_node(model: onnx.ModelProto) -> onnx.NodeProto:
    node: onnx.NodeProto
    (node,) = (node for node in model.graph.node if node.op_type.startswith("TreeEnsemble"))
    return node


def numbers(rows: int, columns: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
