"""A version beside another one, as a rule the one that production names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.config import LOWER_IS_BETTER
from tools.modelctl.report.blocks import Block, Figure, Table
from tools.modelctl.report.performance import shares, shown
from tools.modelctl.report.rows import Row, whiskers
from tools.modelctl.report.text import bounded, bytes_of, counted, micros, number, signed

__all__ = ["compared", "verdict"]


def compared(report: Mapping[str, Any], other: Mapping[str, Any], called: str) -> Iterator[Block]:
    """Metrics, classes and costs side by side; `called` is what the other one is, such as `production`."""
    names = [name for name in shown(report["manifest"]) if name in other["manifest"]["metrics"]]
    together, apart = shares(names)
    for title, some, axis in (("Shares", together, "held-out rows; 1 is best"), ("Scores and errors", apart, None)):
        if some:
            rows = [_row(report, other, name) for name in some]
            says = _says(report, other, some, called)
            yield Figure(title=title, says=says, drawing=whiskers(title, says, rows, axis=axis, key=("this version", called)))
    table = [_metric(report, other, name) for name in names] + list(_classes(report, other)) + list(_costs(report, other))
    yield Table(
        title="In numbers",
        says=_rows_of(report, other),
        columns=("", ">this version", f">{called}", ">difference", "verdict"),
        rows=table,
        wide=True,
    )


def verdict(report: Mapping[str, Any], other: Mapping[str, Any], name: str) -> str:
    """Better, worse or the same; in the noise where the two intervals overlap."""
    difference = report["manifest"]["metrics"][name] - other["manifest"]["metrics"][name]
    if not difference:
        return "the same"
    word = "better" if (difference < 0) == (name in LOWER_IS_BETTER) else "worse"
    mine, theirs = _interval(report, name), _interval(other, name)
    if mine is None or theirs is None:
        return word
    return f"{word}, intervals overlap" if mine[0] <= theirs[1] and theirs[0] <= mine[1] else f"{word}, intervals apart"


def _interval(report: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    found = report["evaluation"].get("metrics", {}).get(name, {})
    return (found["low"], found["high"]) if "low" in found and "high" in found else None


def _row(report: Mapping[str, Any], other: Mapping[str, Any], name: str) -> Row:
    value, before = (each["manifest"]["metrics"][name] for each in (report, other))
    (low, high), (other_low, other_high) = (_interval(each, name) or (None, None) for each in (report, other))
    return Row(name=name, value=value, low=low, high=high, beside=signed(value - before), other=(before, other_low, other_high))


def _says(report: Mapping[str, Any], other: Mapping[str, Any], names: list[str], called: str) -> str:
    verdicts = [verdict(report, other, name) for name in names]
    apart = [f"{name} {word.partition(',')[0]}" for name, word in zip(names, verdicts, strict=True) if word.endswith("apart")]
    if apart:
        return f"Beyond what chance explains, against {called}: {', '.join(apart)}."
    if all(word == "the same" for word in verdicts):
        return f"All as in {called}."
    if not any("overlap" in word for word in verdicts):
        return "How much of the difference is chance is not known: no intervals were measured."
    return f"No difference from {called} is larger than another draw of held-out rows could make it."


def _metric(report: Mapping[str, Any], other: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value, before = (each["manifest"]["metrics"][name] for each in (report, other))
    return name, number(value), number(before), signed(value - before), verdict(report, other, name)


def _classes(report: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Recall of each class that both know, those that changed most first."""
    mine, theirs = (
        {each["name"]: each["recall"] for each in found["evaluation"].get("per_class", []) if "recall" in each} for found in (report, other)
    )
    changed = sorted(((mine[name] - theirs[name], name) for name in mine if name in theirs), key=lambda each: -abs(each[0]))
    for difference, name in changed[:10]:
        word = "the same" if not difference else "better" if difference > 0 else "worse"
        yield f"recall of {bounded(name, 40)}", number(mine[name]), number(theirs[name]), signed(difference), word


def _costs(report: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Times were measured in other runs, maybe on other machines, so nothing is said of which is better."""
    mine, theirs = report["evaluation"], other["evaluation"]
    if "size" in mine and theirs.get("size"):
        change = f"{signed(100 * (mine['size'] / theirs['size'] - 1))}%"
        yield "size of model.onnx", bytes_of(mine["size"]), bytes_of(theirs["size"]), change, ""
    before = {each["rows"]: each["p50_us"] for each in theirs.get("latency", [])}
    for each in mine.get("latency", [])[:10]:
        if other_us := before.get(each["rows"]):
            yield f"{counted(each['rows'], 'row')}, median", micros(each["p50_us"]), micros(other_us), "", "measured in other runs"


def _rows_of(report: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    mine, theirs = (each["evaluation"].get("data", {}).get("held_out_sha256") for each in (report, other))
    if mine is None or theirs is None:
        return "Whether both were scored on the same rows is not known."
    return (
        "Both were scored on the same held-out rows."
        if mine == theirs
        else "They were scored on other held-out rows: differences may come from these."
    )
