"""Scores what the ONNX model answers for held-out rows: what is judged is what will be served."""

from tools.modelctl.evaluate.document import Evaluation, evaluate
from tools.modelctl.evaluate.metrics import score, space

__all__ = ["Evaluation", "evaluate", "score", "space"]
