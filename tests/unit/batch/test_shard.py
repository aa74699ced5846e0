"""One shard of a data set: scored once, by the version that was planned, and only as long as the file is the one that was."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import csv, json, parquet

from modelserve.errors import StoreUnavailable

from .data_sets import DataSetRefused


def test_rows_keep_their_columns_and_their_order(world):
    plan = world.plan(world.put("in/price/houses.csv"))
    (shard,) = world.shards(plan)
    report = world.shard(shard)
    assert (report["rows"], report["bad"]) == (3, 0)
    assert [(row["id"], row["rooms"], float(row["price"])) for row in world.rows("out/price/")] == [
        ("a", "1", 10.0),
        ("b", "2.5", 25.0),
        ("c", "4", 40.0),
    ]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_every_format_comes_back_as_what_it_was(world, suffix, tmp_path):
    file = tmp_path / f"houses.{suffix}"
    match suffix:
        case "csv":
            file.write_text("id,rooms\na,1\nb,2.5\n")
        case "jsonl":
            file.write_text('{"id":"a","rooms":1}\n{"id":"b","rooms":2.5}\n')
        case _:
            parquet.write_table(pa.table({"id": ["a", "b"], "rooms": [1, 2.5]}), file)
    world.s3.upload_file(str(file), world.bucket, f"sets/{file.name}")
    for shard in world.shards(world.plan(world.command(input=f"s3://{world.bucket}/sets/"))):
        world.shard(shard)
    (part,) = [key for key in world.keys("out/") if "/data/" in key]
    file.write_bytes(world.read(part))
    read = {"csv": csv.read_csv, "jsonl": json.read_json, "parquet": parquet.read_table}[suffix]
    assert part.endswith(suffix)
    assert read(file).to_pydict() == {"id": ["a", "b"], "rooms": [1, 2.5], "price": [10, 25]}


def test_a_promotion_in_between_changes_nothing(world):
    plan = world.plan(world.put("in/price/houses.csv"))
    world.release(20)
    for shard in world.shards(plan):
        world.shard(shard)
    assert [float(row["price"]) for row in world.rows("out/price/")] == [10.0, 25.0, 40.0]


@pytest.mark.parametrize("row_wise", [False, None])
def test_a_version_that_may_mix_rows_is_asked_row_by_row(world, row_wise):
    """One row less its mean is nothing, and three together are something else."""
    world.release(10, row_wise=row_wise, less_mean=True)
    result = world.score(world.put("in/price/houses.csv"))
    assert [float(row["price"]) for row in world.rows("out/price/")] == [0.0, 0.0, 0.0]
    assert result["batch_rows"] == 1


def test_a_shard_that_is_done_is_left_as_it_is(world):
    (shard,) = world.shards(world.plan(world.put("in/price/houses.csv")))
    report = world.shard(shard)
    when = {key: world.s3.head_object(Bucket=world.bucket, Key=key)["LastModified"] for key in world.keys("out/")}
    world.store.down = "nothing need be loaded"
    assert world.shard(shard) == report
    assert {key: world.s3.head_object(Bucket=world.bucket, Key=key)["LastModified"] for key in world.keys("out/")} == when


def test_a_file_that_has_changed_since_is_refused(world):
    (shard,) = world.shards(world.plan(world.put("in/price/houses.csv")))
    world.put("in/price/houses.csv", "id,rooms\nz,9\n")
    with pytest.raises(DataSetRefused, match=r"houses\.csv has changed since the run was planned"):
        world.shard(shard)


def test_a_shard_goes_by_the_plan_of_its_run(world):
    """Whatever has become of the one in the output."""
    plan = world.plan(world.put("in/price/houses.csv"))
    (shard,) = world.shards(plan)
    (copy,) = [key for key in world.keys("out/") if key.endswith("plan.json")]
    world.s3.put_object(Bucket=world.bucket, Key=copy, Body=b"{}")
    assert world.shard(shard)["rows"] == 3


def test_each_run_has_its_own_plan(world):
    """An environment gets shards of several runs."""
    one, other = (
        world.shards(world.plan(world.put(f"in/price/{name}.csv", rows))) for name, rows in (("a", "rooms\n1\n"), ("b", "rooms\n2\n3\n"))
    )
    assert [world.shard(shard)["rows"] for shard in (*one, *other, *one)] == [1, 2, 1]


def test_a_row_that_cant_be_scored_is_told(world):
    plan = world.plan(world.put("in/price/houses.csv", "id,rooms\na,1\nb,many\n"))
    (shard,) = world.shards(plan)
    assert world.shard(shard)["bad"] == 1
    assert [row["price"] for row in world.rows("out/price/")][1] == ""


def test_a_run_without_a_plan_is_refused(world):
    with pytest.raises(DataSetRefused, match="run 'never' has no plan"):
        world.shard({"run": "never", "shard": {"index": 0, "file": 0, "start": 0, "stop": 1}})


def test_what_may_pass_is_no_refusal(world):
    (shard,) = world.shards(world.plan(world.put("in/price/houses.csv")))
    world.store.down = "it is busy"
    with pytest.raises(StoreUnavailable):
        world.shard(shard)


def test_a_small_part_and_its_report_are_a_request_each(world, caplog):
    """Arrow sends three for each unless it is told not to."""
    (shard,) = world.shards(world.plan(world.put("in/price/houses.csv")))
    caplog.set_level("INFO", "werkzeug")
    caplog.clear()
    world.shard(shard)
    sent = [record.getMessage() for record in caplog.records if record.name == "werkzeug"]
    assert len([each for each in sent if '"PUT ' in each or '"POST ' in each]) == 2
