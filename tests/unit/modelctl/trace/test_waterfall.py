"""A trace as text and as a picture."""

import re
from xml.etree import ElementTree

import pytest

from tools.modelctl.trace.picture import picture
from tools.modelctl.trace.spans import Trace
from tools.modelctl.trace.waterfall import waterfall

from .traces import MAIN, OTHER, binding, native, written

SVG = "{http://www.w3.org/2000/svg}"


def lines(trace: Trace, width: int = 80) -> dict[str, str]:
    """By name: the bar of each line."""
    _, *rows = [line.plain for line in waterfall(trace, width=width)]
    return {re.split(r"\s{2,}|…", row)[0].strip(): row[40:].ljust(width - 40) for row in rows}


@pytest.mark.parametrize("width", [80, 120])
def test_it_is_as_wide_as_it_may_be(width):
    assert all(len(line.plain) <= width for line in waterfall(binding(), width=width))


def test_a_bar_is_where_it_ran_and_blank_where_something_within_it_did():
    trace = written(("init", "", 0, 40, MAIN), ("session", "", 10, 30, MAIN), end=40)

    assert lines(trace) == {"INIT, waiting": "█" * 10 + " " * 20 + "█" * 10, "session": " " * 10 + "█" * 20 + " " * 10}


def test_what_ran_for_a_part_of_a_cell_is_lighter_and_never_blank():
    trace = written(("interpreter", "", 0, 0.5, MAIN), ("session", "", 1, 1.2, MAIN), ("init", "", 2, 40, MAIN), end=40)

    bars = lines(trace)
    assert bars["interpreter"][0] == "▒"
    assert bars["session"][1] == "░"


def test_what_runs_on_another_thread_is_told_so():
    assert "∥ s3 GET production.json" in lines(binding())


def test_the_lines_of_the_main_thread_add_up_to_the_whole():
    trace = binding()
    numbers = [float(row.plain[30:38]) for row in waterfall(trace)[1:] if not row.plain.startswith("∥")]

    assert sum(numbers) == pytest.approx(trace.total, abs=0.05 * len(numbers))


def test_what_is_too_short_to_be_seen_is_told_with_everything_else_but_for_what_everybody_looks_for():
    trace = written(
        ("session", "", 0, 98, MAIN), ("signature", "", 98.1, 98.2, MAIN), ("log", "", 99.1, 99.2, MAIN), ("run", "", 99.3, 99.4, MAIN),
        ("connect", "host", 1, 1.1, OTHER),
        end=100,
    )  # fmt: skip

    assert list(lines(trace)) == ["session", "signature", "first run", "everything else"]


def test_a_picture_has_a_line_a_row_within_its_frame_and_says_it_all_in_words():
    trace = binding()
    root = ElementTree.fromstring(picture(trace, "Cold start of <tumour>"))

    assert root.findtext(f"{SVG}title") == "Cold start of <tumour>"
    assert "import numpy 48.0 ms" in str(root.findtext(f"{SVG}desc"))
    assert len(root.findall(f"{SVG}g")) == len(waterfall(trace)) - 1
    width, height = (float(number) for number in root.attrib["viewBox"].split()[2:])
    boxes = [{key: float(value) for key, value in box.items() if key in {"x", "y", "width"}} for box in map(dict, rectangles(root))]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] < height for box in boxes)


def rectangles(root: ElementTree.Element) -> list[dict[str, str]]:
    return [box.attrib for group in root.findall(f"{SVG}g") for box in group.findall(f"{SVG}rect")]


def test_parts_that_nobody_could_tell_apart_are_drawn_as_one():
    spans = [("log", "", index * 0.01, index * 0.01 + 0.005, MAIN) for index in range(1000)]
    root = ElementTree.fromstring(picture(written(*spans, ("session", "", 10, 100, MAIN), end=100), "many"))

    assert len(rectangles(root)) < 10


def test_a_picture_is_for_light_and_for_dark():
    assert "prefers-color-scheme: dark" in picture(native(), "native")
