"""How a version stands against its gates, which comes first on its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.config import Gate
from tools.modelctl.gates import by_name, measured, relative
from tools.modelctl.report.text import bounded, counted, number

__all__ = ["Held", "failures", "held", "tolerated", "unscored", "verdict"]

_MOST = 40
_UNSCORED = {"custom": "a custom model has no metrics", "clustering": "its metrics aren't defined for the held-out rows"}


@dataclass(frozen=True, kw_only=True)
class Held:
    """A gate and what it was held against."""

    gate: str
    value: str
    passed: bool | None
    """None of one that waits for a production to be held against."""
    lacking: bool = False
    """Whether production is there and records no such value, so that it can't be held against it: promoting refuses that."""

    @property
    def failure(self) -> str:
        if self.lacking:
            return f"{self.gate} can't be held against production, which doesn't record it"
        return f"{self.gate} doesn't hold: held-out rows gave {self.value}"


def held(report: Mapping[str, Any], production: Mapping[str, Any] | None = None) -> list[Held]:
    """Each gate; those against production as `production` is, and not as publishing left them, which had none to look at."""
    others = _metrics(production) if production else None
    return [_held(each, others) for each in report["manifest"]["gates"][:_MOST]]


def failures(report: Mapping[str, Any], production: Mapping[str, Any] | None = None) -> list[str]:
    """What speaks against the version, a sentence each; none where it passed."""
    gates = [each.failure for each in held(report, production) if each.passed is False]
    parity = report["manifest"].get("parity")
    differs = ["the ONNX model does not answer as the one that was trained"] if parity and not parity["passed"] else []
    return [*gates, *differs, *(bounded(finding, 400) for finding in report.get("findings", ()))][:_MOST]


def verdict(report: Mapping[str, Any], production: Mapping[str, Any] | None = None) -> str:
    """Whether it passes, in a few words: `passes its 2 gates`."""
    found, gates = failures(report, production), held(report, production)
    if found:
        return f"fails: {found[0]}" + (f", and {len(found) - 1} more" if len(found) > 1 else "")
    if not report["manifest"]["metrics"]:
        return f"was not scored: {unscored(report['manifest'].get('task'))}"
    waiting = sum(each.passed is None for each in gates)
    later = f"; {waiting} more {'waits' if waiting == 1 else 'wait'} for a production to be held against" if waiting else ""
    return (f"passes its {counted(len(gates) - waiting, 'gate')}" if len(gates) > waiting else "has no gates to pass yet") + later


def unscored(task: str | None) -> str:
    """Why a model of this task has no metrics."""
    return _UNSCORED.get(str(task), "it had no rows with a known answer")


def tolerated(transform: str | None) -> bool:
    """Whether parity was measured and nobody judged it: a compressed version may differ from its parent as far as its metric allows.

    `transform` is that of its lineage: a method of compression, or of a migration what it leads to, as in `opset 26, IR 13`.
    """
    return bool(transform) and not str(transform).startswith(("opset ", "IR "))


def _held(gate: Mapping[str, Any], production: Mapping[str, float] | None) -> Held:
    text = gate["gate"]
    shown = Held(gate=bounded(text, 80), value=number(gate["value"]), passed=None)
    if not relative(text):
        return replace(shown, passed=bool(gate["passed"]))
    if production is None:
        return shown
    if measured(text) not in production:
        return replace(shown, passed=False, lacking=True)
    try:
        return replace(shown, passed=Gate.parse(text).holds(gate["value"], production[measured(text)]))
    except (TypeError, ValueError):  # a newer release's gate, or what somebody else has published
        return shown


def _metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Those of all rows, and of each class as gates name them; without these where somebody has published something else there."""
    metrics = report["manifest"]["metrics"]
    try:
        return by_name(metrics, report.get("evaluation", {}).get("per_class", ()))
    except (AttributeError, LookupError, TypeError, ValueError):
        return dict(metrics)
