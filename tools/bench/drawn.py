"""What is made from kept results: a page, a picture and the README's table. `python -m tools.bench.drawn` makes them anew."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, takewhile
from pathlib import Path

from tools.bench.kept import FILE, Kept
from tools.bench.measures import Result
from tools.bench.picture import TITLES, picture
from tools.bench.shown import number
from tools.loopback.errors import MeasureError

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
_MORE = "All of it, and what each server includes: [bench.md](docs/bench.md); how, and why: [speed](docs/speed.md)."


def keep(results: Kept, root: Path = ROOT) -> None:
    """Writes `docs/bench.json` and what is drawn from it. Raises `MeasureError` without markers in the README, or a headline."""
    readme_table(results)  # or nothing is written
    results.write(root / "docs" / FILE.name)
    redraw(root)


def redraw(root: Path = ROOT) -> None:
    """From what was kept, rounded as it was: whoever reads the file gets the same."""
    results = Kept.load(root / "docs" / FILE.name)
    if results is None:
        raise MeasureError("nothing was kept yet: python -m tools.bench --keep")
    readme = root / "README.md"
    readme.write_text(between_markers(readme.read_text("utf-8"), readme_table(results)), "utf-8")
    (root / "docs" / "bench.md").write_text(page(results), "utf-8")
    (root / "docs" / "bench.svg").write_text(picture(results), "utf-8")


def between_markers(text: str, content: str) -> str:
    """The text with what stands between the markers replaced. Raises `MeasureError` where they are missing."""
    if not re.search(f"{_BEGIN}.*?{_END}", text, re.DOTALL):
        raise MeasureError(f"README.md has no lines {_BEGIN} and {_END}, between which the table goes")
    before, _, rest = text.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{content}{_END}{rest.partition(_END)[2]}"


def readme_table(kept: Kept) -> str:
    """The headlines and the picture, as Markdown. Raises `MeasureError` where one of them was not measured."""
    known = {each.name: each for each in kept.results}
    if missing := [name for name in HEADLINES if name not in known]:
        raise MeasureError(f"the README shows {', '.join(missing)}, which nothing measured; keep all groups: --keep --peers")
    results = [known[name] for name in HEADLINES]
    what = f"Measured by `make bench`, both sides in turns ({_where(kept)})"
    return "\n".join([*_table(what, results), "", *_comparisons(results), "", f"![{_PICTURE}](docs/bench.svg)", "", _MORE, ""])


def page(kept: Kept) -> str:
    """Every result, as Markdown: a table a group, and below it what is compared in it, each thing once."""
    parts = [
        "# What was measured",
        "",
        f"By `make bench` on {kept.date}: {_where(kept)}.",
        "Both sides of a comparison ran in turns, in the same minutes; in brackets are the quartiles. Less is better throughout:",
        "a throughput is compared by its inverse. Beside ours stands a floor, or what the row's name says: another server, plain ONNX.",
        "Compared is the ratio, or, with a +, what ours adds. Only the ratios carry over to another machine.",
        "`python -m tools.bench --keep` writes this page and [bench.json](bench.json).",
        "",
        f"![{_PICTURE}](bench.svg)",
        "",
    ]
    for group, grouped in groupby(kept.results, key=lambda each: each.group):
        results = list(grouped)
        parts += [f"## {TITLES[group]}", "", *_table("", results), "", *_comparisons(results), *_notes(results), ""]
    return "\n".join(parts)


def _table(what: str, results: Iterable[Result]) -> Iterator[str]:
    yield f"| {what} | ours | beside | compared | bar |"
    yield "| --- | ---: | ---: | --- | --- |"
    yield from map(_line, results)


def _line(each: Result) -> str:
    first, third = map(number, each.spread)
    sign, unit = ("", "x") if each.ratio else ("+" if each.compared > 0 else "", f" {each.unit}")
    compared = f"**{sign}{number(each.compared)}{unit}**" + (f" ({first} to {third})" if first != third else "")
    bar = "" if each.bar is None else f"{each.bar:.3g}"
    bar += ("" if each.goal is None else f", goal {each.goal:g}") + ("" if each.met else ": missed")
    floor = f"{number(each.floor)} {each.unit}" if each.floor else ""
    return f"| {_capital(each.name)} | {number(each.ours)} {each.unit} | {floor} | {compared} | {bar} |"


def _comparisons(results: Iterable[Result]) -> Iterator[str]:
    """A line for each, with the rows that it is about."""
    names: dict[str, list[str]] = {}
    for each in results:
        names.setdefault(each.comparison, []).append(each.name)
    return (f"- **{_capital(_common(rows))}**: {comparison}" for comparison, rows in names.items())


def _notes(results: Iterable[Result]) -> Iterator[str]:
    """A line for each that is told of any of them."""
    found = dict.fromkeys(note for each in results for note in each.notes.items())
    return (f"- *{part}*: {text}" for part, text in found)


def _common(names: Sequence[str]) -> str:
    """The words with which they begin."""
    if len(names) == 1:
        return names[0]
    columns = zip(*(name.replace(",", "").split() for name in names), strict=False)
    return " ".join([*(words[0] for words in takewhile(lambda words: len({*words}) == 1, columns)), "…"])


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _where(kept: Kept) -> str:
    on = kept.machine
    return f"{on['processor']}, {on['cores']} cores, {on['system']}, Python {on['python']}, onnxruntime {on['onnxruntime']}"


if __name__ == "__main__":
    redraw()
