"""What becomes of the records of a stream: told, told as failed, or asked for again."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
from onnx import TensorProto, helper

from modelserve.errors import ModelNotReady
from modelserve.events import FAILED, MADE
from modelserve.settings import SettingsError
from tests.unit.modelserve.factories import VERSION
from tests.unit.modelserve.graphs import graph, identity, scaled, value

from .streams import World, dynamodb, kinesis

GOOD = {"x": [1, 2, 3]}


def probable() -> bytes:
    """`probabilities` are what the record says of two labels."""
    node = helper.make_node("Identity", ["p"], ["probabilities"])
    shape = ("rows", 2)
    return graph([node], [value("p", "FP32", shape)], [value("probabilities", "FP32", shape)])


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_every_record_is_told_by_one_event(world):
    world.start(scaled(2))
    assert world.send(kinesis(1, GOOD, key="a"), dynamodb(2, {"x": {"L": [{"N": "4"}, {"N": "5"}, {"N": "6"}]}})) == []
    first, second = world.bus.events
    assert (first.kind, second.kind) == (MADE, MADE)
    assert first.detail == {
        "id": "shardId-000000000000:49540001",
        "model_name": "sample",
        "model_version": VERSION,
        "key": "a",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [2.0, 4.0, 6.0]}],
    }
    assert (second.detail["key"], second.detail["outputs"][0]["data"]) == ({"payment": "p2"}, [8.0, 10.0, 12.0])


def test_records_run_together(world, monkeypatch):
    world.start(identity())
    world.model.row_wise = True
    ran = []
    run = world.model.run

    def counted(inputs, *args, **kwargs):
        ran.append(inputs[0].shape)
        return run(inputs, *args, **kwargs)

    monkeypatch.setattr(world.model, "run", counted)
    world.send(*(kinesis(number, GOOD) for number in range(7)))
    assert ran == [(7, 3)]


def test_the_same_record_has_the_same_id_each_time(world):
    world.start(identity())
    world.send(kinesis(1, GOOD))
    world.send(kinesis(1, GOOD))
    assert len({event.detail["id"] for event in world.bus.events}) == 1


def test_bad_records_are_told_and_the_stream_goes_on(world):
    world.start(identity())
    assert world.send(kinesis(1, b"?", key="bad"), kinesis(2, GOOD, key="good"), kinesis(3, {"x": [1]}, key="short")) == []
    assert world.bus.told() == [(FAILED, "bad"), (MADE, "good"), (FAILED, "short")]
    failed = world.bus.events[0].detail
    assert failed.keys() == {"id", "model_name", "model_version", "key", "error", "status"}
    assert failed["status"] == 400
    assert "no JSON object" in failed["error"]


def test_a_key_of_38_digits_is_told_as_it_is_and_its_neighbours_too(world):
    world.start(identity())
    record = dynamodb(2, {"x": {"L": [{"N": "9" * 38}, {"N": "2"}, {"N": "3"}]}})
    record["dynamodb"]["Keys"] = {"id": {"N": "1234567890" * 3}}
    assert world.send(kinesis(1, GOOD, key="a"), record) == []
    assert world.bus.told() == [(MADE, "a"), (MADE, {"id": "1234567890" * 3})]


def test_a_deleted_item_is_passed_over(world):
    world.start(identity())
    assert world.send(dynamodb(1, None)) == []
    assert world.bus.events == []


def test_a_model_that_can_not_answer_yet_is_asked_for_all_of_it_again(world):
    world.start(identity())
    world.error = ModelNotReady("sample", "nothing is promoted")
    assert world.send(dynamodb(1, None), kinesis(2, GOOD), kinesis(3, GOOD)) == ["49540002"]
    assert world.bus.events == []


def test_what_came_before_a_passing_failure_is_told_and_the_rest_begun_again(world, monkeypatch):
    world.start(identity())
    run = world.model.run

    def failing(inputs, *args, **kwargs):
        if np.frombuffer(inputs[0].data, "<f4")[0] == 9:
            raise ModelNotReady("sample", "for now")
        return run(inputs, *args, **kwargs)

    monkeypatch.setattr(world.model, "run", failing)
    assert world.send(kinesis(1, GOOD, key="a"), kinesis(2, {"x": [9, 9, 9]}, key="b"), kinesis(3, GOOD, key="c")) == ["49540002"]
    assert world.bus.told() == [(MADE, "a")]


def test_records_without_time_left_are_begun_again(world):
    world.start(identity())
    assert world.send(kinesis(1, GOOD), seconds=1) == ["49540001"]


def test_an_event_that_the_bus_refuses_is_begun_again_at(world):
    world.start(identity())
    world.bus.refused = {"shardId-000000000000:49540002"}
    assert world.send(*(kinesis(number, GOOD) for number in range(1, 4))) == ["49540002"]


def test_only_what_passes_the_filter_is_told(world):
    """0.7 in FP32 is a little less, and is written 0.7 all the same."""
    world.start(probable(), labels=("fraud", "genuine"), tell="fraud >= 0.7")
    rows = {"sure": [0.9, 0.1], "unsure": [0.5, 0.5], "edge": [0.7, 0.3]}
    assert world.send(*(kinesis(number, {"p": row}, key=key) for number, (key, row) in enumerate(rows.items()))) == []
    assert world.bus.told() == [(MADE, "sure"), (MADE, "edge")]


def test_where_to_begin_again_counts_what_was_not_worth_telling(world):
    world.start(probable(), labels=("fraud", "genuine"), tell="fraud >= 0.7")
    world.bus.refused = {"shardId-000000000000:49540002"}
    assert world.send(kinesis(1, {"p": [0.1, 0.9]}), kinesis(2, {"p": [0.9, 0.1]}), kinesis(3, {"p": [0.9, 0.1]})) == ["49540002"]


def test_an_output_of_one_number_may_be_compared_too(world):
    node = helper.make_node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    world.start(graph([node], [value("x", "FP32", ("rows", 2))], [value("y", "FP32", ("rows", 1))], [axes]), tell="y <= -1.5")
    world.send(kinesis(1, {"x": [-1, -1]}, key="low"), kinesis(2, {"x": [1, 1]}, key="high"))
    assert world.bus.told() == [(MADE, "low")]


def test_a_filter_that_the_model_has_nothing_for_fails_each_record_with_what_there_is(world):
    world.start(probable(), labels=("fraud", "genuine"), tell="frauds >= 0.8")
    assert world.send(kinesis(1, {"p": [0.9, 0.1]}, key="a")) == []
    assert world.bus.told() == [(FAILED, "a")]
    assert "'frauds', which is neither a label" in world.bus.events[0].detail["error"]
    assert "labels: fraud, genuine; outputs: probabilities" in world.bus.events[0].detail["error"]


@pytest.mark.parametrize("tell", ["fraud > 0.8", "fraud", "fraud >= much"])
def test_a_filter_that_is_none_starts_nothing(world, tell):
    with pytest.raises(SettingsError, match="TELL"):
        world.start(identity(), tell=tell)


def test_an_answer_that_fits_no_event_is_told_as_failed(world):
    world.start(identity("FP32", ("rows", 40_000)))
    assert world.send(kinesis(1, {"x": [0.123456] * 40_000}, key="large")) == []
    assert world.bus.told() == [(FAILED, "large")]
    assert "run the model by jobs" in world.bus.events[0].detail["error"]


def test_a_log_line_quotes_nothing_of_a_record(world, capsys):
    world.start(identity())
    world.send(kinesis(1, {"x": "do-not-tell"}), kinesis(2, b"do-not-tell"))
    said = capsys.readouterr().out
    assert [orjson.loads(line)["message"] for line in said.splitlines() if "message" in line] == ["record failed"] * 2 + ["records"]
    assert "do-not-tell" not in said
