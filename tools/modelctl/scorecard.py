"""Shows what was measured of a build, from its report: metrics with their intervals and gates, classes, groups of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from modelserve.manifest import GateResult, Manifest
from tools.modelctl import tables
from tools.modelctl.console import BETWEEN, out, table
from tools.modelctl.gates import measured, telling
from tools.modelctl.report.standing import unscored

__all__ = ["scorecard"]

Evaluation = Mapping[str, Any]
_MATRIX = 12
"""Classes of a matrix at most, where the terminal is wide enough for them."""
_NAME, _LEAST = 10, 3
"""Characters of a class's name in the matrix, at most and at least."""
_CLASSES = 20
_SLICES = 24


def scorecard(manifest: Manifest, evaluation: Evaluation) -> Iterator[Table | Text]:
    """One table after the other, those of what was measured. 95% intervals are of a bootstrap over held-out rows."""
    yield _metrics(manifest, evaluation)
    if parity := _parity(manifest):
        yield parity
    for part, show in (
        ("per_class", _classes),
        ("confusion", _confusion),
        ("residuals", _residuals),
        ("clusters", _clusters),
        ("slices", _slices),
        ("cross_validation", _folds),
    ):
        if part in evaluation and (shown := show(evaluation[part])):
            yield shown


def _rows(manifest: Manifest, evaluation: Evaluation) -> str:
    data = evaluation.get("data", {})
    scored = "" if manifest.metrics else f"; it was not scored: {unscored(manifest.task)}"
    rows = f"{data.get('held_out', 0):,} of {data.get('rows', 0):,} rows"
    if data.get("elsewhere"):
        return f"trained elsewhere; {f'scored on {rows}, which it may know' if manifest.metrics else f'compared on {rows}{scored}'}"
    return f"{rows} held out{scored}"


def _metrics(manifest: Manifest, evaluation: Evaluation) -> Table | Text:
    if not manifest.metrics:
        return Text(_rows(manifest, evaluation))
    found = table("=metric", ">value", ">95% interval", "gate", "=", title=_rows(manifest, evaluation))
    gates: dict[str, list[GateResult]] = {}
    for gate in manifest.gates:
        gates.setdefault(measured(gate.gate), []).append(gate)
    shown = telling(evaluation.get("metrics", {}), gates)
    of_classes = {name: {"value": results[0].value} for name, results in gates.items() if name not in shown}
    for name, item in (shown | of_classes).items():
        interval = f"{_rough(item['low'])} to {_rough(item['high'])}" if "low" in item else ""
        held = [(gate.gate.removeprefix(f"{name} "), tables.verdict(gate)) for gate in gates.get(name, [])] or [("", Text())]
        found.add_row(name, _told(item["value"]), interval, *held[0])
        for each in held[1:]:
            found.add_row("", "", "", *each)
    return found


def _parity(manifest: Manifest) -> Text | None:
    row = tables.parity(manifest)
    return row and Text.assemble("parity: ", row[0], "  ", row[1])


def _classes(classes: list[dict[str, Any]]) -> Table | None:
    found = table("class", ">precision", ">recall", ">f1", ">held-out rows", title=_first("Classes", len(classes), _CLASSES))
    for item in classes[:_CLASSES]:
        found.add_row(item["name"], *(_number(item, key) for key in ("precision", "recall", "f1")), f"{item['support']:,}")
    return found


def _confusion(confusion: dict[str, Any]) -> Table | None:
    """None of more classes than fit."""
    names, counts = confusion["names"], confusion["counts"]
    first = max(len("answered →"), min(_NAME, max(map(len, names))))
    room = (out.width - first - BETWEEN) // len(names) - BETWEEN
    if len(names) > _MATRIX or room < max(_LEAST, *(len(f"{count:,}") for row in counts for count in row)):
        return None
    found = table("true ↓\nanswered →", *(f">{_short(name, min(room, _NAME))}" for name in names), title="Confusion")
    for place, (name, row) in enumerate(zip(names, counts, strict=True)):
        cells = [Text(f"{count:,}", "green" if i == place else "bold red") if count else Text("·", "dim") for i, count in enumerate(row)]
        found.add_row(name, *cells)
    return found


def _residuals(residuals: dict[str, Any]) -> Table:
    found = table("quantile", *(f">{share}" for share in residuals["quantiles"]), title="y less its prediction")
    found.add_row("", *(_told(value) for value in residuals["quantiles"].values()))
    return found


def _clusters(clusters: list[dict[str, Any]]) -> Table:
    found = table("cluster", ">held-out rows", ">silhouette", title=_first("Clusters", len(clusters), _CLASSES))
    for item in clusters[:_CLASSES]:
        found.add_row(item["name"], f"{item['rows']:,}", _number(item, "silhouette"))
    return found


def _slices(slices: list[dict[str, Any]]) -> Table:
    metrics = list(dict.fromkeys(name for item in slices for name in item["metrics"]))
    found = table("column", "value", ">held-out rows", *(f">{name}" for name in metrics), title=_first("Slices", len(slices), _SLICES))
    before = None
    for item in slices[:_SLICES]:
        column = "" if item["column"] == before else item["column"]
        before = item["column"]
        found.add_row(column, item["value"], f"{item['rows']:,}", *(_number(item["metrics"], name) for name in metrics))
    return found


def _folds(validated: dict[str, Any]) -> Table:
    folds = validated["folds"]
    found = table("metric", f">mean of {folds} folds", ">deviation", title="Cross-validation of the original")
    for name, item in validated["metrics"].items():
        found.add_row(name, _told(item["mean"]), _rough(item["deviation"]))
    return found


def _first(title: str, count: int, most: int) -> str:
    return title if count <= most else f"{title}, the first {most} of {count}"


def _number(item: Mapping[str, Any], key: str) -> str:
    return _told(item[key]) if key in item else "-"


def _told(value: float) -> str:
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1_000_000 else f"{value:.4g}"


def _rough(value: float) -> str:
    return f"{value:,.0f}" if 1_000 <= abs(value) < 1_000_000 else f"{value:.3g}"


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
