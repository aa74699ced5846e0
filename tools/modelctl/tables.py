"""Shows what is known of a version."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from models.config import METRICS
from modelserve.manifest import Alias, GateResult, Lineage, Manifest, TensorSpec
from modelserve.registry import Event
from tools.modelctl import gates
from tools.modelctl.console import table
from tools.modelctl.loading.shown import sentence
from tools.modelctl.report.standing import tolerated

__all__ = ["events", "metrics", "parity", "signature", "summary", "verdict", "versions"]

_USUAL = 4  # metrics of a task that are shown without a gate


def metrics(manifest: Manifest) -> Table:
    """The usual held-out metrics and all that have gates, beside the gates that they must pass; parity is the last row."""
    found = table("metric", ">held-out rows", "gate", "")
    gated = [(gates.measured(gate.gate), gate) for gate in manifest.gates]
    usual = [name for name in METRICS.get(manifest.task, ())[:_USUAL] if name in manifest.metrics]
    for name in usual:
        if name not in dict(gated):
            found.add_row(name, f"{manifest.metrics[name]:.4g}", "", "")
        for gate in (gate for measured, gate in gated if measured == name):
            found.add_row(name, f"{gate.value:.4g}", gate.gate, verdict(gate))
    for name, gate in gated:
        if name not in usual:
            found.add_row(name, f"{gate.value:.4g}", gate.gate, verdict(gate))
    if row := parity(manifest):
        found.add_row("parity", "", *row)
    return found


def parity(manifest: Manifest) -> tuple[str, Text] | None:
    """How far it is from what it was made from, and whether that is near enough, unless it is compressed; None where nobody compared."""
    found = manifest.parity
    if found is None:
        return None
    largest = f"up to {found.largest_difference:.1g}"
    labels = any(spec.name == "label" for spec in manifest.outputs)
    by = (
        f"{found.disagreement:.2%} of {found.rows} labels, numbers by {largest}" if labels else f"{largest} in numbers of {found.rows} rows"
    )
    if found.passed and manifest.lineage and tolerated(manifest.lineage.transform):
        return f"differs from its parent by {by}", Text()
    return f"differs by {by}", _verdict(found.passed)


def verdict(gate: GateResult) -> Text:
    """A gate against production is looked at when a version is promoted."""
    return Text("at promote", "dim") if gates.relative(gate.gate) else _verdict(gate.passed)


def signature(manifest: Manifest) -> Table:
    """Inputs and outputs; -1 is any number of rows."""
    found = table("", "tensor", "datatype", "shape")
    for kind, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        for spec in specs:
            found.add_row(kind, spec.name, spec.datatype, _shape(spec))
    return found


def summary(manifest: Manifest) -> Table:
    """What it is, where it comes from, what it is made of."""
    found = table("", "")
    found.show_header = False
    lineage = manifest.lineage or Lineage(framework="")
    rows = {
        "version": manifest.version,
        "created": manifest.created,
        "task": manifest.task,
        "description": manifest.description,
        "labels": ", ".join(manifest.labels),
        "ONNX": f"IR {manifest.ir}, " + ", ".join(f"{domain or 'ai.onnx'} {number}" for domain, number in manifest.opset.items()),
        "made by": lineage.framework,
        "made from": lineage.parent or "",
        "by": lineage.transform or "",
        "Triton": {None: "", 0: "each request by itself"}.get(manifest.max_batch, f"up to {manifest.max_batch} rows at once"),
        "rows": {None: "", True: "each by itself", False: "answered by each other"}[manifest.row_wise],
        "loading": sentence(manifest),
        "forced": lineage.forced or "",
        "files": "\n".join(f"{file.path}  {file.size:,} bytes  sha256 {file.sha256[:12]}" for file in manifest.files),
    }
    for name, text in rows.items():
        if text:
            found.add_row(name, text)
    return found


def versions(manifests: list[Manifest], aliases: Mapping[str, Alias]) -> Table:
    """A row a version, oldest first, with the metrics that have gates."""
    shown = table("=version", "gated metrics", "passed", "aliases")
    for manifest in manifests:
        values = {gates.measured(gate.gate): gate.value for gate in manifest.gates}
        gated = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        passed = all(gate.passed for gate in manifest.gates) and (manifest.parity is None or manifest.parity.passed)
        names = ", ".join(alias for alias, found in aliases.items() if found.version == manifest.version)
        shown.add_row(manifest.version, gated, _verdict(passed), names)
    return shown


def events(found: list[Event]) -> Table:
    """Moves of aliases, oldest first; of a version its hash, by which every command knows it."""
    shown = table("=time", "=event", "=alias", "=from", "=to", "by", "reason")
    for event in found:
        before, after = (version[-8:] if version else "" for version in (event.from_version, event.to_version))
        shown.add_row(event.time[:19] + "Z", event.event, event.alias or "", before, after, event.by, event.reason)
    return shown


def _verdict(passed: bool) -> Text:
    return Text("passed", "green") if passed else Text("failed", "bold red")


def _shape(spec: TensorSpec) -> str:
    return "[" + ", ".join(map(str, spec.shape)) + "]"
