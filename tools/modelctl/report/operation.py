"""What a version costs to run, and what became of what it was made from: its part of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from models.config import LOWER_IS_BETTER
from tools.modelctl.report import figures
from tools.modelctl.report.blocks import Block, Facts, Figure, Table
from tools.modelctl.report.origin import told
from tools.modelctl.report.rows import Row, bars
from tools.modelctl.report.standing import tolerated
from tools.modelctl.report.text import TIMES, bounded, bytes_of, counted, micros, number, percent

__all__ = ["compression", "migration", "parity", "speed"]

_LESS_IS_BETTER = LOWER_IS_BETTER | {"disagreement", "difference"}
"""With what compares a result with its parent where nothing is scored."""
_MOST = 30
"""Batches, methods and targets that are shown."""


def parity(report: Mapping[str, Any]) -> Iterator[Block]:
    """Whether the graph answers as what it was made from."""
    found, lineage = report["manifest"].get("parity"), report["manifest"].get("lineage") or {}
    if not found:
        return
    labels = any(each["name"] == "label" for each in report["manifest"]["outputs"])
    measured = [
        ("rows compared", f"{found['rows']:,}"),
        *([("labels that differ", percent(found["disagreement"]))] if labels else []),
        ("largest difference of a number", f"{number(found['largest_difference'])}, relative to the larger of 1 and its magnitude"),
    ]
    if found["passed"] and tolerated(lineage.get("transform")):
        share = f"{percent(found['disagreement'])} of labels, and " if labels else ""
        by = f"{share}numbers by up to {number(found['largest_difference'])}"
        yield Facts(items=[("differs from its parent by", f"{by}: a compressed version may, as far as its metric allows"), measured[0]])
        return
    unlike = ", to rows that are made up or have no known answer" if told(report, "without_target") else ""
    answers = f"✓ answers as its original{unlike}"
    said = answers if found["passed"] else "✗ differs from its original by more than [parity] allows"
    yield Facts(items=[("verdict", said), *measured])


def speed(report: Mapping[str, Any]) -> Iterator[Block]:
    """Latency, and what the trial took."""
    found, trial = report["evaluation"], report["trial"]
    if latency := found.get("latency", [])[:_MOST]:
        rows = [
            Row(
                name=counted(each["rows"], "row"),
                value=each["p50_us"] / 1000,
                low=each["p50_us"] / 1000,
                high=each["p90_us"] / 1000,
                shown=micros(each["p50_us"]),
                beside=f"{micros(each['p50_us'] / each['rows'])} a row" if each["rows"] > 1 else f"90%: {micros(each['p90_us'])}",
            )
            for each in latency
        ]
        says = (
            f"A request of {rows[0].name} takes {micros(latency[0]['p50_us'])} in the median. The line ends where nine of ten requests do. "
            "One thread on the machine that built it, without network."
        )
        yield Figure(title="Latency", says=says, drawing=bars("Latency", says, rows, axis="milliseconds, median"))
    items = [("size of model.onnx", bytes_of(found["size"]))] if "size" in found else []
    if "load_ms" in found:
        items.append(("loading it", micros(found["load_ms"] * 1000)))
    items += [
        ("trial: loading, in a process of its own", micros(trial["load_seconds"] * 1e6)),
        ("trial: its first answer", micros(trial["run_seconds"] * 1e6)),
        ("trial: most memory, with Python and ONNX Runtime", f"{trial['peak_megabytes']:,} MB"),
        ("takes zeros and empty strings", "yes" if trial["answers_zeros"] else "no"),
    ]
    yield Facts(items=items)


def compression(report: Mapping[str, Any]) -> Iterator[Block]:
    """What a method gained and lost against the parent, and what others would have."""
    found = report["evaluation"].get("compression")
    if not found:
        return
    ratios = dict(list(found.get("latency", {}).items())[:_MOST])
    yield Facts(
        items=[
            ("method", bounded(found["method"], 60)),
            ("made from", bounded(found.get("parent", "a build that is not published"), 60)),
            *([("held against", f"{bounded(found['origin'], 60)}, which no compression made")] if "origin" in found else []),
            *([("note", bounded(found["note"], 600))] if "note" in found else []),
            (
                "size",
                f"{number(1 / found['size_ratio'])}{TIMES} smaller"
                if found["size_ratio"] < 1
                else f"{number(found['size_ratio'])}{TIMES} as large",
            ),
            (f"lost {found['metric']}", f"{number(found['drop'])}, at most {number(found['limit'])} allowed"),
            *((f"time of {counted(int(rows), 'row')}", f"{number(ratio)}{TIMES} the parent's") for rows, ratio in ratios.items()),
            ("loading", f"{number(found['load_ratio'])}{TIMES} the parent's"),
            ("measured on", bounded(found.get("cpu", "this machine"), 80)),
            ("verdict", "✗ slower than its parent on this CPU" if found["slower"] else "✓ not slower than its parent on this CPU"),
        ]
    )
    if front := found.get("front", [])[:_MOST]:
        yield from _front(front, str(found["metric"]))


def migration(report: Mapping[str, Any]) -> Iterator[Block]:
    """From which operator set to which, and what runs it."""
    found = report["evaluation"].get("migration")
    if not found:
        return
    steps = [
        (name, f"{found[key][0]} → {found[key][1]}") for name, key in (("operator set", "opset"), ("IR version", "ir")) if key in found
    ]
    yield Facts(items=[("made from", bounded(found.get("parent", "a build that is not published"), 60)), *steps])
    rows = [
        (bounded(each["name"], 60), {True: "✓ runs it", None: "not run"}.get(each["ok"], "✗ does not"), bounded(each["found"]))
        for each in found.get("targets", [])[:_MOST]
    ]
    if rows:
        says = f"{sum(row[1].startswith('✓') for row in rows)} of {counted(len(rows), 'target')} run it."
        yield Table(title="Targets", says=says, columns=("target", "verdict", "found"), rows=rows)


def _front(found: list[Mapping[str, Any]], metric: str) -> Iterator[Block]:
    ranked = sorted(found, key=lambda each: each["size"])
    best = [each for each in ranked if each["on_front"]]
    says = (
        f"{counted(len(best), 'model')} of {len(found)} are on the front (filled, joined): "
        f"no other is smaller, faster and better in {metric} at once. The larger a dot, the slower it answers."
    )
    axis = f"{metric}, less is better" if metric in _LESS_IS_BETTER else metric
    drawn = [{**each, "method": bounded(each["method"], 24)} for each in ranked]
    yield Figure(title="Size against quality", says=says, drawing=figures.front("Compression front", says, drawn, metric=axis))
    rows = [
        (
            bounded(each["method"], 40),
            "yes" if each["on_front"] else "",
            bytes_of(each["size"]),
            number(each["metric"]),
            micros(each["latency_us"]) if "latency_us" in each else "",
            micros(each["load_ms"] * 1000) if "load_ms" in each else "",
            bounded(each.get("note", "")),
        )
        for each in ranked
    ]
    columns = ("method", "on the front", ">size", f">{metric}", ">1 row", ">loading", "note")
    yield Table(title="What was tried", says="Measured in one run, in turns.", columns=columns, rows=rows, wide=True)
