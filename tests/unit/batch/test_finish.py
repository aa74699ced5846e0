"""How a data set ends: with a manifest and an event, or with an event that says what went wrong."""

from __future__ import annotations

import orjson
import pytest

from functions.batch.finish import DATA_SET_FAILED, DATA_SET_SCORED, EventNotSent

from .data_sets import EXECUTION, DataSetRefused

MAP_FAILED = {"Error": "States.ExceedToleratedFailureThreshold", "Cause": "The specified tolerated failure threshold was exceeded"}


def raised(kind: str, message: str) -> dict[str, str]:
    """What a Catch of Step Functions gets of a function that raised."""
    cause = orjson.dumps({"errorMessage": message, "errorType": kind, "requestId": "1", "stackTrace": []})
    return {"Error": kind, "Cause": cause.decode()}


def note(world, plan, number, failure, *, twice=False):
    """What the machine keeps of a shard that failed; `twice` as a JSON string within JSON."""
    body = orjson.dumps(failure)
    world.s3.put_object(Bucket=world.bucket, Key=f"{plan['failures']}/{number}.json", Body=orjson.dumps(body.decode()) if twice else body)


def test_a_run_ends_with_its_manifest_and_an_event(world):
    upload = world.put("in/price/houses.csv", "id,rooms\na,1\nb,many\n")
    result = world.score(upload)
    (event,) = world.bus.events
    assert (event.kind, event.detail) == (DATA_SET_SCORED, result)
    output = f"s3://{world.bucket}/out/price/houses-{result['run']}/"
    assert result == {
        "run": result["run"],
        "model_name": "price",
        "model_version": result["model_version"],
        "input": f"s3://{world.bucket}/in/price/houses.csv",
        "output": output,
        "rows": 2,
        "bad": 1,
        "batch_rows": 4096,
        "manifest": f"{output}manifest.json",
        "errors": f"{output}errors.jsonl",
        "execution": EXECUTION,
    }
    manifest = orjson.loads(world.read(f"out/price/houses-{result['run']}/manifest.json"))
    assert (manifest["rows"], manifest["bad"], manifest["version"]) == (2, 1, result["model_version"])


def test_without_bad_rows_there_is_no_file_of_errors(world):
    world.score(world.put("in/price/houses.csv"))
    (event,) = world.bus.events
    assert "errors" not in event.detail
    assert not [key for key in world.keys("out/") if key.endswith("errors.jsonl")]


def test_a_run_with_a_shard_missing_does_not_end_well(world):
    upload = world.put("in/price/houses.csv")
    with pytest.raises(DataSetRefused):
        world.finish({**upload, "plan": world.plan(upload)})
    assert world.bus.events == []


def test_an_event_that_is_not_taken_is_tried_again(world):
    world.bus.down = True
    with pytest.raises(EventNotSent):
        world.score(world.put("in/price/houses.csv"))


def test_a_failed_plan_is_told_with_its_reason(world):
    upload = world.put("in/garden/houses.csv")
    with pytest.raises(DataSetRefused):
        world.plan(upload)
    told = world.finish({**upload, "failure": raised("DataSetRefused", "no model 'garden' is served here")})
    assert told == {"error": "DataSetRefused", "cause": "no model 'garden' is served here"}
    (event,) = world.bus.events
    assert event.kind == DATA_SET_FAILED
    assert (event.detail["model_name"], event.detail["error"]) == ("garden", "no model 'garden' is served here")
    assert event.detail["resume"] == f"modelctl batch --resume {event.detail['run']}"


def test_of_a_run_that_never_was_nobody_is_told_to_go_on_with_it(world):
    asked = world.command(output="s3://theirs/")
    world.finish({**asked, "failure": raised("DataSetRefused", "it may not use theirs")})
    world.finish({**world.command(), "failure": raised("StoreUnavailable", "S3 is down")})
    assert [event.detail.get("resume") for event in world.bus.events] == [None, None]


@pytest.mark.parametrize("error", ["Sandbox.Timedout", "States.Timeout"])
def test_shards_that_took_too_long_say_once_what_makes_them_faster(world, error):
    upload = world.put("in/price/houses.csv")
    plan = world.plan(upload)
    for number in range(4):
        note(world, plan, number, {"Error": error, "Cause": f'{{"errorMessage": "RequestId: {number} Error: Task timed out"}}'})
    note(world, plan, 4, raised("DataSetRefused", "shard 4 has changed"))
    told = world.finish({**upload, "plan": plan, "failure": MAP_FAILED})
    assert told["cause"].count("a shard took longer than data_set_timeout") == 1
    for advice in ("job_memory", "smaller data_set_shard_megabytes", "row group of a Parquet file is never split"):
        assert advice in told["cause"]
    assert told["cause"].endswith("; shard 4 has changed")


def test_a_request_that_cant_be_read_is_told_by_its_address(world):
    upload = world.put("in/houses.csv")
    world.finish({**upload, "failure": raised("DataSetRefused", "names no model")})
    (event,) = world.bus.events
    assert event.detail == {"input": f"s3://{world.bucket}/in/houses.csv", "error": "names no model", "execution": EXECUTION}


@pytest.mark.parametrize("twice", [False, True])
def test_of_a_failed_map_the_reasons_of_its_shards_are_told(world, twice):
    upload = world.put("in/price/houses.csv")
    plan = world.plan(upload)
    for number in range(5):
        note(world, plan, number, raised("DataSetRefused", f"shard {number} has changed"), twice=twice)
    told = world.finish({**upload, "plan": plan, "failure": MAP_FAILED})
    assert told["error"] == "DataSetRefused"
    assert told["cause"] == "shard 0 has changed; shard 1 has changed; shard 2 has changed; and 2 more shards failed"


def test_reasons_of_an_earlier_execution_are_not_told_again(world):
    upload = world.put("in/price/houses.csv")
    note(world, world.plan(upload), 0, raised("DataSetRefused", "long ago"))
    told = world.finish({**upload, "plan": world.plan(upload), "failure": MAP_FAILED}, EXECUTION.replace("first", "second"))
    assert told == {"error": "DataSetFailed", "cause": MAP_FAILED["Cause"]}  # Step Functions keeps the other name for itself


def test_a_resumed_run_is_told_as_the_run_that_it_is(world):
    world.put("in/price/houses.csv")
    plan = world.plan(world.command())
    world.finish({"resume": "run-1", "plan": plan, "failure": {"Error": "Sandbox.Timedout", "Cause": "Task timed out"}})
    (event,) = world.bus.events
    assert (event.detail["run"], event.detail["model_name"], event.detail["error"]) == ("run-1", "price", "Task timed out")
