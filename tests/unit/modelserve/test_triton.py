"""Tensors on Triton's wire: there and back without a bit lost, and nothing taken on trust that comes back."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.errors import UnexpectedAnswer
from modelserve.manifest import TensorSpec
from modelserve.tensors import DATATYPES, Tensor, encode_bytes
from modelserve.triton import CONTENT_TYPE, decode_response, encode_request

from .strategies import anything, arrays, dumped, mutations, shapes

SPECS = (TensorSpec(name="y", datatype="FP32", shape=(-1, 2)), TensorSpec(name="label", datatype="BYTES", shape=(-1,)))
VALUES = np.arange(4, dtype="<f4").tobytes()
LABELS = encode_bytes(["ünï".encode(), b""])


def tensor(name: str, datatype: str, array: np.ndarray) -> Tensor:
    data = encode_bytes(list(array.flat)) if datatype == "BYTES" else array.tobytes()
    return Tensor(name, datatype, array.shape, data)


@st.composite
def several(draw: st.DrawFn) -> list[Tensor]:
    """Tensors of any datatype and shape."""
    names = draw(st.lists(st.text(min_size=1, max_size=5).filter(lambda name: name.isprintable()), min_size=1, max_size=4, unique=True))
    datatypes = [draw(st.sampled_from(sorted(DATATYPES))) for _ in names]
    return [tensor(name, kind, draw(arrays(kind, draw(shapes), finite=False))) for name, kind in zip(names, datatypes, strict=True)]


def output(name: str, datatype: str, shape: Any, size: Any, **keys: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}, **keys}


Y, LABEL = output("y", "FP32", [2, 2], 16), output("label", "BYTES", [2], len(LABELS))


def answer(*outputs: Any, data: bytes = b"", **keys: Any) -> bytes:
    return json.dumps({"model_name": "m", "model_version": "1", "outputs": list(outputs), **keys}).encode() + data


def told(body: bytes, data: bytes = VALUES + LABELS) -> str:
    return f"{CONTENT_TYPE}{len(body) - len(data)}"


GOOD = answer(Y, LABEL, data=VALUES + LABELS)


def as_answer(content_type: str, body: bytes) -> tuple[str, bytes]:
    """What a Triton that gives its inputs back would answer to a request."""
    size = int(content_type.removeprefix(CONTENT_TYPE))
    document = json.loads(body[:size])
    assert document["outputs"] == [{"name": item["name"], "parameters": {"binary_data": True}} for item in document["inputs"]]
    back = answer(*document["inputs"], data=body[size:])
    return told(back, body[size:]), back


@given(sent=several(), batched=st.booleans(), headed=st.booleans())
def test_every_tensor_of_every_datatype_comes_back(sent: list[Tensor], batched: bool, headed: bool):
    content_type, body = as_answer(*encode_request(sent, [each.name for each in sent], batched=batched))
    specs = [TensorSpec(name=each.name, datatype=each.datatype, shape=(-1,) * len(each.shape)) for each in sent]

    found = decode_response(content_type if headed else "", body, specs, archive=1, batched=batched)

    assert [(each.name, each.datatype, each.shape, bytes(memoryview(each.data))) for each in found] == [
        (each.name, each.datatype, each.shape, bytes(memoryview(each.data))) for each in sent
    ]


@pytest.mark.parametrize(
    ("shape", "batched", "wire"),
    [((), False, [1]), ((3,), False, [3]), ((3,), True, [3, 1]), ((3, 2), True, [3, 2]), ((3, 2), False, [3, 2])],
)
def test_a_scalar_has_a_dimension_on_the_wire_and_none_in_the_model(shape, batched, wire):
    """As config.pbtxt says it: with a batch `dims: [1]` and `reshape` for a tensor of rank 1, without one for rank 0."""
    numbers = Tensor("y", "FP64", shape, np.zeros(shape).tobytes())

    content_type, body = encode_request([numbers], ["y"], batched=batched)

    (item,) = json.loads(body[: int(content_type.removeprefix(CONTENT_TYPE))])["inputs"]
    assert item["shape"] == wire
    spec = TensorSpec(name="y", datatype="FP64", shape=shape)
    (found,) = decode_response(*as_answer(content_type, body), [spec], archive=1, batched=batched)
    assert found.shape == shape


def test_outputs_come_in_the_order_that_was_asked_for():
    swapped = answer(LABEL, Y, data=LABELS + VALUES)

    found = decode_response(told(swapped), swapped, SPECS, archive=1)

    assert [each.name for each in found] == ["y", "label"]
    assert [bytes(memoryview(each.data)) for each in found] == [VALUES, LABELS]


@pytest.mark.parametrize(
    "content_type",
    ["", "application/octet-stream", CONTENT_TYPE, CONTENT_TYPE + "-1", CONTENT_TYPE + "0", CONTENT_TYPE + "9" * 30, CONTENT_TYPE + "x"],
)
def test_without_a_size_of_the_object_it_ends_where_it_ends(content_type):
    """S3 keeps the answer of a queued request, and may not keep its content type."""
    assert [each.name for each in decode_response(content_type, GOOD, SPECS, archive=1)] == ["y", "label"]


HOSTILE = {
    "nothing": b"",
    "no JSON": b"<html>",
    "half of an object": GOOD[:40],
    "a list": b"[]",
    "deep nesting": b"[" * 100_000,
    "bytes that are no text": b'{"outputs": "\xff\xfe"}',
    "an object alone": b"{}",
    "outputs that are no list": b'{"outputs": {}}',
    "an output that is no object": answer(1),
    "an output missing": answer(Y, data=VALUES),
    "an output twice": answer(Y, Y, data=VALUES + VALUES),
    "an output of another name": answer(Y, output("z", "BYTES", [2], len(LABELS)), data=VALUES + LABELS),
    "a name that is no text": answer(output([], "FP32", [2, 2], 16), data=VALUES),  # type: ignore[arg-type]
    "another datatype": answer(output("y", "FP64", [2, 2], 16), LABEL, data=VALUES + LABELS),
    "another rank": answer(output("y", "FP32", [4], 16), LABEL, data=VALUES + LABELS),
    "another size of a dimension": answer(output("y", "FP32", [1, 4], 16), LABEL, data=VALUES + LABELS),
    "a negative dimension": answer(output("y", "FP32", [-2, 2], 16), LABEL, data=VALUES + LABELS),
    "true for a dimension": answer(output("y", "FP32", [True, 2], 8), LABEL, data=VALUES[:8] + LABELS),
    "a huge dimension": answer(output("y", "FP32", [10**30, 2], 16), LABEL, data=VALUES + LABELS),
    "a shape that is no list": answer(output("y", "FP32", "2", 16), LABEL, data=VALUES + LABELS),
    "too few bytes": answer(output("y", "FP32", [2, 2], 12), LABEL, data=VALUES[:12] + LABELS),
    "more bytes than there are": answer(Y, output("label", "BYTES", [2], 1000), data=VALUES + LABELS),
    "a size below nothing": answer(output("y", "FP32", [2, 2], -16), LABEL, data=VALUES + LABELS),
    "true for a size": answer(output("y", "FP32", [2, 2], True), LABEL, data=VALUES + LABELS),
    "no size": answer({"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}, LABEL, data=LABELS),
    "parameters that are no object": answer({**Y, "parameters": 16}, LABEL, data=VALUES + LABELS),
    "bytes behind the last output": answer(Y, LABEL, data=VALUES + LABELS + b"!"),
    "an element that runs past the end": answer(Y, LABEL, data=VALUES + b"\xff" + LABELS[1:]),
    "an element too few": answer(Y, output("label", "BYTES", [3], len(LABELS)), data=VALUES + LABELS),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_an_answer_that_is_not_the_models_is_told_and_never_an_error_of_pythons(body):
    with pytest.raises(UnexpectedAnswer, match="the model's endpoint gave an answer that does not fit its manifest") as raised:
        decode_response("", body, SPECS, archive=1)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("size", [1, len(GOOD) - len(VALUES + LABELS) - 1, len(GOOD)])
def test_a_size_that_is_not_the_objects_is_told(size):
    with pytest.raises(UnexpectedAnswer):
        decode_response(f"{CONTENT_TYPE}{size}", GOOD, SPECS, archive=1)


def decoded_or_refused(content_type: str, body: bytes) -> None:
    try:
        found = decode_response(content_type, body, SPECS, archive=1)
    except UnexpectedAnswer:
        return
    assert [(each.name, each.datatype, len(each.shape)) for each in found] == [("y", "FP32", 2), ("label", "BYTES", 1)]
    assert memoryview(found[0].data).nbytes == 4 * found[0].shape[0] * 2


@given(body=mutations(GOOD), header=st.booleans())
def test_any_bytes_of_an_answer_may_be_others(body: bytes, header: bool):
    decoded_or_refused(told(GOOD) if header else "", body)


@given(value=anything, key=st.sampled_from(["name", "datatype", "shape", "parameters"]))
def test_any_json_in_the_place_of_what_describes_an_output(value: Any, key: str):
    decoded_or_refused("", dumped({"outputs": [{**Y, key: value}, LABEL]}) + VALUES + LABELS)


@given(content_type=st.text(max_size=20).map(lambda text: CONTENT_TYPE + text) | st.text(max_size=40))
def test_any_text_for_a_content_type(content_type: str):
    decoded_or_refused(content_type, GOOD)
