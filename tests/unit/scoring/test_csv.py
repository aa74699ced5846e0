"""CSV in, the same rows with predictions out."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import ColumnsMissing, FileUnreadable, OutputTaken
from scoring.lines import row_ends
from tests.unit.scoring.factories import csv_rows, errors, run, write

HEADER = "id,x_0,x_1,text"


def test_every_row_keeps_its_text_and_gains_the_outputs(tmp_path, work):
    file = write(tmp_path / "a.csv", [HEADER, '"7","1.50",2,é', "8, 3 ,4,b"])
    manifest = run(file, work)
    assert Path(manifest.parts[0].path).read_text("utf-8").splitlines() == [
        HEADER + ",total,pair,label",
        '"7","1.50",2,é,3.5,"[3,4]",É',
        '8, 3 ,4,b,7,"[6,8]",B',
    ]
    assert (manifest.rows, manifest.scored, manifest.bad, manifest.errors) == (2, 2, 0, None)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7,,2,a", "column 'x_0' has no value; expected a number (FP32)"),
        ("7,one,2,a", "column 'x_0' holds 'one'; expected a number (FP32)"),
        ('7,"",2,a', "column 'x_0' has no value; expected a number (FP32)"),
        ("7,1e300,2,a", "column 'x_0' holds '1e+300'; expected a number that FP32 holds"),
        ("7,1,2,", "column 'text' has no value; expected text (BYTES)"),
        ("7,1,2", "the row has 3 fields; expected 4, one a column of the header"),
        ("7,1,2,a,b", "the row has 5 fields; expected 4, one a column of the header"),
        ("7,13,2,a", "model 'adder' could not run on this input: no 13, as in a"),
        (f"7,13,2,{'a' * 70}", f"model 'adder' could not run on this input: no 13, as in {'a' * 57}..."),
        (f"7,{'9' * 10 + 'x' * 90},2,a", f"column 'x_0' holds '{'9' * 10 + 'x' * 37}...'; expected a number (FP32)"),
        ("7,1\r2,3,a", "the row can't be read as CSV; expected 4 fields, each quote closed, and line breaks only between quotes"),
    ],
)
def test_a_bad_row_gets_no_prediction_and_a_reason(tmp_path, work, row, reason):
    manifest = run(write(tmp_path / "a.csv", [HEADER, "1,1,1,a", row, "2,2,2,b"]), work)
    assert errors(manifest) == [{"file": str(tmp_path / "a.csv"), "row": 2, "reason": reason}]
    first, bad, last = csv_rows(manifest)
    assert (first[4], bad[4:], last[4]) == ("2", ["", "", ""], "4")
    assert (manifest.rows, manifest.scored, manifest.bad) == (3, 2, 1)


def test_nan_is_a_number_unless_the_model_refuses_it(tmp_path, work):
    file = write(tmp_path / "a.csv", [HEADER, "1,nan,1,a", "2,inf,1,b"])
    accepted = run(file, work)
    assert [row[4] for row in csv_rows(accepted)] == ["nan", "inf"]
    refused = run(file, tmp_path / "other", refuse_nan=True)
    assert errors(refused)[0]["reason"] == "column 'x_0' holds 'nan'; expected a finite number, as this model takes no other"
    assert refused.bad == 2


def test_text_that_is_not_utf8_is_bad_where_the_model_reads_it_and_kept_where_not(tmp_path, work):
    file = write(tmp_path / "a.csv", HEADER.encode() + b"\n\xff,1,2,a\n7,1,2,\xff\n")
    manifest = run(file, work)
    assert Path(manifest.parts[0].path).read_bytes().splitlines()[1:] == [b'\xff,1,2,a,3,"[2,4]",A', b"7,1,2,\xff,,,"]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"id,x_0,x_1,text", 0),
        (b"id,x_0,x_1,text\r\n", 0),
        (b"\xef\xbb\xbfid,x_0,x_1,text\r\n7,1,2,a\r\n", 1),
        (b"id,x_0,x_1,text\n\n7,1,2,a\n\n\n8,1,2,a", 2),
        (b'\xef\xbb\xbf"id","x_0",x_1,text\n7,1,2,"a\r\n"\n', 1),
        (b'id,x_0,x_1,text\n7 "big",1,2,a\n8,1,2,"a"b\n', 2),
    ],
)
def test_marks_breaks_and_empty_lines(tmp_path, work, data, rows):
    manifest = run(write(tmp_path / "a.csv", data), work)
    written = Path(manifest.parts[0].path).read_bytes()
    assert (manifest.rows, manifest.bad) == (rows, 0)
    assert written.startswith(b"\xef\xbb\xbf") == data.startswith(b"\xef\xbb\xbf")
    assert written.endswith(b"\r\n" if b"\r\n" in data.split(b"text")[1] and b'"a' not in data else b"\n")
    assert [row[4] for row in csv_rows(manifest)] == ["3"] * rows


def test_a_wide_field_is_kept_in_a_row_of_another_width(tmp_path, work):
    wide = "w" * 200_000
    manifest = run(write(tmp_path / "a.csv", [f"{HEADER},{wide}", f"1,1,1,{wide}", f"2,2,2,{wide},b,c"]), work)
    assert [item["reason"][:22] for item in errors(manifest)] == ["the row has 4 fields; ", "the row has 6 fields; "]
    assert [row[:5] for row in csv_rows(manifest)] == [["1", "1", "1", wide, ""], ["2", "2", "2", wide, "b"]]


def test_a_quote_that_is_never_closed_is_one_bad_row(tmp_path, work):
    manifest = run(write(tmp_path / "a.csv", [HEADER, "1,1,1,a", '2,2,2,"b', "3,3,3,c"]), work)
    assert (manifest.rows, manifest.bad) == (2, 1)
    assert "each quote closed" in errors(manifest)[0]["reason"]
    assert csv_rows(manifest)[1] == ["2", "2", "2", "b\n3,3,3,c", "", "", ""]


def test_a_quote_that_would_take_all_memory_is_refused(tmp_path, work, monkeypatch):
    monkeypatch.setattr("scoring.lines.ROW_BYTES", 1000)
    monkeypatch.setattr("scoring.lines.BLOCK_BYTES", 500)
    with pytest.raises(FileUnreadable, match="a quote that is not closed"):
        run(write(tmp_path / "a.csv", [HEADER, '1,1,1,"a', *["2,2,2,b"] * 1000]), work)


@pytest.mark.parametrize(
    ("header", "error", "match"),
    [
        (
            "id,x_0,text",
            ColumnsMissing,
            r"has no column 'x_1'; input 'x' \(FP32 \[-1, 2\]\) needs 'x_0' to 'x_1'; found 'id', 'x_0', 'text'",
        ),
        ("x_0,x_0,x_1,text", ColumnsMissing, "2 columns 'x_0'"),
        ("x_0,x_1,text,label", OutputTaken, "has a column 'label' already.*give a prefix"),
        ("", FileUnreadable, "has no header"),
        ("id,x_0\rx_1,text", FileUnreadable, r"can't be read as CSV .*not by \\r alone"),
    ],
)
def test_columns_are_looked_at_before_anything_runs(tmp_path, work, header, error, match):
    with pytest.raises(error, match=match):
        run(write(tmp_path / "a.csv", [header, "1,2,3,4"]), work)
    assert not work.exists()


def test_columns_can_be_named_and_outputs_prefixed(tmp_path, work):
    file = write(tmp_path / "a.csv", ["height,width,text,label", "1,2,a,b"])
    manifest = run(file, work, columns={"x": ["width", "height"]}, prefix="predicted_")
    assert (
        Path(manifest.parts[0].path).read_text().splitlines()[0] == "height,width,text,label,predicted_total,predicted_pair,predicted_label"
    )
    assert csv_rows(manifest)[0][5] == "[4,2]"


FIELD = st.text(st.sampled_from('a,"\n\r é1'), max_size=6)
ROWS = st.lists(st.tuples(FIELD, st.sampled_from(["1", "2.5", "x", "", "13"]), FIELD), max_size=30)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, shard_bytes=st.integers(1, 200), block=st.sampled_from([7, 64, 4096]), end=st.sampled_from(["\n", "\r\n"]))
def test_shards_of_any_size_make_the_same_rows(rows, shard_bytes, block, end):
    """Whatever is quoted, each row is in one shard, in order, and numbered as in the file."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator=end)
    writer.writerow(["note", "x_0", "x_1", "text"])
    writer.writerows([note, x, "1", text] for note, x, text in rows)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = write(Path(folder) / "a.csv", out.getvalue())
        whole = run(file, Path(folder) / "whole")
        patch.setattr("scoring.lines.BLOCK_BYTES", block)
        cut = run(file, Path(folder) / "cut", shard_bytes=shard_bytes)
        found, reasons = csv_rows(cut), errors(cut)
        assert found == csv_rows(whole)
        assert reasons == errors(whole)
    assert [row[:4] for row in found] == [[note, x, "1", text] for note, x, text in rows]
    bad = {number for number, (_, x, text) in enumerate(rows, 1) if x in {"x", "", "13"} or not text}
    assert {item["row"] for item in reasons} == bad
    assert [row[4] for row in found] == ["" if number in bad else f"{float(x) + 1:g}" for number, (_, x, _) in enumerate(rows, 1)]
    assert cut.rows == len(rows) == cut.scored + cut.bad
    assert cut.bad == len(bad)


@settings(deadline=None)
@given(st.text(st.sampled_from('a,"\n'), max_size=40))
def test_rows_end_where_pythons_csv_ends_them(text):
    """Also where quotes stand within unquoted fields."""
    ends = row_ends(text.encode(), quoted=True)
    whole = text[: int(ends[-1])] if len(ends) else ""
    assert len(ends) == len(list(csv.reader(io.StringIO(whole, newline=""))))
