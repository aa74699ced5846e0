"""What an image takes and what of it is opened, on a few files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tools.bench import image_size
from tools.bench.image_size import HEADING, HISTORY, file_sizes, line, needed, parts, wanted
from tools.bench.measures import Options

SIZES = {"onnxruntime/capi/library.so": 28 * 2**20, "numpy.libs/blas.so": 2**20, "orjson/orjson.so": 2**20, "modelserve/rows.py": 2**19}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A package with bytecode, and one that nobody imports."""
    for name in ("used/__init__.py", "used/__pycache__/__init__.cpython-313.pyc", "unused/__init__.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(10))
    return tmp_path


def test_bytecode_is_wanted_with_its_source_and_nothing_outside_counts(root: Path) -> None:
    opened = [
        str(root / "used/__pycache__/__init__.cpython-313.pyc"),
        "/usr/lib/libc.so.6",
        str(root / "nowhere.so"),
        str(root / "used"),
        "[heap]",
    ]
    assert wanted(opened, root) == {"used/__pycache__/__init__.cpython-313.pyc"}


def test_every_file_counts_with_its_bytes(root: Path) -> None:
    assert sum(file_sizes(root).values()) == 30


def test_the_ratio_is_of_all_to_what_is_opened(root: Path, bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_size, "needed", lambda subject: {"used/__init__.py"})  # noqa: ARG005 - as it is called
    (result,) = image_size.measure(bare_subject, Options(), lambda: None)
    assert (result.compared, result.met) == (3.0, False)


def test_what_a_process_opens_is_read_from_its_own_words_and_its_maps(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program answers two events behind no runtime client at all: it speaks the Runtime API itself, and opens a file as it starts."""
    folder = bare_subject.root.folder
    (folder / "opened.txt").write_text("", "utf-8")
    (folder / "left.txt").write_text("", "utf-8")
    program = f"""
import http.client, os
open({str(folder / "opened.txt")!r}).close()
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    connection.request("GET", "/2018-06-01/runtime/invocation/next")
    connection.getresponse().read()
    connection.request("POST", "/2018-06-01/runtime/invocation/1/response", b"{{}}")
    connection.getresponse().read()
"""
    monkeypatch.setattr(image_size, "FUNCTION", program)
    monkeypatch.setattr(image_size, "events", lambda event: {"a": (200, event), "b": (200, event)})
    assert needed(bare_subject) == {"opened.txt"}


def test_parts_are_named_by_what_they_come_from() -> None:
    assert parts(SIZES) == {"onnxruntime": 28 * 2**20, "numpy": 2**20, "others": 2**20, "modelserve": 2**19}


def test_a_line_of_the_history_has_a_column_for_each_part() -> None:
    text = line("smaller", SIZES, ["onnxruntime/capi/library.so"], day="2026-11-22")
    assert text == "| 2026-11-22 | smaller | 30.5 | 28.0 | 28.0 | 1.0 | 1.0 | 0.5 | 1.09 |\n"
    assert text.count("|") == HEADING.count("|")


def test_the_history_is_a_table_of_such_lines() -> None:
    table = [each for each in HISTORY.read_text("utf-8").splitlines() if each.startswith("|")]
    assert table[0] == HEADING
    assert {each.count("|") for each in table} == {HEADING.count("|")}
