"""What a version is, where it comes from and what it was made with: its part of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.modelctl.report.blocks import Block, Facts, Table
from tools.modelctl.report.text import bounded, counted, listed

__all__ = ["data", "lineage", "signature", "told"]

_MOST = 20
"""Classes and tensors that are shown."""


def lineage(report: Mapping[str, Any]) -> Iterator[Block]:
    """What made it, and of what."""
    manifest = report["manifest"]
    found = manifest.get("lineage") or {}
    opsets = listed(f"{domain or 'ai.onnx'} {number}" for domain, number in manifest["opset"].items())
    items = [
        ("made by", found.get("framework")),
        ("train.py, SHA-256", found.get("source")),
        ("made from version", found.get("parent")),
        ("by", found.get("transform")),
        ("published although it failed, because", found.get("forced")),
        ("model.onnx, SHA-256", report.get("files", {}).get("model.onnx")),
        ("ONNX", f"IR {manifest['ir']}, {opsets}"),
    ]
    yield Facts(items=[(name, bounded(value, 300)) for name, value in items if value])


def data(report: Mapping[str, Any]) -> Iterator[Block]:
    """Counts of rows, features and classes; never a row."""
    found = report["evaluation"].get("data")
    if not found:
        return
    kinds = [each["kind"] for each in found.get("features", [])]
    counts = [counted(kinds.count(kind), bounded(kind, 20)) for kind in dict.fromkeys(kinds)]
    items = [
        ("rows", _rows(found)),
        ("held-out rows, SHA-256", str(found.get("held_out_sha256", ""))),
        ("features", listed(counts) if kinds else ""),
        ("their names", bounded(", ".join(bounded(each["name"], 40) for each in found.get("features", [])[:_MOST]), 300)),
    ]
    yield Facts(items=[(name, value) for name, value in items if value])
    if classes := found.get("classes"):
        rows = [(bounded(each["name"], 60), f"{each['trained']:,}", f"{each['held_out']:,}") for each in classes[:_MOST]]
        trained = ">other rows" if found.get("elsewhere") else ">trained on"
        says = _balance(classes) + (f" The first {_MOST} of {len(classes)}." if len(classes) > _MOST else "")
        yield Table(title="Classes", says=says, columns=("class", trained, ">held out"), rows=rows)


def signature(report: Mapping[str, Any]) -> Iterator[Block]:
    """Its tensors as a client sees them."""
    manifest = report["manifest"]
    rows = [
        (kind, bounded(each["name"], 60), bounded(each["datatype"], 16), bounded(each["shape"], 60))
        for kind, specs in (("input", manifest["inputs"]), ("output", manifest["outputs"]))
        for each in specs[:_MOST]
    ]
    yield Table(title="Tensors", says="-1 is any number of rows.", columns=("", "tensor", "datatype", "shape"), rows=rows)


def _rows(found: Mapping[str, Any]) -> str:
    if not found.get("elsewhere"):
        return f"{found['rows']:,}: {found['trained']:,} trained on, {found['held_out']:,} held out"
    held_out = f"{found['rows']:,}, {found['held_out']:,} of them held out"
    if found.get("without_target"):
        return f"{held_out}; made up, or without a known answer: the model was trained elsewhere"
    return f"{held_out}; the model was trained elsewhere, and may know them"


def told(report: Mapping[str, Any], fact: str) -> bool:
    """Whether a report says so of its rows: `elsewhere`, that the model was trained on others; `without_target`, maybe made up."""
    found = report["evaluation"].get("data")
    return isinstance(found, Mapping) and found.get(fact) is True


def _balance(classes: Sequence[Mapping[str, Any]]) -> str:
    most, least = (pick(classes, key=lambda each: each["trained"]) for pick in (max, min))
    if most["trained"] == least["trained"]:
        return f"{counted(len(classes), 'class', 'classes')} of as many rows each."
    times = f"{most['trained'] / least['trained']:.1f} times as many rows as" if least["trained"] else "rows, and none were of"
    return f"{bounded(most['name'], 40)} has {times} {bounded(least['name'], 40)}."
