"""Exporters that name by a running count, and order as a set has it, leave the same bytes."""

import random

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from tools.modelctl.frameworks.tidy import renumber

FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
STATE: list[str | int] = ["rows", 2]


def exported(seed: int) -> ModelProto:
    """Adds two constants to x three times in a loop, whose last output copies the one before it, or is copied by it."""
    drawn = random.Random(seed)
    at = drawn.randrange(1000)
    x, y, again, copy = (f"{name}__{at + place}" for place, name in enumerate(("x", "Add", "Add_1", "Identity")))
    outputs = [again, copy] if drawn.random() < 0.5 else [copy, again]
    body = helper.make_graph(
        [
            helper.make_node("Add", [x, f"one__{at}"], [y], name=y),
            helper.make_node("Add", [y, f"two__{at}"], [again], name=again),
            helper.make_node("Identity", [again], [copy], name=copy),
            helper.make_node("Identity", [f"go__{at}"], [f"on__{at}"]),
        ],
        f"body__{at}",
        [
            helper.make_tensor_value_info(f"i__{at}", INT64, []),
            helper.make_tensor_value_info(f"go__{at}", BOOL, []),
            helper.make_tensor_value_info(x, FLOAT, [f"unk__{at}", 2]),
        ],
        [
            helper.make_tensor_value_info(f"on__{at}", BOOL, []),
            *(helper.make_tensor_value_info(name, FLOAT, [f"unk__{at}", 2]) for name in outputs),
        ],
    )
    stored = [numpy_helper.from_array(np.array(value, np.float32), f"{name}__{at}") for value, name in ((1, "one"), (2, "two"))]
    stored += [numpy_helper.from_array(np.array(3), f"trips__{at}"), numpy_helper.from_array(np.array(True), f"start__{at}")]
    drawn.shuffle(stored)
    loop = helper.make_node("Loop", [f"trips__{at}", f"start__{at}", "input"], ["last", "each"], body=body, name=f"loop__{at}")
    graph = helper.make_graph(
        [loop],
        "net",
        [helper.make_tensor_value_info("input", FLOAT, STATE)],
        [helper.make_tensor_value_info("last", FLOAT, STATE), helper.make_tensor_value_info("each", FLOAT, [3, *STATE])],
        stored,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def run(model: ModelProto) -> list[np.ndarray]:
    checker.check_model(model)
    found: list[np.ndarray] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": np.zeros((4, 2), np.float32)})
    return found


@pytest.mark.parametrize("seed", range(1, 6))
def test_what_was_exported_again_is_the_same_bytes_and_answers_as_before(seed: int) -> None:
    first, again = exported(0), exported(seed)
    expected = run(again)
    assert first.SerializeToString() != again.SerializeToString()
    for model in (first, again):
        renumber(model.graph)
    assert first.SerializeToString() == again.SerializeToString()
    assert all(np.array_equal(found, wanted) for found, wanted in zip(run(again), expected, strict=True))
    assert expected[0].tolist() == [[9, 9]] * 4
