"""Parquet in, the same columns with predictions out."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from scoring import ColumnsMissing, FileUnreadable, OutputTaken, join, plan
from scoring.footers import Footer
from scoring.thrift import decode, encode
from tests.unit.scoring.factories import DISK, Adder, errors, run, shards, table, write

ORDINAL, I16 = 7, 4


def rows(count: int) -> pa.Table:
    """Beside what the model reads, columns of types that not every writer keeps."""
    found = pa.table(
        {
            "when": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * count, pa.timestamp("ns", "Europe/Paris")),
            "x_0": pa.array([float(number) if number != 13 else 1.0 for number in range(count)], pa.float64()),
            "kind": pa.array([f"k{number % 3}" for number in range(count)]).dictionary_encode(),
            "price": pa.array([Decimal("1.25")] * count, pa.decimal128(20, 2)),
            "x_1": pa.array([1] * count, pa.int16()),
            "nested": pa.array([{"a": [number, None], "b": {"c": "d"}} for number in range(count)]),
            "text": pa.array([f"t{number}" for number in range(count)]).dictionary_encode(),
        }
    )
    return (found if count else rows(1).slice(1)).replace_schema_metadata({"owner": "somebody"})


def number_groups(path: Path) -> None:
    """As parquet-mr writes it, each row group says which of its file it is."""
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    fields = decode(data[start:-8])
    for number, group in enumerate(fields[4][1][1]):
        group[ORDINAL] = (I16, number)
    path.write_bytes(data[:start] + encode(fields) + len(encode(fields)).to_bytes(4, "little") + b"PAR1")


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip"])
def test_columns_stay_as_they_are_and_outputs_stand_behind(tmp_path, work, compression):
    source = rows(100)
    parquet.write_table(source, tmp_path / "a.parquet", row_group_size=30, compression=compression, write_page_index=True)
    manifest = run(tmp_path / "a.parquet", work)
    found, source = table(manifest), parquet.read_table(tmp_path / "a.parquet")
    assert found.drop_columns(["total", "pair", "label"]).equals(source, check_metadata=True)
    assert found["total"].to_pylist() == [x + 1 for x in source["x_0"].to_pylist()]
    assert found["pair"].to_pylist() == [[2 * x, 2.0] for x in source["x_0"].to_pylist()]
    assert found["label"].to_pylist() == [text.upper() for text in source["text"].to_pylist()]
    assert [str(field.type) for field in found.schema][-3:] == ["float", "list<element: float>", "string"]
    metadata = parquet.read_metadata(manifest.parts[0].path)
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [30, 30, 30, 10]
    codecs = {metadata.row_group(0).column(index).compression for index in range(metadata.num_columns)}
    assert codecs == {"UNCOMPRESSED" if compression == "none" else compression.upper()}


def test_one_file_of_all_parts_is_read_by_what_arrow_knows_of_its_row_groups(tmp_path, work):
    """Statistics of columns that were copied and of those that were added, the order they are sorted by, and their Arrow types."""
    data, order = tmp_path / "in", [parquet.SortingColumn(1)]
    data.mkdir()
    for name, part in (("a", rows(100).slice(0, 60)), ("b", rows(100).slice(60))):
        parquet.write_table(part, data / f"{name}.parquet", row_group_size=10, sorting_columns=order)
        number_groups(data / f"{name}.parquet")
    made = plan(DISK, str(data), Adder(), shard_bytes=1)
    assert len(made.shards) == 10
    shards(made, work)
    one = join(made, DISK, str(work), str(work / "one.parquet")).path
    found, source = parquet.read_table(one), pa.concat_tables(parquet.read_table(file) for file in sorted(data.iterdir()))
    assert found.drop_columns(["total", "pair", "label"]).equals(source, check_metadata=True)
    metadata = parquet.read_metadata(one)
    groups = [metadata.row_group(index) for index in range(10)]
    for group, start in zip(groups, range(0, 100, 10), strict=True):
        statistics = {group.column(index).path_in_schema: group.column(index).statistics for index in range(group.num_columns)}
        for column, more in (("x_0", 0), ("total", 1)):
            expected = source["x_0"].slice(start, 10).to_pylist()
            assert (statistics[column].min, statistics[column].max) == (min(expected) + more, max(expected) + more)
        assert group.sorting_columns == tuple(order)
    for column, least in (("x_0", 91), ("total", 92)):
        assert parquet.read_table(one, filters=[(column, ">=", least)])["x_0"].to_pylist() == list(range(91, 100))
    with DISK.open_input_file(one) as file:  # where a row group says which it is, it says so rightly
        assert [group.get(ORDINAL, (I16, number))[1] for number, group in enumerate(Footer.read(file, one).groups)] == list(range(10))


def test_bad_rows_get_no_prediction_and_a_reason(tmp_path, work):
    source = pa.table({"x": [[1, 2], None, [1], [1, None], [13, 1], [5, 6]], "text": ["a", "b", "c", "d", "e", None]})
    parquet.write_table(source, tmp_path / "a.parquet", row_group_size=2)
    manifest = run(tmp_path / "a.parquet", work)
    assert table(manifest)["total"].to_pylist() == [3, None, None, None, None, None]
    assert [(item["row"], item["reason"]) for item in errors(manifest)] == [
        (2, "column 'x' has no value; expected a list of 2, each a number (FP32)"),
        (3, "column 'x' holds a list of 1; expected a list of 2, each a number (FP32)"),
        (4, "column 'x' has no value; expected a number (FP32), at position 1 of the list"),
        (5, "model 'adder' could not run on this input: no 13, as in e"),
        (6, "column 'text' has no value; expected text (BYTES)"),
    ]


@pytest.mark.parametrize("groups", [[], [0], [0, 3, 0, 2]])
def test_row_groups_without_rows(tmp_path, work, groups):
    with parquet.ParquetWriter(tmp_path / "a.parquet", rows(1).schema) as writer:
        for size in groups:
            writer.write_table(rows(size))
    found = table(run(tmp_path / "a.parquet", work))
    assert found["total"].to_pylist() == [1 + number for size in groups for number in range(size)]
    assert found.column_names[-3:] == ["total", "pair", "label"]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda source: source.drop_columns(["x_1"]), ColumnsMissing, "no column 'x_1'"),
        (lambda source: source.append_column("label", source["x_1"]), OutputTaken, "'label'"),
        (
            lambda source: source.set_column(4, "x_1", source["text"]),
            ColumnsMissing,
            r"'x_1' of type dictionary.*expected a number \(FP32\)",
        ),
        (lambda source: source.set_column(6, "text", source["x_1"]), ColumnsMissing, r"'text' of type int16; expected text"),
    ],
)
def test_columns_are_looked_at_before_anything_runs(tmp_path, work, change, error, match):
    parquet.write_table(change(rows(3)), tmp_path / "a.parquet")
    with pytest.raises(error, match=match):
        run(tmp_path / "a.parquet", work)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + b"\x00" * 40 + b"\x10\x00\x00\x00PAR1", b"x" * 100, b"PAR1\xff\xff\xff\x7fPAR1"])
def test_what_is_no_parquet_is_refused(tmp_path, work, data):
    with pytest.raises(FileUnreadable, match="Parquet"):
        run(write(tmp_path / "a.parquet", data), work)


def test_files_of_a_folder_must_have_the_same_columns(tmp_path, work):
    parquet.write_table(rows(3), tmp_path / "a.parquet")
    parquet.write_table(rows(3).drop_columns(["price"]), tmp_path / "b.parquet")
    with pytest.raises(ColumnsMissing, match="other columns"):
        run(tmp_path, work)


def test_numbers_are_narrowed_as_the_api_narrows_them(tmp_path, work):
    source = pa.table({"x_0": pa.array([0.1, 1e300, np.inf]), "x_1": pa.array([Decimal("0.5")] * 3), "text": ["a"] * 3})
    parquet.write_table(source, tmp_path / "a.parquet")
    manifest = run(tmp_path / "a.parquet", work)
    assert table(manifest)["total"].to_pylist() == [float(np.float32(0.1) + np.float32(0.5)), None, np.inf]
    assert errors(manifest)[0]["reason"] == "column 'x_0' holds '1e+300'; expected a number that FP32 holds"


@settings(deadline=None, max_examples=15)
@given(count=st.integers(0, 40), group=st.integers(5, 50), shard_bytes=st.integers(1, 5000))
def test_shards_of_any_size_make_the_same_rows(count, group, shard_bytes):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.parquet"
        source = rows(count).set_column(1, "x_0", pa.array([None if number % 7 == 3 else number for number in range(count)], pa.int64()))
        parquet.write_table(source, file, row_group_size=group)
        whole, cut = run(file, Path(folder) / "whole"), run(file, Path(folder) / "cut", shard_bytes=shard_bytes)
        assert table(cut).equals(table(whole))
        assert table(cut).select(source.column_names).equals(source)
        assert [item["row"] for item in errors(cut)] == [number + 1 for number in range(count) if number % 7 == 3 or number == 13]
        assert cut.rows == count


def test_metadata_are_read_and_written_to_the_same_bytes():
    sink = io.BytesIO()
    parquet.write_table(rows(50), sink, row_group_size=1, write_page_index=True, sorting_columns=[parquet.SortingColumn(1)])
    data = sink.getvalue()
    footer = data[-8 - int.from_bytes(data[-8:-4], "little") : -8]
    assert encode(decode(footer)) == footer


@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_metadata(data):
    try:
        decode(data)
    except ValueError:
        return
