"""JSON Lines in, the same rows with predictions out."""

from __future__ import annotations

import json
import tempfile
from array import array
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelserve.manifest import TensorSpec
from modelserve.tensors import Tensor
from scoring import ColumnsMissing, OutputTaken
from scoring.json_rows import _one_by_one, _parse
from scoring.lines import rows as lines_of
from scoring.outputs import column
from scoring.values import ARROW
from tests.unit.scoring.factories import errors, json_rows, run, write

GOOD = '{"x": [1, 2.5], "text": "a"}'


def test_every_row_keeps_its_text_and_gains_the_outputs(tmp_path, work):
    manifest = run(write(tmp_path / "a.jsonl", ['{"x_0":1 , "note":{"é":[1]},"x_1":2,"text":"a"}  ']), work)
    assert Path(manifest.parts[0].path).read_text("utf-8") == (
        '{"x_0":1 , "note":{"é":[1]},"x_1":2,"text":"a","total":3,"pair":[2,4],"label":"A"}\n'
    )


@pytest.mark.parametrize(
    ("row", "reason", "kept"),
    [
        ('{"x": [1], "text": "a"}', "column 'x' holds a list of 1; expected a list of 2, each a number (FP32)", True),
        ('{"x": [1, null], "text": "a"}', "column 'x' has no value; expected a number (FP32), at position 1 of the list", True),
        ('{"x": [1, "b"], "text": "a"}', "column 'x' holds \"[1, 'b']\"; expected a list, each a number (FP32)", True),
        ('{"x": 1, "text": "a"}', "column 'x' holds '1'; expected a list, each a number (FP32)", True),
        ('{"x": null, "text": "a"}', "column 'x' has no value; expected a list of 2, each a number (FP32)", True),
        ('{"x": [1, true], "text": "a"}', "column 'x' holds '[1, True]'; expected a list, each a number (FP32)", True),
        ('{"x": [1, 2]}', "column 'text' has no value; expected text (BYTES)", True),
        ('{"x": [1, 2], "text": 5}', "column 'text' holds '5'; expected text (BYTES)", True),
        ('{"x": [1, 2], "text": "\\ud800"}', "expected", True),
        ('{"x": [13, 2], "text": "a"}', "model 'adder' could not run on this input: no 13, as in a", True),
        ("{}", "column 'x' has no value; expected a list of 2, each a number (FP32)", False),
        ("[1, 2]", "the line is a list; expected a JSON object in UTF-8", False),
        ("null", "the line is null; expected a JSON object in UTF-8", False),
        (GOOD[:-1], "the line is no JSON, or not UTF-8; expected a JSON object in UTF-8", False),
        (f"{GOOD} {GOOD}", "the line is no JSON, or not UTF-8; expected a JSON object in UTF-8", False),
        (GOOD.encode().replace(b'"a"', b'"\xff"'), "the line is no JSON, or not UTF-8; expected a JSON object in UTF-8", False),
    ],
)
def test_a_bad_row_gets_no_prediction_and_a_reason(tmp_path, work, row, reason, kept):
    line = row if isinstance(row, bytes) else row.encode()
    manifest = run(write(tmp_path / "a.jsonl", GOOD.encode() + b"\n" + line + b"\n" + GOOD.encode()), work)
    (found,) = errors(manifest)
    assert found["row"] == 2
    assert reason in found["reason"]
    first, bad, last = json_rows(manifest)
    assert first["total"] == last["total"] == 3.5
    assert [bad.pop(name) for name in ("total", "pair", "label")] == [None, None, None]
    assert bad == (json.loads(line) if kept else {})
    assert (manifest.rows, manifest.scored, manifest.bad) == (3, 2, 1)


def test_an_object_in_two_lines_is_not_made_up_for_by_two_in_one(tmp_path, work):
    """As many objects as lines are not yet an object a line."""
    manifest = run(write(tmp_path / "a.jsonl", [GOOD + GOOD, GOOD[:8], GOOD[8:]]), work)
    assert [item["row"] for item in errors(manifest)] == [1, 2, 3]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_no_rows(tmp_path, work, data):
    manifest = run(write(tmp_path / "a.jsonl", data), work)
    assert manifest.rows == 0
    assert Path(manifest.parts[0].path).read_bytes() == b""


