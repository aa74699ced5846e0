"""A trace as an SVG of its own: the same lines as the text has, to the pixel, in light or dark as the reader has it."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tools.modelctl.report.charts import Scale
from tools.modelctl.trace.spans import Row, Trace
from tools.modelctl.trace.waterfall import shown

__all__ = ["picture"]

_LEFT, _RIGHT, _WIDTH = 270, 70, 900
_LINE, _TOP = 20, 78
_STYLE = """
    text { fill: #1f2328; } .small { font-size: 12px; fill: #57606a; } .axis { stroke: #d0d7de; } .paper { fill: #ffffff; }
    .import { fill: #0969da; } .network { fill: #1a7f37; } .open { fill: #8250df; } .own { fill: #bf8700; } .rest { fill: #8c959f; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .small { fill: #9198a1; } .axis { stroke: #30363d; } .paper { fill: #0d1117; }
      .import { fill: #4493f8; } .network { fill: #3fb950; } .open { fill: #ab7df8; } .own { fill: #d29922; } .rest { fill: #656c76; }
    }
"""
_KINDS = {
    **dict.fromkeys(("interpreter", "import"), "import"),
    **dict.fromkeys(("request", "connect", "hash", "zstd"), "network"),
    **dict.fromkeys(("library", "session", "run"), "open"),
    **dict.fromkeys(("none", "tracer"), "rest"),
}
_LEGEND = {"import": "interpreter, imports", "network": "store", "open": "ONNX Runtime", "own": "function", "rest": "rest"}


def picture(trace: Trace, title: str) -> str:
    """`title` says what was started; each bar tells its milliseconds to whoever points at it."""
    rows = shown(trace)
    bottom = _TOP + _LINE * len(rows)
    scale = Scale(0, trace.total, _LEFT, _WIDTH - _RIGHT)
    lines = [*_head(title, rows, bottom + 32), *_legend(), *_axis(scale, bottom)]
    for number, row in enumerate(rows):
        lines += _row(row, scale, _TOP + _LINE * number)
    return "\n".join([*lines, "</svg>\n"])


def _head(title: str, rows: list[Row], height: int) -> Iterator[str]:
    size, font = f'viewBox="0 0 {_WIDTH} {height}"', 'font-family="system-ui, sans-serif" font-size="13"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d" {font}>'
    yield f'  <title id="t">{escape(title)}</title>'
    yield f'  <desc id="d">{escape("; ".join(f"{row.label} {row.own:.1f} ms" for row in rows))}</desc>'
    yield f"  <style>{_STYLE}  </style>"
    yield f'<rect class="paper" width="{_WIDTH}" height="{height}"/>'
    yield f'<text x="16" y="26" font-size="15" font-weight="600">{escape(title)}</text>'


def _legend() -> Iterator[str]:
    x = 16
    for kind, text in _LEGEND.items():
        yield f'<rect class="{kind}" x="{x}" y="40" width="12" height="12"/><text class="small" x="{x + 18}" y="50">{text}</text>'
        x += 42 + 7 * len(text)
    yield f'<text class="small" x="{x}" y="50">∥ beside the main thread</text>'


def _axis(scale: Scale, bottom: int) -> Iterator[str]:
    for value in scale.ticks(6):
        yield f'<path class="axis" d="M{scale(value):.1f} {_TOP - 6}V{bottom + 2}"/>'
        yield f'<text class="small" x="{scale(value):.1f}" y="{bottom + 18}" text-anchor="middle">{value:g} ms</text>'


def _row(row: Row, scale: Scale, y: int) -> Iterator[str]:
    name = f"{'' if row.lane == 0 else '∥ '}{row.label}"
    yield f'<text x="16" y="{y + 14}">{escape(name if len(name) < 38 else f"{name[:37]}…")}</text>'
    yield f'<g class="{_KINDS.get(row.kind, "own")}"><title>{escape(f"{row.label}: {row.own:.2f} ms")}</title>'
    for begin, end in _joined(row, least=(scale.high - scale.low) / 2000):
        yield f'<rect x="{scale(begin):.1f}" y="{y + 3}" width="{max(0.6, scale(end) - scale(begin)):.1f}" height="13"/>'
    yield "</g>"
    yield f'<text class="small" x="{_WIDTH - 12}" y="{y + 14}" text-anchor="end">{row.own:.1f} ms</text>'


def _joined(row: Row, *, least: float) -> Iterator[tuple[float, float]]:
    """Its parts, with those made one that nobody could tell apart."""
    begun, ended = row.parts[0]
    for begin, end in row.parts[1:]:
        if begin - ended > least:
            yield begun, ended
            begun = begin
        ended = end
    yield begun, ended
