"""What is drawn of kept results; and that what lies in the repository is drawn from what was kept."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.unit.bench.test_kept import MACHINE, kept
from tests.unit.bench.test_measures import a_result
from tools.bench import drawn
from tools.bench.kept import FILE, Kept
from tools.bench.measures import Result
from tools.bench.picture import picture
from tools.loopback.errors import MeasureError

WHERE = {**MACHINE, "system": "Linux x86_64", "python": "3.13.0", "onnxruntime": "1.31.1"}
KEPT = kept(
    a_result(name="cold start", goal=0.65),
    a_result(name="cold & large", compared=9.0, spread=(8.0, 10.0)),
    a_result(name="handler", group="warm", ratio=False, unit="us", compared=9.0, spread=(8.0, 10.0), bar=12.0),
    a_result(name="call", group="peers", compared=0.5, bar=None),
    **WHERE,
)
SVG = "{http://www.w3.org/2000/svg}"


def a_headline(name: str) -> Result:
    return a_result(name=name)


def bars(text: str) -> list[tuple[str | None, float]]:
    found = [each for each in ElementTree.fromstring(text).iter(f"{SVG}rect") if each.get("y") != "39"]
    return [(each.get("class"), float(each.get("width", ""))) for each in found]


def test_a_bar_is_as_long_as_its_ratio_and_one_that_is_too_long_ends_with_the_picture() -> None:
    shares = {"cold start": ("missed", 384.0), "cold & large": ("missed", 480.0), "handler": ("met", 240.0), "call": ("told", 160.0)}
    assert dict(zip([each.name for each in KEPT.results], bars(picture(KEPT)), strict=True)) == shares  # of 480 pixels for 1.5


def test_the_picture_is_told_in_words_too() -> None:
    (told,) = ElementTree.fromstring(picture(KEPT)).iter(f"{SVG}desc")
    assert told.text == "cold start 1.20x, bar 1.1; cold & large 9.00x, bar 1.1; handler +9.00 of 12 us, bar 12; call 0.50x"


def test_a_page_has_a_table_a_group_and_says_what_was_missed() -> None:
    text = drawn.page(KEPT)
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## Cold start", "## Warm calls", "## Beside other servers"]
    assert "| Cold start | 120.0 ms | 100.0 ms | **1.20x** (1.10 to 1.30) | 1.1, goal 0.65: missed |" in text
    assert "| Handler | 120.0 us | 100.0 us | **+9.00 us** (8.00 to 10.0) | 12 |" in text
    assert "| Call | 120.0 ms | 100.0 ms | **0.50x** (1.10 to 1.30) |  |" in text


def test_what_rows_have_in_common_is_said_once_below_their_table() -> None:
    include = {"ours includes": "a log"}
    names = ("call beside A", "call beside B, tuned", "memory, 1x30", "memory, 10x30", "image")
    of = {"call": "a p50", "memo": "a peak", "imag": "its files"}
    rows = [a_result(name=name, comparison=of[name[:4]], notes=include if name < "i" else {}) for name in names]
    lines = drawn.page(kept(*rows, **WHERE)).splitlines()
    assert [line for line in lines if line.startswith("-")] == [
        "- **Call beside …**: a p50",
        "- **Memory …**: a peak",
        "- **Image**: its files",
        "- *ours includes*: a log",
    ]


def test_the_readme_keeps_all_but_what_stands_between_the_markers() -> None:
    text = drawn.between_markers("a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n", "new\n")
    assert text == "a\n<!-- bench -->\nnew\n<!-- /bench -->\nb\n"
    with pytest.raises(MeasureError, match=r"README\.md has no lines"):
        drawn.between_markers("a", "new")


def test_keeping_writes_all_that_is_made_of_it(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- bench --><!-- /bench -->", "utf-8")
    with pytest.raises(MeasureError, match="the README shows cold start beside MLServer, tuned, handler"):
        drawn.keep(KEPT, tmp_path)
    assert not list((tmp_path / "docs").iterdir())
    drawn.keep(kept(*map(a_headline, drawn.HEADLINES), **WHERE), tmp_path)
    assert "| Handler, 1x30 JSON | 120.0 ms |" in (tmp_path / "README.md").read_text("utf-8")
    assert sorted(each.name for each in (tmp_path / "docs").iterdir()) == ["bench.json", "bench.md", "bench.svg"]


@pytest.mark.skipif(not FILE.exists(), reason="nothing was kept yet")
def test_readme_page_and_picture_are_what_was_kept() -> None:
    """`python -m tools.bench.drawn` makes them so."""
    results = Kept.load()
    assert results
    assert (FILE.parent / "bench.svg").read_text("utf-8") == picture(results)
    assert (FILE.parent / "bench.md").read_text("utf-8") == drawn.page(results)
    readme = (drawn.ROOT / "README.md").read_text("utf-8")
    assert readme == drawn.between_markers(readme, drawn.readme_table(results))
    assert {each.name for each in results.results} >= set(drawn.HEADLINES)
