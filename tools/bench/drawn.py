"""What is made from kept results: a page, a picture and the README's table. `python -m tools.bench.drawn` makes them anew."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from tools.bench.kept import FILE, Kept
from tools.bench.measures import Result
from tools.bench.picture import TITLES, picture
from tools.bench.runtime import BenchError
from tools.bench.shown import number

__all__ = ["HEADLINES", "between_markers", "keep", "page", "readme_table", "redraw"]

ROOT = FILE.parents[1]
HEADLINES: tuple[str, ...] = (
    "cold start",
    "cold start beside MLServer, tuned",
    "handler, 1x30 JSON",
    "memory, small model",
    "memory beside MLServer, tuned",
    "image",
    "data set, parquet",
)
"""What the README's table shows, by name; everything is on the page and in the picture."""
_BEGIN, _END = "<!-- bench -->", "<!-- /bench -->"
_PICTURE = "Each measured ratio beside its floor, its bar and its goal"
_MORE = "All of it, and what each side includes: [bench.md](docs/bench.md); how, and why: [speed](docs/speed.md)."
_RULE = "| --- | --- | --- | --- | --- |"


def keep(results: Kept, root: Path = ROOT) -> None:
    """Writes `docs/bench.json` and what is drawn from it. Raises `BenchError` without markers in the README, or a headline."""
    readme_table(results)  # or nothing is written
    results.write(root / "docs" / FILE.name)
    redraw(root)


def redraw(root: Path = ROOT) -> None:
    """From what was kept, rounded as it was: whoever reads the file gets the same."""
    results = Kept.load(root / "docs" / FILE.name)
    if results is None:
        raise BenchError("nothing was kept yet: python -m tools.bench --keep")
    readme = root / "README.md"
    readme.write_text(between_markers(readme.read_text("utf-8"), readme_table(results)), "utf-8")
    (root / "docs" / "bench.md").write_text(page(results), "utf-8")
    (root / "docs" / "bench.svg").write_text(picture(results), "utf-8")


def between_markers(text: str, content: str) -> str:
    """The text with what stands between the markers replaced. Raises `BenchError` where they are missing."""
    if not re.search(f"{_BEGIN}.*?{_END}", text, re.DOTALL):
        raise BenchError(f"README.md has no lines {_BEGIN} and {_END}, between which the table goes")
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{content}{_END}{rest.partition(_END)[2]}"


def readme_table(kept: Kept) -> str:
    """The headlines and the picture, as Markdown. Raises `BenchError` where one of them was not measured."""
    known = {each.name: each for each in kept.results}
    if missing := [name for name in HEADLINES if name not in known]:
        raise BenchError(f"the README shows {', '.join(missing)}, which nothing measured; keep all groups: --keep --peers")
    lines = [_line(replace(known[name], comparison=known[name].comparison.partition(";")[0])) for name in HEADLINES]
    return "\n".join(
        [
            f"| Measured by `make bench`, both sides in turns ({_where(kept)}) | ours | floor | compared | bar |",
            _RULE,
            *lines,
            "",
            f"![{_PICTURE}](docs/bench.svg)",
            "",
            _MORE,
            "",
        ]
    )


def page(kept: Kept) -> str:
    """Every result, as Markdown: a table a group."""
    parts = [
        "# What was measured",
        "",
        f"By `make bench` on {kept.date}: {_where(kept)}.",
        "Both sides of a comparison ran in turns, in the same minutes; in brackets are the quartiles. Less is better throughout:",
        "a throughput is compared by its inverse. Only the ratios carry over to another machine. `python -m tools.bench --keep` writes",
        "this page and [bench.json](bench.json).",
        "",
        f"![{_PICTURE}](bench.svg)",
        "",
    ]
    for group, results in groupby(kept.results, key=lambda each: each.group):
        parts += [f"## {TITLES[group]}", "", "| | ours | floor | compared | bar |", _RULE, *map(_line, results), ""]
    return "\n".join(parts)


def _line(each: Result) -> str:
    first, third = map(number, each.spread)
    unit = "x" if each.ratio else f" {each.unit}"
    compared = f"**{number(each.compared)}{unit}** ({first} to {third})" if first != third else f"**{number(each.compared)}{unit}**"
    bar = "none" if each.bar is None else f"{each.bar:g}"
    bar += ("" if each.goal is None else f", goal {each.goal:g}") + ("" if each.met else ": missed")
    what = f"{each.name[0].upper()}{each.name[1:]}: {each.comparison}"
    return f"| {what} | {number(each.ours)} {each.unit} | {number(each.floor)} {each.unit} | {compared} | {bar} |"


def _where(kept: Kept) -> str:
    on = kept.machine
    return f"{on['processor']}, {on['cores']} cores, {on['system']}, Python {on['python']}, onnxruntime {on['onnxruntime']}"


if __name__ == "__main__":
    redraw()
