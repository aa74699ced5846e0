"""What a version answers wrong, and how far its probabilities can be believed: its part of the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.modelctl.report import figures
from tools.modelctl.report.blocks import Block, Figure, Table
from tools.modelctl.report.rows import Row, bars
from tools.modelctl.report.text import DASH, MINUS, bounded, counted, number, number_or_dash, percent

__all__ = ["answers"]

_CLASSES, _CURVES, _CLUSTERS, _POINTS = 20, 12, 30, 200
"""The most that is drawn of each: a page is to be looked at, and a label may come from anybody."""
_RESIDUAL = f"true {MINUS} predicted"


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
    some = sorted(found, key=lambda each: each.get("recall", math.inf))[:_CLASSES] if len(found) > _CLASSES else found
    rows = [
        (bounded(each["name"], 40), f"{each['support']:,}", *(number_or_dash(each.get(name)) for name in ("precision", "recall", "f1")))
        for each in some
    ]
    says = "Recall is the share of a class that was found; precision the share of right ones among those that were given its name."
    if any(DASH in row for row in rows):
        says += f" {DASH}: there is nothing to divide by, no row of the class or none that was given its name."
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
    yield Figure(title="Residuals", says=says, drawing=figures.histogram("Residuals", says, edges, counts, axis=f"{_RESIDUAL}{unit}"))
    if points := found.get("by_prediction", [])[:_POINTS]:
        widest = max(points, key=lambda each: each["high"] - each["low"])
        says = (
            f"Around predictions of {number(widest['predicted'])} errors spread the most: "
            f"80 of 100 residuals there lie between {number(widest['low'])} and {number(widest['high'])}."
        )
        axes = (f"predicted{unit}", f"{_RESIDUAL}{unit}; 80 of 100 rows are in the band")
        yield Figure(title="Errors by prediction", says=says, drawing=figures.fan("Errors by prediction", says, points, axes=axes))


def _clusters(found: Sequence[Mapping[str, Any]]) -> Block:
    if any("silhouette" not in each for each in found):
        sizes = [(bounded(each["name"], 40), f"{each['rows']:,}") for each in found[:_CLUSTERS]]
        says = "How far they are from each other isn't defined: that needs two clusters or more, fewer than rows, of finite numbers."
        return Table(title="Clusters", says=says, columns=("cluster", ">held-out rows"), rows=sizes)
    rows = [Row(name=str(each["name"]), value=each["silhouette"], beside=counted(each["rows"], "row")) for each in found[:_CLUSTERS]]
    least = min(rows, key=lambda row: row.value)
    says = f"Cluster {least.name} stands out the least: silhouette {number(least.value)}, where 1 is far from all others and 0 between two."
    return Figure(title="Clusters", says=says, drawing=bars("Clusters", says, rows, axis="mean silhouette of its rows"))


def _called(name: object, otherwise: str = "") -> str:
    """In a sentence, which a label of any length must not fill, nor one of digits make a riddle."""
    shown = bounded(name, 40)
    return f"{otherwise}{shown}" if any(character.isalpha() for character in shown) else f"of class {shown}"
