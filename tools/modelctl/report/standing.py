"""How a version stands against its gates, which comes first on its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.config import METRICS_OF_A_CLASS, Gate
from tools.modelctl.report.text import bounded, counted, number

__all__ = ["Held", "failures", "held", "verdict"]

_MOST = 40
_UNSCORED = {"custom": "a custom model has no metrics", "clustering": "its metrics aren't defined for the held-out rows"}


@dataclass(frozen=True, kw_only=True)
class Held:
    """A gate and what it was held against."""

    gate: str
    value: str
    passed: bool | None
    """None of one that waits for a production to be held against."""


def held(report: Mapping[str, Any], production: Mapping[str, Any] | None = None) -> list[Held]:
    """Each gate; those against production as `production` is, and not as publishing left them, which had none to look at."""
    return [
        Held(gate=bounded(each["gate"], 80), value=number(each["value"]), passed=_passed(each, production))
        for each in report["manifest"]["gates"][:_MOST]
    ]


def failures(report: Mapping[str, Any], production: Mapping[str, Any] | None = None) -> list[str]:
    """What speaks against the version, a sentence each; none where it passed."""
    gates = [f"{each.gate} doesn't hold: held-out rows gave {each.value}" for each in held(report, production) if each.passed is False]
    parity = report["manifest"].get("parity")
    differs = ["the ONNX model does not answer as the one that was trained"] if parity and not parity["passed"] else []
    return [*gates, *differs, *(bounded(finding, 400) for finding in report.get("findings", ()))][:_MOST]


def verdict(report: Mapping[str, Any], production: Mapping[str, Any] | None = None) -> str:
    """Whether it passes, in a few words: `passes its 2 gates`."""
    found, gates = failures(report, production), held(report, production)
    if found:
        return f"fails: {found[0]}" + (f", and {len(found) - 1} more" if len(found) > 1 else "")
    if not report["manifest"]["metrics"]:
        return f"was not scored: {_UNSCORED.get(report['manifest'].get('task'), 'it had no rows with a known answer')}"
    waiting = sum(each.passed is None for each in gates)
    later = f"; {waiting} more {'waits' if waiting == 1 else 'wait'} for a production to be held against" if waiting else ""
    return (f"passes its {counted(len(gates) - waiting, 'gate')}" if len(gates) > waiting else "has no gates to pass yet") + later


def _passed(gate: Mapping[str, Any], production: Mapping[str, Any] | None) -> bool | None:
    if "production" not in gate["gate"]:
        return bool(gate["passed"])
    try:
        parsed = Gate.parse(gate["gate"])
        other = _metrics(production).get(parsed.measured) if production else None
        return None if other is None else parsed.holds(gate["value"], other)
    except (AttributeError, LookupError, TypeError, ValueError):  # production is whatever somebody has published
        return None


def _metrics(report: Mapping[str, Any]) -> dict[str, float]:
    """Those of all rows, and of each class as gates name them."""
    classes = report.get("evaluation", {}).get("per_class", ())
    of_classes = {f"{name}[{each['name']}]": each[name] for each in classes for name in METRICS_OF_A_CLASS}
    return {**of_classes, **report["manifest"]["metrics"]}
