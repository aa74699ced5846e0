"""How well a version answers held-out rows: its part of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from models.config import LOWER_IS_BETTER, Gate
from tools.modelctl.report import figures
from tools.modelctl.report.blocks import Block, Figure, Table
from tools.modelctl.report.figures import Row
from tools.modelctl.report.text import MINUS, bounded, counted, number, percent, signed, tick

__all__ = ["answers", "features", "gates_of", "metrics", "shares"]

SHARES = frozenset({"accuracy", "precision", "recall", "f1", "precision_micro", "recall_micro", "f1_micro", "roc_auc"})
"""Metrics from 0 to 1 that one axis can show together."""
RESIDUAL = f"true {MINUS} predicted"
_NAMES = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "rmse": "root mean squared error",
    "r2": "R², share of variance explained",
    "error_p50": "half of the errors are within",
    "error_p90": "nine of ten errors are within",
}
_CLASSES, _CURVES, _SLICES, _FEATURES, _CLUSTERS, _POINTS = 20, 12, 40, 30, 30, 200
"""The most that is drawn of each: a page is to be looked at, and a label may come from anybody."""


def gates_of(manifest: Mapping[str, Any], production: Mapping[str, float] | None = None) -> dict[str, list[figures.Gate]]:
    """Limits by metric; those relative to production only where its metrics are known."""
    found: dict[str, list[figures.Gate]] = {}
    for each in manifest["gates"][:_SLICES]:
        gate = Gate.parse(each["gate"])
        other = (production or {}).get(gate.measured)
        if not gate.relative or other is not None:
            limit = figures.Gate(limit=gate.bound(other), least=gate.operator == ">=")
            found.setdefault(gate.measured, []).append(limit)
    return found


def shares(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those that share an axis, and the others."""
    return [name for name in names if name in SHARES], [name for name in names if name not in SHARES]


def metrics(report: Mapping[str, Any], production: Mapping[str, float] | None) -> Iterator[Block]:
    """Each metric with its interval and gates."""
    manifest, intervals = report["manifest"], report["evaluation"].get("metrics", {})
    limits = gates_of(manifest, production)
    rows = [_row(name, value, intervals.get(name, {}), limits.get(name, [])) for name, value in list(manifest["metrics"].items())[:_SLICES]]
    together, apart = shares([row.name for row in rows])
    note = "The bar around a dot is where 95 of 100 sets of as many held-out rows would put it (bootstrap)."
    note = note if any(row.low is not None for row in rows) else "No intervals were measured."
    if together:
        says = f"{_headline(rows)} {note}" + _flags(limits)
        drawn = [row for row in rows if row.name in together]
        yield Figure(title="Shares", says=says, drawing=figures.whiskers("Metrics", says, drawn, axis="held-out rows; 1 is best"))
    if apart:
        says = "Each on a scale of its own." + ("" if together else f" {note}{_flags(limits)}") + _glossary(apart)
        drawn = [row for row in rows if row.name in apart]
        yield Figure(
            title="Errors" if not set(apart) - LOWER_IS_BETTER else "Scores and errors",
            says=says,
            drawing=figures.whiskers("Errors", says, drawn, axis=None),
        )
    if folds := report["evaluation"].get("cross_validation"):
        yield _folds(folds)


def answers(report: Mapping[str, Any]) -> Iterator[Block]:
    """What is confused with what, how probabilities are to be taken, and where a regression errs."""
    found = report["evaluation"]
    if "confusion" in found:
        yield _confusion(found["confusion"])
    if "per_class" in found:
        yield _per_class(found["per_class"])
    if "roc" in found:
        yield _roc(found["roc"])
    if "calibration" in found:
        yield _calibration(found["calibration"])
    if "residuals" in found:
        yield from _residuals(found["residuals"])
    if "clusters" in found:
        yield _clusters(found["clusters"])


def features(report: Mapping[str, Any]) -> Iterator[Block]:
    """For whom it is worse than for all, and what it looks at."""
    found = report["evaluation"]
    if found.get("slices"):
        yield _slices(found["slices"], report["manifest"])
    if found.get("importance", {}).get("features"):
        yield _importance(found["importance"])


def _row(name: str, value: float, interval: Mapping[str, float], limits: Sequence[figures.Gate]) -> Row:
    note = ", ".join(f"{'≥' if gate.least else '≤'} {tick(gate.limit)}" for gate in limits)
    return Row(name=name, value=value, low=interval.get("low"), high=interval.get("high"), note=note and f"gate {note}", gates=limits)


def _called(name: object, otherwise: str = "") -> str:
    """In a sentence, which a label of any length must not fill, nor one of digits make a riddle."""
    shown = bounded(name, 40)
    return f"{otherwise}{shown}" if any(character.isalpha() for character in shown) else f"of class {shown}"


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
    return Figure(title="Cross-validation", says=says, drawing=figures.whiskers("Cross-validation", says, rows, axis=None))


def _confusion(found: Mapping[str, Any]) -> Figure:
    names, counts = found["names"], found["counts"]
    says = _found_of([_called(name) for name in names], counts)
    if len(names) > _CLASSES:
        wrong = [sum(row) + sum(other[index] for other in counts) - 2 * row[index] for index, row in enumerate(counts)]
        worst = sorted(sorted(range(len(names)), key=lambda index: -wrong[index])[:_CLASSES])
        names, counts = [names[index] for index in worst], [[counts[row][column] for column in worst] for row in worst]
        says += f" Drawn are the {_CLASSES} of {len(found['names'])} classes with the most mistakes."
    return Figure(title="Confusion matrix", says=says, drawing=figures.heat("Confusion matrix", says, names, counts))


