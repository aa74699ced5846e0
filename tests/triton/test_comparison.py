import json
from typing import Any

import pytest

from modelserve.endpoints import Response
from tests.triton.comparison import difference

NAMES = {"sample_gpu": "sample", "20261120T174100Z-2222222b": "20261120T174100Z-1111111a"}


def answer(*data: float, name: str = "sample", version: str = "20261120T174100Z-1111111a", **output: Any) -> Response:
    tensor = {"name": "y", "datatype": "FP32", "shape": [len(data)], "data": list(data), **output}
    document = {"model_name": name, "model_version": version, "outputs": [tensor]}
    return Response(200, {"Content-Type": "application/json"}, json.dumps(document).encode())


def error(text: str, status: int = 400) -> Response:
    return Response(status, {"Content-Type": "application/json"}, json.dumps({"error": text}).encode())


@pytest.mark.parametrize(
    "other",
    [
        answer(1.0, 2.0, name="sample_gpu", version="20261120T174100Z-2222222b"),
        answer(1.0, 2.000001, name="sample_gpu"),
    ],
)
def test_the_same_numbers_under_other_names_are_the_same(other: Response):
    assert difference(answer(1.0, 2.0), other, NAMES) == ""


@pytest.mark.parametrize(
    "other",
    [
        answer(1.0, 2.00001),
        answer(1.0),
        answer(1.0, 2.0, name="another"),
        answer(1.0, 2.0, version="20261120T174100Z-3333333c"),
        answer(1.0, 2.0, datatype="FP64"),
        answer(1.0, 2.0, shape=[1, 2]),
        answer(1.0, 2.0, parameters={}),
        error("the model is away", 503),
    ],
)
def test_any_other_answer_is_a_difference(other: Response):
    assert difference(answer(1.0, 2.0), other, NAMES)


def test_binary_data_is_compared_by_its_numbers():
    def binary(data: bytes) -> Response:
        header = json.loads(answer().body)
        header["outputs"] = [{"name": "y", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}]
        text = json.dumps(header).encode()
        return Response(200, {"Inference-Header-Content-Length": str(len(text))}, text + data)

    one, near, far = (bytes.fromhex(digits) for digits in ("0000803f", "0100803f", "0000813f"))
    assert difference(binary(one), binary(near), NAMES) == ""
    assert "expected" in difference(binary(one), binary(far), NAMES)
    assert "behind" in difference(binary(one), binary(one + b"!"), NAMES)


def test_a_refusal_is_compared_in_its_words_but_for_the_engines_own():
    assert difference(error("no input 'x'"), error("no input 'x'"), NAMES) == ""
    assert difference(error("no input 'x'"), error("no input 'y'"), NAMES)
    failed = "model {!r} could not run on this input: {}"
    assert difference(error(failed.format("sample", "out of bounds")), error(failed.format("sample_gpu", "idx=9")), NAMES) == ""
    assert difference(error(failed.format("sample", "out of bounds")), error("no input 'x'"), NAMES)