def test_marks_breaks_and_empty_lines(tmp_path, work):
    manifest = run(write(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\n" + GOOD.encode()), work)
    assert [row["total"] for row in json_rows(manifest)] == [3.5, 3.5]


def test_nan_is_read_as_the_api_reads_it_and_written_as_null(tmp_path, work):
    """Whichever of two readers looks at the row."""
    rows = ['{"x": [NaN, 1], "text": "a"}']
    assert json_rows(run(write(tmp_path / "a.jsonl", rows), work))[0]["total"] is None
    beside = run(write(tmp_path / "b.jsonl", [*rows, "no"]), tmp_path / "other")
    assert [item["row"] for item in errors(beside)] == [2]


def test_a_member_of_an_outputs_name_is_refused_wherever_it_stands(tmp_path, work):
    with pytest.raises(OutputTaken, match="'label'"):
        run(write(tmp_path / "a.jsonl", ['{"x": [1, 2], "text": "a", "label": "b"}']), work)
    late = [GOOD] * 40_000 + ['{"x": [1, 2], "text": "a", "label": "b"}', '{"x": [1, 2], "text": "\\"label\\""}']
    manifest = run(write(tmp_path / "b.jsonl", late), work)
    assert [item["row"] for item in errors(manifest)] == [40_001]
    assert json_rows(manifest)[40_000] == {"x": [1, 2], "text": "a", "total": None, "pair": None, "label": None}


def test_lists_and_numbered_columns_at_once_are_ambiguous(tmp_path, work):
    with pytest.raises(ColumnsMissing, match="a column 'x' and columns 'x_0' to 'x_1'"):
        run(write(tmp_path / "a.jsonl", ['{"x": [1, 2], "x_0": 1, "x_1": 2, "text": "a"}']), work)
    with pytest.raises(ColumnsMissing, match="'x' with lists of 2 or 'x_0' to 'x_1'"):
        run(write(tmp_path / "b.jsonl", ['{"y": 1, "text": "a"}']), work)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.just([1]))


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "c": VALUES}), min_size=1, max_size=4))
def test_what_arrow_reads_is_what_a_look_at_each_row_reads(documents):
    """The reader of whole blocks takes nothing that the other one would refuse, and gives the same."""
    columns = {"a": ("FP32", False), "b": ("BYTES", False), "c": ("INT64", False)}
    kinds = {name: ARROW[datatype] for name, (datatype, _) in columns.items()}
    data = b"".join(
        orjson.dumps(document, option=orjson.OPT_PASSTHROUGH_SUBCLASS, default=str) + b"\n" for document in _writable(documents)
    )
    lines = lines_of(data, quoted=False)
    at_once = _parse(data, lines, kinds)
    if at_once is not None:
        each = _one_by_one(lines, columns, kinds)
        assert not each.bad
        assert {name: at_once[name].to_pylist() for name in kinds} == {name: each.columns[name].to_pylist() for name in kinds}


def _writable(documents):
    return [
        {key: value for key, value in document.items() if not isinstance(value, int) or abs(value) < 2**63} or {"d": 1}
        for document in documents
    ]


ROWS = st.lists(
    st.sampled_from([GOOD, "no", '{"x": [13, 2], "text": "a"}', '{"x": [3, 4], "text": "é\\n"}', '{"x": [3, 4], "text": null}', ""]),
    max_size=40,
)


@settings(deadline=None, max_examples=50)
@given(rows=ROWS, shard_bytes=st.integers(1, 200), block=st.sampled_from([7, 64, 4096]))
def test_shards_of_any_size_make_the_same_rows(rows, shard_bytes, block):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = write(Path(folder) / "a.jsonl", rows)
        whole = run(file, Path(folder) / "whole")
        patch.setattr("scoring.lines.BLOCK_BYTES", block)
        cut = run(file, Path(folder) / "cut", shard_bytes=shard_bytes)
        assert json_rows(cut) == json_rows(whole)
        assert errors(cut) == errors(whole)
        rows = [row for row in rows if row]
        bad = {number for number, row in enumerate(rows, 1) if "13" in row or "null" in row or row == "no"}
        assert {item["row"] for item in errors(cut)} == bad
        assert cut.rows == len(rows)


def test_labels_are_texts():
    spec = TensorSpec(name="label", datatype="INT64", shape=(-1,))
    tensor = Tensor("label", "INT64", (4,), array("q", [0, 1, 2, -1]))
    assert column(tensor, spec, ("no", "yes")).to_pylist() == ["no", "yes", "2", "-1"]
    assert column(tensor, spec, ()).to_pylist() == [0, 1, 2, -1]
