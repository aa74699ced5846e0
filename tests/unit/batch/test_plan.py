"""What becomes of what an execution is started with: a plan, nothing, or a refusal that says what to do."""

from __future__ import annotations

import orjson
import pytest

from modelserve.errors import StoreUnavailable

from .data_sets import EXECUTION, DataSetRefused, Planner

ANOTHER = EXECUTION.replace("first", "another")


def test_an_upload_is_run_by_the_model_whose_folder_it_is_in(world):
    plan = world.plan(world.put("in/price/year/houses.csv"))
    assert (plan["model"], plan["version"], plan["count"]) == ("price", world.plan(world.command())["version"], 1)
    (found,) = [key for key in world.keys("out/") if key.endswith("plan.json") and "houses" in key]
    assert found == f"out/price/houses-{plan['run']}/plan.json"


def test_the_shards_are_listed_for_the_map(world):
    plan = world.plan(world.put("in/price/houses.csv"))
    assert plan["shards"] == f"work/{plan['run']}/shards.json"
    (shard,) = orjson.loads(world.read(plan["shards"]))
    assert (shard["index"], shard["file"]) == (0, 0)


def test_an_upload_that_is_told_twice_is_run_once(world):
    upload = world.put("in/price/houses.csv")
    first = world.plan(upload)
    assert world.plan(upload, ANOTHER) == {"nothing": "another execution has the run", "run": first["run"]}


def test_what_was_planned_by_this_execution_is_planned_alike_again(world):
    """Lambda may run it twice, and the machine tries it again."""
    upload = world.put("in/price/houses.csv")
    assert world.plan(upload) == world.plan(upload)


def test_the_same_file_uploaded_again_is_another_run(world):
    assert world.plan(world.put("in/price/houses.csv"))["run"] != world.plan(world.put("in/price/houses.csv"))["run"]


@pytest.mark.parametrize("key", ["in/", "in/price/", "in/price/_SUCCESS", "in/price/.houses.csv.crc", "in/_SUCCESS"])
def test_markers_are_no_data(world, key):
    assert world.plan(world.put(key, "")) == {"nothing": "it is no data"}
    assert world.keys("work/") == []


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("in/houses.csv", r"s3://data-\d+/in/houses.csv names no model; put it below in/NAME/"),
        ("in/garden/houses.csv", "no model 'garden' is served here; served: price, unpromoted"),
        ("in/unpromoted/houses.csv", "no version of 'unpromoted' is promoted to 'production'; run: modelctl promote unpromoted"),
        ("in/price/houses.xlsx", "houses.xlsx"),
    ],
)
def test_an_upload_that_cant_be_run_says_why(world, key, reason):
    with pytest.raises(DataSetRefused, match=reason):
        world.plan(world.put(key))


def test_columns_that_are_missing_are_known_before_anything_runs(world):
    with pytest.raises(DataSetRefused, match=r"s3://data-\d+/in/price/houses\.csv .*'rooms'"):
        world.plan(world.put("in/price/houses.csv", "id,floors\na,1\n"))
    assert [key for key in world.keys("work/") if key.endswith("shards.json")] == []


def test_columns_may_be_named(world):
    world.put("in/price/houses.csv", "id,zimmer\na,1\n")
    assert world.plan(world.command(columns={"rooms": ["zimmer"]}))["count"] == 1


def test_a_bucket_of_the_settings_can_be_read_from_and_written_to(world):
    world.s3.put_object(Bucket="ours", Key="houses/1.csv", Body=b"rooms\n1\n")
    assert world.plan(world.command(input="s3://ours/houses/", output="s3://ours/priced"))["count"] == 1
    assert world.s3.head_object(Bucket="ours", Key="priced/plan.json")


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"input": "s3://theirs/houses.csv"}, "input s3://theirs/houses.csv is in a bucket .* add 'theirs' to data_set_buckets"),
        ({"output": "s3://theirs/priced/"}, "output s3://theirs/priced/ is in a bucket .* add 'theirs' to data_set_buckets"),
        ({"input": "s3://theirs/houses.csv"}, "under a KMS key of its own can't be used"),
        ({"input": "s3://ours/", "output": "s3://ours/out/"}, "output s3://ours/out/ and input s3://ours/ lie within each other"),
        ({"input": "s3://ours/out", "output": "s3://ours/out/"}, "give an output beside the input"),
        ({"input": "s3://ours/out/data/", "output": "s3://ours/out/"}, "lie within each other"),
        (
            {"output": "s3://BUCKET/out/../in/price/"},
            r"BUCKET/out/\.\./in/price/ has an empty part, '\.' or '\.\.' in its path",
        ),
        ({"output": "s3://ours/out//x/"}, "has an empty part"),
        ({"output": "s3://BUCKET/in/price/"}, "output s3://BUCKET/in/price/ is not below out/ of the deployment's own bucket"),
        ({"input": "s3://BUCKET/work/x/"}, "input s3://BUCKET/work/x/ is not below in/ or sets/ or out/"),
        ({"input": "houses.csv"}, "input 'houses.csv' is no address in S3"),
        ({"input": None}, r'expected \{"run"'),
        ({"model": 3}, r'expected \{"run"'),
        ({"run": "../other"}, r'expected \{"run"'),
        ({"columns": ["rooms"]}, r'expected \{"run"'),
        ({"columns": {"rooms": 1}}, r'expected \{"run"'),
        ({"alias": "staging"}, "no version of 'price' is promoted to 'staging'"),
    ],
)
def test_what_a_run_may_not_use_is_refused(world, asked, reason):
    here = {name: each.replace("BUCKET", world.bucket) if isinstance(each, str) else each for name, each in asked.items()}
    with pytest.raises(DataSetRefused, match=reason.replace("BUCKET", world.bucket)):
        world.plan(world.command(**here))


