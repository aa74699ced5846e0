"""Scores what the ONNX model answers for held-out rows, and holds it against the gates of model.toml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from sklearn import metrics
from sklearn.pipeline import Pipeline

from models.config import METRICS, Gate, ModelConfig
from modelserve.manifest import GateResult
from tools.modelctl.errors import BuildFailed

__all__ = ["check", "failures", "score", "space"]


def score(task: str, X: Any, y: Any, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Held-out metrics by name; none without `y`, unless the task is clustering, which is judged by the distances within `X` (`space`).

    Means over classes are unweighted (macro); errors are in y's unit, mse in its square.
    Raises `BuildFailed` for answers that no metric is defined for, such as NaN or a single cluster.
    """
    if task == "custom" or (y is None and task != "clustering"):
        return {}
    try:
        match task:
            case "classification":
                found = _classification(y, answers["label"])
            case "regression":
                found = _regression(y, answers["prediction"])
            case _:
                found = _clustering(X, answers["label"])
    except ValueError as error:
        raise BuildFailed(f"the answers for held-out rows can't be scored: {error}") from None
    return {name: float(value) for name, value in zip(METRICS[task], found, strict=True)}


def space(estimator: Any, X: Any) -> Any:
    """`X` as the last step of a pipeline sees it, where distances mean something."""
    return estimator[:-1].transform(X) if isinstance(estimator, Pipeline) and len(estimator) > 1 else X


def check(config: ModelConfig, found: Mapping[str, float]) -> tuple[GateResult, ...]:
    """`found` has every metric of the task, and no gate names another. Raises `BuildFailed` for gates of a model that nothing scores."""
    if config.gates and not found:
        raise BuildFailed(f"{config.name} has gates and no y to score it by; answer y in load(), or delete the gates")
    return tuple(_result(gate, found[gate.metric]) for gate in config.gates)


def failures(gates: tuple[GateResult, ...]) -> list[str]:
    """A sentence for each gate that doesn't hold."""
    return [f"the gate {gate.gate} doesn't hold, held-out rows gave {gate.value:.4g}" for gate in gates if not gate.passed]


def _result(gate: Gate, value: float) -> GateResult:
    return GateResult(gate=str(gate), value=value, passed=gate.holds(value))


def _classification(y: Any, label: NDArray[Any]) -> tuple[float, ...]:
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(y, label, average="macro", zero_division=0)
    return metrics.accuracy_score(y, label), precision, recall, f1


def _regression(y: Any, prediction: NDArray[Any]) -> tuple[float, ...]:
    scores = (metrics.mean_absolute_error, metrics.mean_squared_error, metrics.root_mean_squared_error, metrics.r2_score)
    return tuple(score(y, prediction) for score in scores)


def _clustering(X: Any, label: NDArray[Any]) -> tuple[float, ...]:
    return metrics.silhouette_score(X, label), metrics.davies_bouldin_score(X, label)
