"""How well a version answers held-out rows: its part of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.config import LOWER_IS_BETTER, Gate
from tools.modelctl.gates import measured, telling
from tools.modelctl.report.blocks import Block, Figure
from tools.modelctl.report.origin import told
from tools.modelctl.report.rows import Limit, Row, bars, whiskers
from tools.modelctl.report.text import bounded, counted, number, signed, tick

__all__ = ["features", "metrics", "shares", "shown"]

_SHARES = frozenset({"accuracy", "precision", "recall", "f1", "precision_micro", "recall_micro", "f1_micro", "roc_auc"})
"""Metrics from 0 to 1 that one axis can show together."""
_NAMES = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "r2": "R², share of variance explained",
    "error_p50": "half of the errors are within",
    "error_p90": "nine of ten errors are within",
}
_SLICES, _FEATURES = 40, 15
"""The most that is drawn of each: a page is to be looked at, and a label may come from anybody."""


def _gates_of(manifest: Mapping[str, Any], production: Mapping[str, float] | None = None) -> dict[str, list[Limit]]:
    """Limits by metric; those relative to production only where its metrics are known."""
    found: dict[str, list[Limit]] = {}
    for each in manifest["gates"][:_SLICES]:
        gate = Gate.parse(each["gate"])
        other = (production or {}).get(gate.measured)
        if not gate.relative or other is not None:
            limit = Limit(limit=gate.bound(other), least=gate.operator == ">=")
            found.setdefault(gate.measured, []).append(limit)
    return found


def shares(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that share an axis, and the others."""
    return [name for name in names if name in _SHARES], [name for name in names if name not in _SHARES]


def shown(manifest: Mapping[str, Any]) -> dict[str, float]:
    """The metrics that the page has; all of them are in report.json."""
    return dict(list(telling(manifest["metrics"], {measured(each["gate"]) for each in manifest["gates"]}).items())[:_SLICES])


def metrics(report: Mapping[str, Any], production: Mapping[str, float] | None) -> Iterator[Block]:
    """Each metric with its interval and gates."""
    manifest, intervals = report["manifest"], report["evaluation"].get("metrics", {})
    limits = _gates_of(manifest, production)
    rows = [_row(name, value, intervals.get(name, {}), limits.get(name, [])) for name, value in shown(manifest).items()]
    together, apart = shares([row.name for row in rows])
    note = "The bar around a dot is where 95 of 100 sets of as many held-out rows would put it (bootstrap)."
    note = note if any(row.low is not None for row in rows) else "No intervals were measured."
    if told(report, "elsewhere"):
        note += " It was trained elsewhere: rows that it has seen there flatter it."
    if together:
        says = f"{_headline(rows)} {note}" + _flags(limits)
        drawn = [row for row in rows if row.name in together]
        yield Figure(title="Shares", says=says, drawing=whiskers("Metrics", says, drawn, axis="held-out rows; 1 is best"))
    if apart:
        says = "Each on a scale of its own." + ("" if together else f" {note}{_flags(limits)}") + _glossary(apart)
        drawn = [row for row in rows if row.name in apart]
        yield Figure(
            title="Errors" if not set(apart) - LOWER_IS_BETTER else "Scores and errors",
            says=says,
            drawing=whiskers("Errors", says, drawn, axis=None),
        )
    if folds := report["evaluation"].get("cross_validation"):
        yield _folds(folds)


def features(report: Mapping[str, Any]) -> Iterator[Block]:
    """For whom it is worse than for all, and what it looks at."""
    found = report["evaluation"]
    if found.get("slices"):
        yield _slices(found["slices"], report["manifest"])
    if found.get("importance", {}).get("features"):
        yield _importance(found["importance"])


def _row(name: str, value: float, interval: Mapping[str, float], limits: Sequence[Limit]) -> Row:
    note = ", ".join(f"{'≥' if gate.least else '≤'} {tick(gate.limit)}" for gate in limits)
    return Row(name=name, value=value, low=interval.get("low"), high=interval.get("high"), note=note and f"gate {note}", gates=limits)


def _headline(rows: Sequence[Row]) -> str:
    first = rows[0]
    says = f"On held-out rows {first.name} is {number(first.value)}"
    return (
        f"{says}, between {number(first.low)} and {number(first.high)}." if first.low is not None and first.high is not None else f"{says}."
    )


def _flags(limits: Mapping[str, object]) -> str:
    return " A flag is a gate, and points to where the metric has to be." if limits else ""


def _glossary(names: Sequence[str]) -> str:
    known = [f"{name}: {_NAMES[name]}" for name in names if name in _NAMES]
    return f" {'; '.join(known)}." if known else ""


def _folds(found: Mapping[str, Any]) -> Figure:
    rows = [
        Row(
            name=name,
            value=each["mean"],
            low=each["mean"] - each["deviation"],
            high=each["mean"] + each["deviation"],
            beside=f"± {number(each['deviation'])}",
        )
        for name, each in list(found["metrics"].items())[:_SLICES]
    ]
    says = f"Trained {found['folds']} times, each time without another part of the rows, and scored on it: mean ± standard deviation."
    return Figure(title="Cross-validation", says=says, drawing=whiskers("Cross-validation", says, rows, axis=None))


def _slices(found: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> Figure:
    metric = _metric_of(found, manifest)
    overall, worse = manifest["metrics"][metric], -1 if metric in LOWER_IS_BETTER else 1
    some = sorted((each for each in found if metric in each["metrics"]), key=lambda each: worse * each["metrics"][metric])[:_SLICES]
    rows = [
        Row(
            name=f"{each['column']} = {each['value']}",
            value=each["metrics"][metric],
            beside=signed(each["metrics"][metric] - overall),
            note=counted(each["rows"], "row"),
        )
        for each in some
    ]
    says = f"{metric} is {number(overall)} over all rows (the line), and at its worst {number(rows[0].value)}: {bounded(rows[0].name, 60)}."
    return Figure(title="Parts of the data", says=says, drawing=whiskers("Slices", says, rows, axis=metric, at=overall))


def _metric_of(found: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str:
    """What a gate is about goes first."""
    gated = [Gate.parse(each["gate"]).measured for each in manifest["gates"][:_SLICES]]
    for name in (*gated, *manifest["metrics"]):
        if any(name in each["metrics"] for each in found):
            return str(name)
    raise LookupError("the parts of the data have other metrics than all of it")


def _importance(found: Mapping[str, Any]) -> Figure:
    ranked = sorted(found["features"], key=lambda each: -each["mean"])[:_FEATURES]
    rows = [
        Row(
            name=each["name"],
            value=each["mean"],
            low=each["mean"] - each["deviation"],
            high=each["mean"] + each["deviation"],
            beside=f"± {number(each['deviation'])}",
        )
        for each in ranked
    ]
    most = f"{bounded(rows[0].name, 40)} shuffled, {found['metric']} loses {number(rows[0].value)}"
    shown = f" The first {_FEATURES} of {len(found['features'])} that were tried." if len(found["features"]) > _FEATURES else ""
    says = f"With the values of {most}, more than with any other.{shown}"
    axis = f"{found['metric']} lost when shuffled"
    return Figure(title="What it looks at", says=says, drawing=bars("Feature importance", says, rows, axis=axis))
