"""The short way beside the long one, which a path that ends in a slash takes."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve import usual
from modelserve.dataplane import DataPlane
from modelserve.endpoints import Endpoints, Response
from modelserve.errors import ModelNotReady
from modelserve.tensors import Tensor

from .factories import INFER, NAME, document, loaded, post, server, tensor
from .graphs import identity, pair, session, unary
from .strategies import DTYPES, almost_requests, arrays, dumped, mutations, shapes

FP32 = server()
NUMBERS = sorted(set(DTYPES) - {"BOOL", "FP16"})


def told(response: Response) -> Any:
    return response.status, response.headers, response.body, response.version, response.rows, type(response.error)


def unready(_: str | None) -> Any:
    raise ModelNotReady(NAME, "nothing is there")


def the_same(endpoints: Endpoints, body: Any) -> Response:
    """What both ways answer."""
    short, long = post(endpoints, body), post(endpoints, body, path=f"{INFER}/")
    assert told(short) == told(long)
    return short


@given(almost_requests)
def test_any_document_with_the_keys_of_a_request_is_answered_as_at_length(value):
    the_same(FP32, dumped(value))


@given(almost_requests)
def test_without_a_model_what_is_wrong_with_a_request_is_said_as_at_length(value):
    the_same(Endpoints(NAME, DataPlane(unready), server_version="1", max_body_bytes=2**20), dumped(value))


def test_a_shape_of_many_sizes_costs_nothing(monkeypatch):
    """Their product would: a second for 400 kB."""
    monkeypatch.setattr(usual, "prod", pytest.fail)

    assert usual.infer(unready, document(tensor([], shape=[9] * 100_000)), seconds=20) is None


@given(mutations(dumped(document(tensor([1.5, -2.0, 3.0]), id="7"))))
def test_a_mutated_request_is_answered_as_at_length(body):
    the_same(FP32, body)


@given(st.sampled_from(NUMBERS), shapes, st.none() | st.text(max_size=3), st.data())
def test_numbers_of_any_datatype_and_rank_are_answered_as_at_length(datatype, shape, sent, data):
    array = data.draw(arrays(datatype, shape, finite=data.draw(st.booleans())))
    answering = server(identity(datatype, tuple(f"dimension_{index}" for index in range(len(shape)))))

    the_same(answering, document(tensor(array.ravel().tolist(), datatype=datatype, shape=shape), **({} if sent is None else {"id": sent})))


@pytest.mark.parametrize("backend", ["native", "binding"])
@pytest.mark.parametrize(
    ("graph", "sent", "status"),
    [
        (unary("Sqrt"), tensor([-1.0, 4.0, 9.0]), 400),
        (identity(shape=("rows",)), tensor([0.5] * (usual._FEW + 1), shape=(usual._FEW + 1,)), 200),
        (identity("BOOL"), tensor([1, 0, 1], datatype="BOOL"), 400),
        (identity("FP16"), tensor([1, 0, 1], datatype="FP16"), 400),
        (identity("BYTES"), tensor(["a", "b", "c"], datatype="BYTES"), 200),
        (pair(), tensor([1.0, 2.0, 3.0]), 400),
    ],
    ids=["NaN in the answer", "a large answer", "booleans", "half precision", "strings", "one input of two"],
)
def test_what_is_unusual_about_a_model_is_answered_as_at_length(graph, sent, status, backend):
    answering = server(session(graph, backend=backend))

    assert the_same(answering, document(sent)).status == status


@pytest.mark.parametrize(
    "unusual",
    [
        document(outputs=[{"name": "y"}]),
        document(parameters={}),
        document(id=None),
        document(id="\u00e9"),
        document(tensor([1.0, 2.0, 3.0], parameters={})),
        document(tensor([[1.0, 2.0, 3.0]])),
        document(tensor([1.0, 2.0, 3.0]), tensor([1.0, 2.0, 3.0])),
        document(tensor([1.0, 2.0, 3.0], shape=[1.0, 3])),
        document(tensor([], shape=(0, 3))),
        document(tensor([1, 2, 2**64], datatype="INT64")),
        document(tensor("123")),
        document(tensor({"1": 1, "2": 2, "3": 3})),
        document(tensor([1.0], shape={})),
        document(tensor([1.0, 2.0, 3.0], shape=(2, 3))),
        document(tensor([1.0, 2.0, 3.0], name="")),
        document(tensor([1.0, 2.0, 3.0]) | {"name": 5}),
        document(tensor([1.0, 2.0, 3.0]) | {"name": ["x"]}),
        document(tensor([1.0, 2.0, 3.0], name="x" * 1025)),
        document(tensor([1.0], shape=(1,) * 65)),
        [document()],
    ],
    ids=str,
)
def test_what_is_unusual_about_a_request_is_left_to_the_long_way_before_anything_runs(unusual):
    def find(_: str | None) -> Any:
        raise AssertionError("nothing is asked for")

    assert usual.infer(find, unusual, seconds=20) is None


@pytest.mark.parametrize("other", [{"name": "z"}, {"datatype": "FP64"}, {"shape": (3, 1)}, {"shape": (3,)}], ids=str)
def test_what_does_not_fit_the_signature_is_not_run(other: dict[str, Any]):
    model = loaded(session(identity()))
    model.run = pytest.fail  # type: ignore[assignment]

    assert usual.infer(lambda _: model, document(tensor([1.0, 2.0, 3.0], **other)), seconds=20) is None


def test_the_usual_request_takes_the_short_way():
    model = loaded(session(identity()))
    for asked in (document(), document(id="7"), document(tensor([1.0] * 6, shape=(2, 3)))):
        answer = usual.infer(lambda _: model, asked, seconds=20)
        assert answer is not None
        found, given_, text = answer
        assert (found, given_.shape) == (model, tuple(asked["inputs"][0]["shape"]))
        np.testing.assert_array_equal(json.loads(text)["outputs"][0]["data"], asked["inputs"][0]["data"])


def test_an_answer_that_may_be_too_large_is_not_written_the_short_way():
    model = loaded(session(identity()))
    outputs = [Tensor("y", "UINT8", (usual._FEW // 2, 1), bytes(usual._FEW // 2))] * 2

    assert usual._written(model, outputs, None) is not None
    assert usual._written(model, [*outputs, Tensor("y", "UINT8", (1, 1), b"1")], None) is None
