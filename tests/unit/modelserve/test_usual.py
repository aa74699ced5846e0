"""The short way beside the long one: of the same event, and with the same of it read."""

import json
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve import usual
from modelserve.dataplane import DataPlane
from modelserve.endpoints import Endpoints, Response, error_response
from modelserve.errors import ModelNotReady, ServeError
from modelserve.proxy import from_event
from modelserve.session import Session
from modelserve.tensors import Tensor
from modelserve.usual import Usual

from .factories import INFER, NAME, document, loaded, tensor
from .graphs import identity, pair, session, unary
from .strategies import DTYPES, almost_requests, arrays, dumped, mutations, shapes

NUMBERS = sorted(set(DTYPES) - {"BOOL", "FP16"})


def unready(_: str | None) -> Any:
    raise ModelNotReady(NAME, "nothing is there")


def plane(ran: Session | None = None) -> DataPlane:
    model = loaded(ran or session(identity()))
    return DataPlane(lambda _: model)


def unrun() -> DataPlane:
    """Of a model that must not be run."""
    model = loaded(session(identity()))
    model.run = pytest.fail  # type: ignore[assignment]
    return DataPlane(lambda _: model)


FP32 = plane()


def event(body: Any, /, **keys: Any) -> dict[str, Any]:
    """As of a REST API; a body of bytes as all are that come through ours."""
    sent = {"body": b64encode(body).decode(), "isBase64Encoded": True} if isinstance(body, bytes) else {"body": json.dumps(body)}
    return {"httpMethod": "POST", "path": INFER, "headers": {"Content-Type": "application/json"}, **sent, **keys}


def short(answering: DataPlane, asked: Any, *, limit: int = 2**20) -> tuple[Response | None, Any]:
    return Usual(NAME, answering, max_body_bytes=limit).answer(asked, time.monotonic() + 20)


def told(response: Response) -> Any:
    return response.status, response.headers, response.body, response.version, response.rows, type(response.error)


def the_same(answering: DataPlane, asked: Any) -> Response:
    """What both ways answer, the long one to what it finds read by the short one, and to what nobody has read."""
    endpoints = Endpoints(NAME, answering, server_version="1", max_body_bytes=2**20)

    def both() -> Response:
        answer, read = short(answering, asked)
        return answer or endpoints.answer(from_event(asked, read), seconds=20)

    found, expected = answered(both), answered(lambda: endpoints.answer(from_event(asked), seconds=20))
    assert told(found) == told(expected)
    return found


def answered(ask: Callable[[], Response]) -> Response:
    """As a function answers."""
    try:
        return ask()
    except ServeError as error:
        return error_response(error)


@given(almost_requests)
def test_any_document_with_the_keys_of_a_request_is_answered_as_at_length(value):
    the_same(FP32, event(dumped(value)))


@given(almost_requests)
def test_without_a_model_what_is_wrong_with_a_request_is_said_as_at_length(value):
    the_same(DataPlane(unready), event(dumped(value)))


def test_a_request_that_no_model_could_answer_is_refused_before_a_model_is_missed():
    assert the_same(DataPlane(unready), event(document(tensor([1.0])))).status == 400
    assert the_same(DataPlane(unready), event(document())).status == 503


@given(mutations(dumped(document(tensor([1.5, -2.0, 3.0]), id="7"))))
def test_a_mutated_request_is_answered_as_at_length(body):
    the_same(FP32, event(body))


@given(st.sampled_from(NUMBERS), shapes, st.none() | st.text(max_size=3), st.data())
def test_numbers_of_any_datatype_and_rank_are_answered_as_at_length(datatype, shape, sent, data):
    array = data.draw(arrays(datatype, shape, finite=data.draw(st.booleans())))
    answering = plane(session(identity(datatype, tuple(f"dimension_{index}" for index in range(len(shape))))))
    asked = document(tensor(array.ravel().tolist(), datatype=datatype, shape=shape), **({} if sent is None else {"id": sent}))

    the_same(answering, event(asked))


def test_headers_are_known_again_by_all_of_their_names():
    usual_way = Usual(NAME, FP32, max_body_bytes=2**20)
    asked = event(document())
    for _ in range(2):
        assert usual_way.answer(asked, time.monotonic() + 20)[0] is not None
        assert usual_way.answer({**asked, "headers": {**asked["headers"], "Content-Encoding": "gzip"}}, time.monotonic() + 20)[0] is None


def test_no_more_headers_are_kept_than_a_client_has():
    usual_way = Usual(NAME, FP32, max_body_bytes=2**20)
    for number in range(2 * usual._KEPT):
        assert usual_way.answer(event(document(), headers={f"X-{number}": "a"}), time.monotonic() + 20)[0] is not None
    assert len(usual_way._headers) == usual._KEPT


