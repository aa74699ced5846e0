"""An answer is held against what ONNX Runtime itself says."""

from __future__ import annotations

import json
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.image.docker import ImageError
from tests.image.predictions import check_answer, expected

OUTPUTS: dict[str, list[Any]] = {"label": ["apple"], "probabilities": [0.75, 0.25]}


def an_answer(**changes):
    values = {**OUTPUTS, **changes}
    return {"model_name": "fruit", "outputs": [{"name": name, "data": data} for name, data in values.items() if data is not None]}


def test_the_request_goes_through_onnx_runtime(tmp_path):
    twice = helper.make_node("Add", ["x", "x"], ["y"])
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in ("x", "y")]
    graph = helper.make_graph([twice], "twice", sides[:1], sides[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), tmp_path / "model.onnx")
    request = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    assert expected(tmp_path / "model.onnx", json.dumps(request).encode()) == {"y": [2, 4, 6, 8]}


def test_numbers_may_differ_by_a_rounding():
    check_answer(an_answer(probabilities=[0.750001, 0.249999]), OUTPUTS)


@pytest.mark.parametrize(
    "changes", [{"label": ["lemon"]}, {"probabilities": [0.76, 0.24]}, {"probabilities": [0.75]}, {"probabilities": None}, {"label": [0]}]
)
def test_another_answer_is_refused_with_both(changes):
    with pytest.raises(ImageError, match=r"fruit answered (label|probabilities) = .*ONNX Runtime itself says"):
        check_answer(an_answer(**changes), OUTPUTS)
