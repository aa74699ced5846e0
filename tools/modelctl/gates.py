"""Holds what was measured against the gates of model.toml: once when a version is made, and again whenever it is promoted."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from models.config import METRICS_OF_A_CLASS, Gate, ModelConfig
from modelserve.manifest import GateResult
from tools.modelctl.errors import BuildFailed

__all__ = ["by_name", "check", "failures", "measured", "relative", "telling"]

_OPERATOR = re.compile(r" [<>]= (?=[^\]]*$)")  # the last one: names of classes may hold anything
_NEEDS = {
    "roc_auc": "held-out rows of each class, and a probability of each",
    "log_loss": "probabilities, finite and of the sum 1",
    "calibration_error": "probabilities, finite and of the sum 1",
    "r2": "held-out rows whose y differ, and finite answers",
    "silhouette": "two clusters or more, fewer than rows, of finite numbers",
    "davies_bouldin": "two clusters or more, fewer than rows, of finite numbers",
}


def check(config: ModelConfig, found: Mapping[str, float], *, scored: bool = True) -> tuple[GateResult, ...]:
    """`found` is by metric, and by metric and class as in `recall[malignant]`. A gate against production holds until it is promoted.

    Raises `BuildFailed` for a gate on what isn't defined for the held-out rows, and for gates of a model that isn't `scored`.
    """
    if config.gates and not scored:
        raise BuildFailed(f"{config.name} has gates and no y to score it by; answer y in load(), or delete the gates")
    for gate in config.gates:
        if gate.measured not in found:
            raise BuildFailed(_undefined(config.name, gate, found))
    return tuple(GateResult(gate=str(gate), value=found[gate.measured], passed=gate.holds(found[gate.measured])) for gate in config.gates)


def failures(gates: tuple[GateResult, ...]) -> list[str]:
    """A sentence for each gate that doesn't hold."""
    return [f"the gate {gate.gate} doesn't hold, held-out rows gave {gate.value:.4g}" for gate in gates if not gate.passed]


def by_name(metrics: Mapping[str, float], classes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What gates may bound: the metrics, and those of `classes`, an evaluation's `per_class`, as in `recall[malignant]`.

    Raises `AttributeError`, `LookupError`, `TypeError` or `ValueError` for classes that are something else.
    """
    of_classes = {f"{metric}[{each['name']}]": float(each[metric]) for each in classes for metric in METRICS_OF_A_CLASS if metric in each}
    return {**of_classes, **metrics}


def measured(gate: str) -> str:
    """What a recorded gate bounds: `f1`, or of a class `f1[apple]`. Also of a gate that only a newer release can read."""
    return _OPERATOR.split(gate)[0]


def relative(gate: str) -> bool:
    """Whether a recorded gate is against production."""
    return _OPERATOR.split(gate)[-1].startswith("production")


def telling(metrics: Mapping[str, Any], gated: Collection[str]) -> dict[str, Any]:
    """Without those that a person needs not see: of micro averages, which are the accuracy where a row has one class, only the gated."""
    return {name: value for name, value in metrics.items() if not name.endswith("_micro") or name in gated}


def _undefined(name: str, gate: Gate, found: Mapping[str, float]) -> str:
    there = [measured for measured in found if measured.startswith(f"{gate.metric}[")]
    if gate.of is not None:
        expected = f"that is defined for {', '.join(there) or 'no class'}"
    else:
        expected = f"that needs {_NEEDS.get(gate.metric, 'finite answers')}"
    return (
        f'the gate "{gate}" of {name} has nothing to be held against: {gate.measured} is not defined for these held-out rows; {expected}. '
        "Hold out other rows ([data] in model.toml), correct the gate, or delete it"
    )