def test_a_shape_of_many_sizes_costs_nothing(monkeypatch):
    """Their product would: a second for 400 kB."""
    monkeypatch.setattr(usual, "prod", pytest.fail)

    assert short(FP32, event(document(tensor([], shape=[9] * 100_000))))[0] is None


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
        (identity(shape=()), tensor([0.5], shape=()), 200),
        (identity(shape=()), tensor([0.5], shape={}), 400),
        (identity(shape=()), tensor([0.5], shape=""), 400),
    ],
    ids=[
        "NaN in the answer",
        "a large answer",
        "booleans",
        "half precision",
        "strings",
        "one input of two",
        "no dimension",
        "no shape",
        "a text for a shape",
    ],
)
def test_what_is_unusual_about_a_model_is_answered_as_at_length(graph, sent, status, backend):
    assert the_same(plane(session(graph, backend=backend)), event(document(sent))).status == status


@pytest.mark.parametrize(
    "unusual",
    [
        document(outputs=[{"name": "y"}]),
        document(parameters={}),
        document(id="7", outputs=[{"name": "y"}]),
        document(id=None),
        document(id="\u00e9"),
        document(tensor([1.0, 2.0, 3.0], parameters={})),
        document(tensor([1.0, True, 3.0])),
        document(tensor([1.0, 2.0, False])),
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
        document() | {"inputs": 5},
        [document()],
        5,
    ],
    ids=str,
)
def test_what_is_unusual_about_a_document_is_left_to_the_long_way_as_it_was_read_before_anything_runs(unusual):
    assert short(unrun(), event(unusual)) == (None, unusual)
    the_same(FP32, event(unusual))


@pytest.mark.parametrize("other", [{"name": "z"}, {"datatype": "FP64"}, {"shape": (3, 1)}, {"shape": (3,)}], ids=str)
def test_what_does_not_fit_the_signature_is_not_run(other: dict[str, Any]):
    assert short(unrun(), event(document(tensor([1.0, 2.0, 3.0], **other))))[0] is None


@pytest.mark.parametrize(
    "unusual",
    [
        event(document(), httpMethod="GET"),
        event(document(), httpMethod="OPTIONS"),
        event(document(), path=f"{INFER}/"),
        event(document(), path=f"/dev{INFER}"),
        event(document(), path="/v2/models/other/infer"),
        event(document(), path=f"/v2/models/{NAME}/versions/production/infer"),
        event(document(), headers={"CONTENT-Encoding": "gzip"}),
        event(document(), headers={"Inference-Header-Content-Length": "9"}),
        event(document(), headers=None),
        event(document(), headers=["Content-Type"]),
        event(document(), headers={1: "a"}),
        event(document(), body=None),
        event(document(), body=7),
        event(document(), body="\ud800"),
        event(document(), body="{"),
        event(document(), body='{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,NaN,3]}]}'),
        event(document(), isBase64Encoded=True),
        event(b"\xff"),
        {"httpMethod": "POST"},
        {"rawPath": INFER},
        {"rawPath": INFER, "requestContext": {"http": None}},
        {},
        [],
        "httpMethod",
        7,
        None,
    ],
    ids=lambda asked: json.dumps(asked)[:60],
)
def test_what_is_unusual_about_an_event_is_left_to_the_long_way_before_anything_runs(unusual):
    assert short(unrun(), unusual) == (None, None)
    the_same(FP32, unusual)


def test_what_it_takes_to_find_the_model_is_not_left_to_its_run(monkeypatch):
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    model, given = loaded(session(identity())), []

    def find(_: str | None) -> Any:
        nonlocal now
        now += 5
        return model

    def run(inputs: list[Tensor], _: list[str], *, seconds: float) -> list[Tensor]:
        given.append(seconds)
        return [Tensor("y", "FP32", (1, 3), inputs[0].data)]

    model.run = run  # type: ignore[assignment]
    assert short(DataPlane(find), event(document()))[0] is not None
    assert given == [15]


def test_a_body_over_the_limit_is_not_read():
    body = dumped(document())
    assert short(FP32, event(body), limit=len(body))[0] is not None
    assert short(FP32, event(body), limit=len(body) - 1) == (None, None)


def test_the_usual_request_takes_the_short_way():
    for asked in (document(), document(id="7"), document(tensor([1.0] * 6, shape=(2, 3)))):
        for sent in (
            event(asked),
            event(dumped(asked)),
            {"requestContext": {"http": {"method": "POST"}}, "rawPath": INFER, "headers": {}, "body": json.dumps(asked)},
        ):
            answer, read = short(FP32, sent)
            assert answer is not None
            assert read is None
            assert answer.rows == asked["inputs"][0]["shape"][0]
            np.testing.assert_array_equal(json.loads(answer.body)["outputs"][0]["data"], asked["inputs"][0]["data"])
            the_same(FP32, sent)


def test_an_answer_that_may_be_too_large_is_not_written_the_short_way():
    model = loaded(session(identity()))
    outputs = [Tensor("y", "UINT8", (usual._FEW // 2, 1), bytes(usual._FEW // 2))] * 2

    assert usual._written(model, outputs, None) is not None
    assert usual._written(model, [*outputs, Tensor("y", "UINT8", (1, 1), b"1")], None) is None
