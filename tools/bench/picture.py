"""Kept results as an SVG: a bar a result, beside its floor, its bar and its goal."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from itertools import groupby

from tools.bench.kept import Kept
from tools.bench.measures import Group, Result
from tools.bench.shown import number

__all__ = ["TITLES", "picture"]

TITLES: dict[Group, str] = {
    "cold": "Cold start",
    "warm": "Warm calls",
    "formats": "Load formats",
    "memory": "Memory",
    "image": "Image",
    "gateway": "GPU gateway",
    "batch": "Data sets and batches",
    "peers": "Beside other servers",
}
_LEFT, _WIDTH, _MOST = 470, 480, 1.5
"""Of the picture, in pixels; and the largest ratio that it has room for."""
_LINE, _TOP = 22, 74
_STYLE = """
    text { fill: #1f2328; } .small { font-size: 12px; fill: #57606a; }
    .axis { stroke: #d0d7de; } .floor { stroke: #57606a; stroke-width: 1.5; } .bar { stroke: #0969da; stroke-width: 2.5; }
    .met { fill: #2da44e; } .missed { fill: #cf222e; } .told { fill: #afb8c1; } .spread { stroke: #1f2328; } .goal { fill: #8250df; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; } .small { fill: #9198a1; } .axis { stroke: #30363d; } .floor { stroke: #9198a1; }
      .met { fill: #238636; } .missed { fill: #da3633; } .told { fill: #6e7681; }
      .spread { stroke: #e6edf3; } .bar { stroke: #4493f8; } .goal { fill: #ab7df8; }
    }
"""


def picture(kept: Kept) -> str:
    """A bar a result, the floor as a line; what is added to a floor is drawn as a share of its bar, which is that line then."""
    body, y = [], _TOP
    for group, results in groupby(kept.results, key=lambda each: each.group):
        body.append(f'<text x="16" y="{y + 16}" font-weight="600">{TITLES[group]}</text>')
        y += _LINE
        for each in results:
            body += _row(each, y)
            y += _LINE
        y += 8
    frame = [*_head(kept, y), *_axis(y), *body, "</svg>\n"]
    return "\n".join(frame)


def _head(kept: Kept, height: int) -> Iterator[str]:
    size, font = f'viewBox="0 0 1110 {height + 32}"', 'font-family="system-ui, sans-serif" font-size="13"'
    yield f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="t d" {font}>'
    yield '  <title id="t">What was measured, beside its floor</title>'
    told = "; ".join(f"{each.name} {_value(each)}" + ("" if each.bar is None else f", bar {each.bar:g}") for each in kept.results)
    yield f'  <desc id="d">{escape(told)}</desc>'
    yield f"  <style>{_STYLE}  </style>"
    yield '<text x="16" y="26" font-size="15" font-weight="600">make bench: how much of what the floor takes</text>'
    legend = (
        '<rect class="met" x="16" y="39" width="18" height="10"/><text class="small" x="40" y="49">measured, with quartiles</text>'
        '<path class="bar" d="M206 37v14"/><text class="small" x="214" y="49">at most (bar)</text>'
        '<path class="goal" d="M314 39l6 10h-12z"/><text class="small" x="326" y="49">goal</text>'
        '<rect class="missed" x="374" y="39" width="18" height="10"/><text class="small" x="398" y="49">bar missed</text>'
        '<rect class="told" x="482" y="39" width="18" height="10"/><text class="small" x="506" y="49">no bar</text>'
        '<text class="small" x="566" y="49">+: what is added, drawn as a share of its bar</text>'
    )
    yield legend


def _axis(bottom: int) -> Iterator[str]:
    for tick in (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5):
        kind = "floor" if tick == 1 else "axis"
        yield f'<path class="{kind}" d="M{_x(tick):.1f} {_TOP - 10}V{bottom}"/>'
        label = "1 = floor" if tick == 1 else f"{tick:g}"
        yield f'<text class="small" x="{_x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>'


def _row(each: Result, y: int) -> Iterator[str]:
    share = 1.0 if each.ratio else 1 / each.bar if each.bar else 0.0
    value, first, third = (_x(share * value) for value in (each.compared, *each.spread))
    yield f'<text x="28" y="{y + 15}">{escape(each.name)}</text>'
    yield f'<rect class="{_kind(each)}" x="{_LEFT}" y="{y + 4}" width="{value - _LEFT:.1f}" height="14"/>'
    yield f'<path class="spread" d="M{first:.1f} {y + 11}H{third:.1f}"/>'
    if each.bar is not None:
        yield f'<path class="bar" d="M{_x(share * each.bar):.1f} {y + 1}v20"/>'
    if each.goal is not None:
        yield f'<path class="goal" d="M{_x(share * each.goal):.1f} {y + 11}l6 10h-12z"/>'
    yield f'<text x="{_LEFT + _WIDTH + 12}" y="{y + 15}">{_value(each)}</text>'


def _kind(each: Result) -> str:
    return "told" if each.bar is None else "met" if each.met else "missed"


def _x(ratio: float) -> float:
    return _LEFT + _WIDTH * min(max(ratio, 0), _MOST) / _MOST


def _value(each: Result) -> str:
    if each.ratio:
        return f"{number(each.compared)}x"
    of = "" if each.bar is None else f" of {each.bar:g}"
    return f"{'+' if each.compared > 0 else ''}{number(each.compared)}{of} {each.unit}"
