"""Sets a report in type: one file that needs nothing else, neither a network nor a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError
from markupsafe import Markup

from tools.modelctl.report import comparison, mistakes, operation, origin, performance, standing
from tools.modelctl.report.blocks import Block, Facts, Section
from tools.modelctl.report.text import bounded, bytes_of, counted, micros, number

__all__ = ["render"]

_LONGEST = 400
"""Columns of a text."""
_DEEPEST = 12
_DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a document raises that isn't what this release writes."""


def render(report: Mapping[str, Any], *, production: Mapping[str, Any] | None = None, called: str = "production") -> str:
    """The page on a report.json, beside that of `production`, or of another version that is `called` otherwise.

    A part that was not measured isn't there; one that can't be read says so. The same reports give the same bytes.
    Raises `ValueError` for a report without a manifest.
    """
    mine, other = _tidy(report), _tidy(production) if production else None
    served = other if called == "production" else None  # what gates against production mean
    try:
        return _template().render(
            manifest=mine["manifest"],
            state=_state(mine),
            failures=standing.failures(mine, served),
            verdict=standing.verdict(mine, served),
            gates=standing.held(mine, served),
            glances=_glances(mine),
            sections=list(_sections(mine, other, bounded(called, 60))),
            css=Markup(_css()),  # noqa: S704 - a file of this folder
        )
    except (*_DAMAGED, TemplateError) as error:
        raise ValueError(f"no report that this release reads ({type(error).__name__}: {error})") from error


def _sections(report: Mapping[str, Any], other: Mapping[str, Any] | None, called: str) -> Iterable[Section]:
    metrics = other["manifest"]["metrics"] if other and called == "production" else None
    parts: list[tuple[str, str, Callable[[], Iterable[Block]]]] = [
        ("metrics", "How good it is", lambda: performance.metrics(report, metrics)),
        ("answers", "Where it is right and wrong", lambda: mistakes.answers(report)),
        ("features", "For whom, and by what", lambda: performance.features(report)),
        ("speed", "What it takes to run", lambda: operation.speed(report)),
        ("compression", "Compression", lambda: operation.compression(report)),
        ("migration", "Migration", lambda: operation.migration(report)),
        ("parity", "Against its original", lambda: operation.parity(report)),
        ("lineage", "Where it comes from", lambda: chain(origin.lineage(report), origin.data(report), origin.signature(report))),
    ]
    if other:
        parts.insert(0, ("comparison", f"Beside {called}", lambda: comparison.compared(report, other, called)))
    for name, title, make in parts:
        if blocks := list(_made(make)):
            yield Section(name=name, title=title, blocks=blocks)


def _made(make: Callable[[], Iterable[Block]]) -> Iterator[Block]:
    """Those before one that can't be read, and in its place that it can't."""
    try:
        yield from make()
    except _DAMAGED as error:
        yield Facts(items=[("not drawn", f"report.json holds something else here than this release reads ({type(error).__name__})")])


def _glances(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Label, number and what is to be known of it, for the first look; a section below says what can't be read."""
    glances = []
    for look in (_first_metric, _held_out, _first_latency, _size):
        with suppress(*_DAMAGED):
            glances.append(look(report["manifest"], report["evaluation"]))
    return glances


def _first_metric(manifest: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str, str]:
    if not manifest["metrics"]:
        raise LookupError("nothing scored it")
    name, value = next(iter(manifest["metrics"].items()))
    interval = found.get("metrics", {}).get(name, {})
    note = f"{number(interval['low'])} to {number(interval['high'])}" if "low" in interval and "high" in interval else "on held-out rows"
    return name, number(value), note


def _held_out(_: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str, str]:
    data = found["data"]
    trained = f"of {data['rows']:,}; trained elsewhere" if data.get("elsewhere") else f"{data['trained']:,} trained on"
    return "held-out rows", f"{data['held_out']:,}", trained


def _first_latency(_: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str, str]:
    first = found["latency"][0]
    return f"a request of {counted(first['rows'], 'row')}", micros(first["p50_us"]), "median, without network"


def _size(_: Mapping[str, Any], found: Mapping[str, Any]) -> tuple[str, str, str]:
    return "model.onnx", bytes_of(found["size"]), f"loads in {micros(found['load_ms'] * 1000)}" if "load_ms" in found else ""


def _state(report: Mapping[str, Any]) -> str:
    """Its version; of one that isn't published yet the digits with which it will end."""
    manifest = report["manifest"]
    return manifest["version"] or str(report.get("files", {}).get("model.onnx", ""))[:8]


def _tidy(value: Any, depth: int = 0) -> Any:
    """The document with every text bounded; the manifest and evaluation are there, if empty."""
    if isinstance(value, str):
        return bounded(value, _LONGEST)
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        document = {bounded(key, 80): _tidy(each, depth + 1) for key, each in value.items()}
        return {"evaluation": {}, "trial": {}} | document if depth == 0 else document
    return [_tidy(each, depth + 1) for each in value] if isinstance(value, (list, tuple)) else value


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.jinja")


@cache
def _css() -> str:
    return Path(__file__).with_name("page.css").read_text("utf-8")