def test_an_output_beside_the_input_is_taken(world):
    """Also where one is named as the other begins."""
    world.s3.put_object(Bucket="ours", Key="houses/1.csv", Body=b"rooms\n1\n")
    assert world.plan(world.command(input="s3://ours/houses/", output="s3://ours/houses-priced/"))["count"] == 1


def test_an_upload_that_was_uploaded_anew_at_once_is_run_once(world):
    """EventBridge tells of both, and the first one is no longer there."""
    first, second = world.put("in/price/houses.csv"), world.put("in/price/houses.csv", "id,rooms\nz,9\n")
    assert world.plan(first)["nothing"] == f"s3://{world.bucket}/in/price/houses.csv has been uploaded anew, which is another run"
    assert world.keys("out/") == []
    assert world.plan(second, ANOTHER)["count"] == 1


def test_of_an_upload_that_was_uploaded_anew_there_is_nothing_to_go_on_with(world):
    first, _ = world.put("in/price/houses.csv"), world.put("in/price/houses.csv", "rooms\n9\n")
    run = world.plan(first)["run"]
    with pytest.raises(DataSetRefused, match=r"nothing to go on with: s3://.*/houses\.csv has been uploaded anew"):
        world.plan({"resume": run}, ANOTHER)


def test_the_setting_bounds_a_shard_and_a_run_keeps_its_bounds(world):
    world.put("in/price/houses.csv", "rooms\n" + "1.5\n" * 2**19)
    world.set(data_set_shard_megabytes=1)
    assert world.plan(world.command())["count"] == 2
    world.set(data_set_shard_megabytes=64)
    assert world.plan({"resume": "run-1"}, ANOTHER)["count"] == 2
    assert world.plan(world.command("run-2"))["count"] == 1


def test_two_runs_do_not_write_to_one_output(world):
    world.put("in/price/houses.csv")
    world.put("sets/flats.csv", "rooms\n1\n")
    world.plan(world.command())
    other = {"input": f"s3://{world.bucket}/sets/", "output": f"s3://{world.bucket}/out/price/run-1/"}
    with pytest.raises(DataSetRefused, match=rf"s3://{world.bucket}/out/price/run-1 holds .*give another output"):
        world.plan(world.command("run-2", **other))


def test_of_two_runs_that_begin_at_once_one_has_the_output(world, monkeypatch):
    """The other one comes between its look and its writing, and is left alone."""
    world.put("in/price/houses.csv")
    world.put("sets/flats.csv", "rooms\n1\n2\n")
    create = Planner._create

    def late(planner: Planner, path: str, body: bytes) -> None:
        monkeypatch.setattr(Planner, "_create", create)
        world.plan(world.command("run-2", input=f"s3://{world.bucket}/sets/", output=f"s3://{world.bucket}/out/price/run-1/"))
        create(planner, path, body)

    monkeypatch.setattr(Planner, "_create", late)
    with pytest.raises(DataSetRefused, match="give another output"):
        world.plan(world.command())
    (shard,) = world.shards({"run": "run-2", "shards": "work/run-2/shards.json"})
    assert world.shard(shard)["rows"] == 2


def test_a_plan_that_was_lost_is_made_of_the_same_files_or_not_at_all(world):
    world.put("in/price/houses.csv")
    world.plan(world.command())
    for key in world.keys("out/"):
        world.s3.delete_object(Bucket=world.bucket, Key=key)
    world.put("in/price/houses.csv", "rooms\n9\n")
    with pytest.raises(DataSetRefused, match=r"the files of run run-1 have changed .*start a new run"):
        world.plan({"resume": "run-1"}, ANOTHER)


def test_an_input_that_is_not_there_is_refused(world):
    with pytest.raises(DataSetRefused, match="in/price"):
        world.plan(world.command())


def test_a_run_goes_on_with_the_version_that_it_began_with(world):
    world.put("in/price/houses.csv")
    first = world.plan(world.command())
    world.release(20)
    again = world.plan({"resume": "run-1"}, ANOTHER)
    assert {**again, "failures": first["failures"]} == first
    assert again["failures"] == "work/run-1/failures/another"


@pytest.mark.parametrize("run", ["never", "../other", ""])
def test_there_must_be_a_run_to_go_on_with(world, run):
    with pytest.raises(DataSetRefused, match="there is no run"):
        world.plan({"resume": run})


def test_what_may_pass_is_no_refusal(world):
    """The machine tries it again."""
    upload = world.put("in/price/houses.csv")
    world.store.down = "it is busy"
    with pytest.raises(StoreUnavailable):
        world.plan(upload)