def _found_of(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Of few classes each, of many the one that is found least, and what is mistaken most often."""
    rows = [(name, row[index], sum(row)) for index, (name, row) in enumerate(zip(names, counts, strict=True)) if sum(row)]
    if len(rows) <= 3:
        (name, right, total), *others = rows
        others_found = [f"of {total:,} {name}, {right:,}" for name, right, total in others]
        return "; ".join([f"Of {total:,} {name}, {right:,} were found", *others_found]) + "."
    name, right, total = min(rows, key=lambda each: each[1] / each[2])
    mistakes = [
        (row[column], names[index], names[column]) for index, row in enumerate(counts) for column in range(len(names)) if column != index
    ]
    count, true, said = max(mistakes, key=lambda each: each[0])
    worst = f" The most frequent mistake: {true} answered as {said.removeprefix('of ')}, {counted(count, 'time')}." if count else ""
    return f"Of {total:,} {name}, {right:,} were found, the smallest share of all {len(rows)} classes.{worst}"


def _per_class(found: Sequence[Mapping[str, Any]]) -> Table:
    some = sorted(found, key=lambda each: each["recall"])[:_CLASSES] if len(found) > _CLASSES else found
    rows = [
        (bounded(each["name"], 40), f"{each['support']:,}", *(number(each[name]) for name in ("precision", "recall", "f1")))
        for each in some
    ]
    says = "Recall is the share of a class that was found; precision the share of right ones among those that were given its name."
    if len(found) > _CLASSES:
        says += f" The {_CLASSES} of {len(found)} classes with the lowest recall."
    return Table(title="Class by class", says=says, columns=("class", ">rows", ">precision", ">recall", ">f1"), rows=rows)


def _roc(found: Sequence[Mapping[str, Any]]) -> Figure:
    series = sorted(found, key=lambda each: each["auc"])[:_CURVES]
    worst = series[0]
    says = (
        f"Of a row {_called(worst['name'], 'that is ')} and one that isn't, it ranks the first higher in {percent(worst['auc'])} of pairs"
        + (", the least of the classes shown." if len(series) > 1 else ".")
    )
    lines = [(f"{bounded(each['name'], 24)}: AUC {number(each['auc'])}", [(x, y) for x, y in each["points"][:_POINTS]]) for each in series]
    axes = ("false alarms, share of other rows", "found, share of the class")
    return Figure(title="ROC", says=says, drawing=figures.curves("ROC", says, lines, axes=axes))


def _calibration(found: Mapping[str, Any]) -> Figure:
    bins = [each for each in found["bins"][:_POINTS] if each["rows"]]
    worst = max(bins, key=lambda each: abs(each["predicted"] - each["observed"]) * each["rows"])
    says = (
        f"Where it is {percent(worst['predicted'])} sure it is right in {percent(worst['observed'])} of {counted(worst['rows'], 'row')}; "
        f"over all rows the two differ by {percent(found['error'])} (expected calibration error). On the diagonal they are the same."
    )
    axes = ("probability that was stated", "share that was right")
    return Figure(title="Can its probabilities be believed?", says=says, drawing=figures.reliability("Reliability", says, bins, axes=axes))


def _residuals(found: Mapping[str, Any]) -> Iterator[Figure]:
    unit = f", {found['unit']}" if found.get("unit") else ""
    quantiles = sorted((float(share), value) for share, value in found["quantiles"].items())
    (low_share, low), (high_share, high) = quantiles[0], quantiles[-1]
    says = f"{percent(high_share - low_share)} of the residuals, true value less predicted, lie between {number(low)} and {number(high)}."
    histogram = found["histogram"]
    edges, counts = histogram["edges"][: _POINTS + 1], histogram["counts"][:_POINTS]
    yield Figure(title="Residuals", says=says, drawing=figures.histogram("Residuals", says, edges, counts, axis=f"{RESIDUAL}{unit}"))
    if points := found.get("by_prediction", [])[:_POINTS]:
        widest = max(points, key=lambda each: each["high"] - each["low"])
        says = (
            f"Around predictions of {number(widest['predicted'])} errors spread the most: "
            f"80 of 100 residuals there lie between {number(widest['low'])} and {number(widest['high'])}."
        )
        axes = (f"predicted{unit}", f"{RESIDUAL}{unit}; 80 of 100 rows are in the band")
        yield Figure(title="Errors by prediction", says=says, drawing=figures.fan("Errors by prediction", says, points, axes=axes))


def _clusters(found: Sequence[Mapping[str, Any]]) -> Figure:
    rows = [Row(name=str(each["name"]), value=each["silhouette"], beside=counted(each["rows"], "row")) for each in found[:_CLUSTERS]]
    least = min(rows, key=lambda row: row.value)
    says = f"Cluster {least.name} stands out the least: silhouette {number(least.value)}, where 1 is far from all others and 0 between two."
    return Figure(title="Clusters", says=says, drawing=figures.bars("Clusters", says, rows, axis="mean silhouette of its rows"))


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
    return Figure(title="Parts of the data", says=says, drawing=figures.whiskers("Slices", says, rows, axis=metric, at=overall))


def _metric_of(found: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any]) -> str:
    """What a gate is about goes first."""
    gated = [Gate.parse(each["gate"]).measured for each in manifest["gates"][:_SLICES]]
    return str(next(name for name in (*gated, *manifest["metrics"]) if name in found[0]["metrics"]))


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
    says = f"With the values of {most}, more than with any other."
    axis = f"{found['metric']} lost when shuffled"
    return Figure(title="What it looks at", says=says, drawing=figures.bars("Feature importance", says, rows, axis=axis))
