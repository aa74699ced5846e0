"""Requests that run together are answered as each would be alone, whatever is beside them."""

import time
from array import array
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelserve import batching
from modelserve.batching import OutOfTime, run
from modelserve.dataplane import DataPlane
from modelserve.errors import DeadlineExceeded, InsufficientMemory, InvalidInput, ModelFailed, PayloadTooLarge, ServeError
from modelserve.fetch import LoadedModel
from modelserve.protocol import InferRequest, InferResponse, RequestedOutput, encode, parse_document
from modelserve.record import replace
from modelserve.session import Session
from modelserve.tensors import Tensor

from .factories import manifest, tensor
from .graphs import graph, identity, lookup, pair, picky, scaled, session, value

SECONDS = 20.0


class Counted:
    """A session that remembers how many rows each run had, and for how long it might run."""

    def __init__(self, ran: Session) -> None:
        self._session = ran
        self.inputs, self.outputs, self.warm_up = ran.inputs, ran.outputs, ran.warm_up
        self.rows: list[int] = []
        self.seconds: list[float] = []

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        self.rows.append(inputs[0].shape[0])
        self.seconds.append(seconds)
        return self._session.run(inputs, outputs, seconds=seconds)


class Slow(Counted):
    """Takes all the time that it gets for a negative number."""

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        if min(np.frombuffer(memoryview(inputs[0].data), "<f4")) < 0:
            self.seconds.append(seconds)
            time.sleep(seconds)
            raise DeadlineExceeded("sample", seconds)
        return super().run(inputs, outputs, seconds=seconds)


def model(content: bytes | Session, *, row_wise: bool | None = True, labels: tuple[str, ...] = ()) -> tuple[LoadedModel, Counted]:
    ran = session(content) if isinstance(content, bytes) else content
    counted = ran if isinstance(ran, Counted) else Counted(ran)
    return LoadedModel(replace(manifest(labels=labels), row_wise=row_wise), counted, load_seconds=0.0), counted


def centred() -> bytes:
    """`y` is `x` less the mean of all rows: a row is answered by those beside it."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [0])
    nodes = [helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=1), helper.make_node("Sub", ["x", "mean"], ["y"])]
    return graph(nodes, [value("x", "FP32", ("rows", 3))], [value("y", "FP32", ("rows", 3))], [axes])


def request(rows: Sequence[float], *, name: str = "x", **keys: object) -> InferRequest:
    """A row of the same number three times for each of `rows`."""
    numbers = [number for number in rows for _ in range(3)]
    return parse_document({"inputs": [tensor(numbers, name=name, shape=(len(rows), 3))], **keys})


def body(answer: InferResponse | ServeError, asked: InferRequest) -> object:
    """What a client gets."""
    if isinstance(answer, ServeError):
        return type(answer), str(answer)
    try:
        return encode(answer, asked)
    except ServeError as error:
        return type(error), str(error)


def values(answer: InferResponse | ServeError) -> list[float]:
    """Of its first output."""
    assert isinstance(answer, InferResponse)
    return np.frombuffer(memoryview(answer.outputs[0].data), "<f4").tolist()


def alone(found: LoadedModel, asked: InferRequest) -> object:
    try:
        return body(DataPlane(lambda _: found).infer(None, asked, seconds=SECONDS), asked)
    except ServeError as error:
        return type(error), str(error)


numbers = st.floats(width=32, allow_nan=True)


@st.composite
def pairs(draw: st.DrawFn) -> InferRequest:
    """A request to `pair`, right or wrong in one thing, in any form."""
    rows = draw(st.integers(1, 4))
    inputs = []
    for name in draw(st.permutations(["a", "b"])):
        own = draw(st.sampled_from([rows] * 9 + [rows + 1]))
        held = np.array(draw(st.lists(numbers, min_size=2 * own, max_size=2 * own)), "<f4")
        data = held.tobytes() if draw(st.booleans()) else array("f", held)  # as binary data and JSON are read
        inputs.append(Tensor(name if draw(st.integers(0, 19)) else "c", "FP32", (own, 2), data))
    names = draw(st.lists(st.sampled_from(["total", "difference"]), unique=True)) if draw(st.booleans()) else []
    if not draw(st.integers(0, 19)):
        names.append("other")
    outputs = [RequestedOutput(name, binary=draw(st.booleans()), classification=0) for name in names]
    return InferRequest(inputs, id=draw(st.none() | st.text(max_size=3)), outputs=outputs or None, binary=draw(st.booleans()))


PAIR, _ = model(pair())


@given(st.lists(pairs(), max_size=8))
def test_every_request_is_answered_as_alone(requests: list[InferRequest]):
    answers = run(PAIR, requests, seconds=SECONDS)
    assert [body(answer, asked) for answer, asked in zip(answers, requests, strict=True)] == [alone(PAIR, asked) for asked in requests]


WIDE = np.random.default_rng(1).normal(size=(9, 40)).astype("<f4")


@given(st.lists(st.lists(st.floats(-100, 100, width=32), min_size=9, max_size=9), min_size=2, max_size=9))
def test_sums_differ_by_float_noise_at_most(rows: list[list[float]]):
    weights = helper.make_tensor("w", TensorProto.FLOAT, WIDE.shape, WIDE.reshape(-1))
    linear = graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", "FP32", ("n", 9))], [value("y", "FP32", ("n", 40))], [weights]
    )
    found, counted = model(linear)
    requests = [InferRequest([Tensor("x", "FP32", (1, 9), np.array(row, "<f4"))]) for row in rows]
    answers = run(found, requests, seconds=SECONDS)
    assert counted.rows == [len(rows)]
    for answer, asked in zip(answers, requests, strict=True):
        assert isinstance(answer, InferResponse)
        (own,) = found.run(asked.inputs, ["y"], seconds=SECONDS)
        np.testing.assert_allclose(values(answer), np.frombuffer(memoryview(own.data), "<f4"), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT64", "FP16", "BF16", "FP64", "BYTES"])
def test_every_datatype_is_taken_apart_where_it_was_put_together(datatype):
    found, counted = model(identity(datatype, ("rows", "columns")))
    sizes = {"BOOL": 1, "INT8": 1, "UINT64": 8, "FP16": 2, "BF16": 2, "FP64": 8}
    texts = [b"\x01\x00\x00\x00a\x00\x00\x00\x00", b"\x03\x00\x00\x00b\xc3\xa4\x00\x00\x00\x00", b"\x00\x00\x00\x00\x01\x00\x00\x00c"]
    bodies = texts if datatype == "BYTES" else [bytes([digit % 2]) * 2 * sizes[datatype] for digit in range(3)]
    requests = [InferRequest([Tensor("x", datatype, (1, 2), each)], binary=True) for each in bodies]
    answers = run(found, requests, seconds=SECONDS)
    assert [bytes(memoryview(answer.outputs[0].data)) for answer in answers if isinstance(answer, InferResponse)] == bodies
    assert counted.rows == [3]


def test_requests_that_fit_each_other_are_one_run():
    found, counted = model(scaled(2))
    answers = run(found, [request([1, 2]), request([3]), request([4, 5, 6])], seconds=SECONDS)
    assert counted.rows == [6]
    assert [answer.outputs[0].shape for answer in answers if isinstance(answer, InferResponse)] == [(2, 3), (1, 3), (3, 3)]


def test_other_shapes_and_other_outputs_are_other_runs():
    wide, counted = model(identity(shape=("rows", "columns")))
    shapes = [(1, 2), (1, 3), (2, 2)]
    run(wide, [InferRequest([Tensor("x", "FP32", shape, bytes(4 * shape[0] * shape[1]))]) for shape in shapes], seconds=SECONDS)
    assert sorted(counted.rows) == [1, 3]


def test_a_graph_that_mixes_rows_runs_each_request_by_itself():
    for row_wise in (False, None):
        found, counted = model(centred(), row_wise=row_wise)
        answers = run(found, [request([1, 3]), request([5])], seconds=SECONDS)
        assert counted.rows == [2, 1]
        assert [values(answer)[::3] for answer in answers] == [[-1, 1], [0]]


def test_a_graph_that_mixes_rows_would_be_answered_otherwise_together():
    """What the manifest's word keeps from happening."""
    found, _ = model(centred(), row_wise=True)
    _, second = run(found, [request([1, 3]), request([5])], seconds=SECONDS)
    assert values(second) == [2, 2, 2]


def test_joint_runs_are_bounded_in_rows_and_bytes(monkeypatch):
    monkeypatch.setattr(batching, "MOST_ROWS", 4)
    found, counted = model(scaled(2))
    run(found, [request([1] * rows) for rows in (3, 2, 9, 1, 1)], seconds=SECONDS)
    assert counted.rows == [3, 2, 9, 2]
    monkeypatch.setattr(batching, "MOST_ROWS", 100)
    monkeypatch.setattr(batching, "MOST_BYTES", 4 * 12)
    counted.rows.clear()
    run(found, [request([1] * rows) for rows in (3, 2, 9, 1, 1)], seconds=SECONDS)
    assert counted.rows == [3, 2, 9, 2]


def test_what_is_wrong_with_one_is_told_to_it_alone_and_before_anything_runs():
    found, counted = model(scaled(2))
    wrong = [request([1], name="z"), InferRequest([Tensor("x", "FP32", (1, 3), b"short")]), request([1], outputs=[{"name": "w"}])]
    answers = run(found, [request([1]), *wrong, request([2])], seconds=SECONDS)
    assert [type(answer) for answer in answers] == [InferResponse, InvalidInput, InvalidInput, InvalidInput, InferResponse]
    assert counted.rows == [2]


def test_elements_of_one_text_tensor_never_become_another_ones():
    """Two that hold three elements and one, where both say two, are four together."""
    found, counted = model(identity("BYTES", ("rows",)))
    elements = [b"\x01\x00\x00\x00a" * 3, b"\x01\x00\x00\x00b"]
    answers = run(found, [InferRequest([Tensor("x", "BYTES", (2,), each)]) for each in elements], seconds=SECONDS)
    assert all(isinstance(answer, InvalidInput) for answer in answers)
    assert counted.rows == []


@pytest.mark.parametrize(("content", "good", "bad", "kind"), [(lookup(), 2, 9, ModelFailed), (picky(), "known", "x", ModelFailed)])
def test_what_only_the_run_can_tell_is_told_to_the_one_whose_fault_it_is(content, good, bad, kind):
    found, counted = model(content)
    datatype = "INT64" if isinstance(good, int) else "BYTES"
    requests = [parse_document({"inputs": [tensor([each], datatype=datatype, shape=(1,))]}) for each in (good, bad, good)]
    answers = run(found, requests, seconds=SECONDS)
    assert [type(answer) for answer in answers] == [InferResponse, kind, InferResponse]
    assert counted.rows == [3, 1, 1, 1]


def test_nan_that_a_model_refuses_is_refused_to_who_sent_it():
    found, _ = model(session(scaled(2), refuse_nan=True))
    answers = run(found, [request([1]), request([float("nan")])], seconds=SECONDS)
    assert [type(answer) for answer in answers] == [InferResponse, InvalidInput]


def test_who_runs_without_end_takes_no_time_of_others():
    found, slow = model(Slow(session(scaled(2))))
    answers = run(found, [request([-1]), request([1]), request([2])], seconds=0.6)
    assert [type(answer) for answer in answers] == [DeadlineExceeded, InferResponse, InferResponse]
    joint, first, second, third = slow.seconds
    assert 0.25 < joint < 0.31
    assert 0.05 < first < 0.11
    assert 0 < second < third < 0.3


def test_what_no_time_is_left_for_is_not_run():
    """It may be tried again, and nothing says that it was slow."""
    found, counted = model(scaled(2))
    answers = run(found, [request([1])], seconds=0)
    assert [type(answer) for answer in answers] == [OutOfTime]
    assert counted.rows == []


def test_what_memory_does_not_suffice_for_together_runs_alone():
    class Small(Counted):
        def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
            if inputs[0].shape[0] > 2:
                raise MemoryError
            return super().run(inputs, outputs, seconds=seconds)

    found, _ = model(Small(session(scaled(2))))
    answers = run(found, [request([1, 2]), request([3]), request([4, 5, 6])], seconds=SECONDS)
    assert [type(answer) for answer in answers] == [InferResponse, InferResponse, InsufficientMemory]


def test_an_answer_that_has_not_the_rows_of_the_requests_is_asked_for_one_by_one():
    def replaced(tensor: Tensor) -> Tensor:
        return Tensor("y", "FP32", (1, 3), bytes(memoryview(tensor.data).cast("B")[:12]))

    class Short(Counted):
        def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
            return [replaced(super().run(inputs, outputs, seconds=seconds)[0])]

    found, counted = model(Short(session(scaled(2))))
    answers = run(found, [request([1]), request([2])], seconds=SECONDS)
    assert counted.rows == [2, 1, 1]
    assert [values(answer)[0] for answer in answers] == [2, 4]


def test_classes_and_ids_are_each_requests_own():
    found, _ = model(identity(), labels=("a", "b", "c"))
    classified = request([1], id="one", outputs=[{"name": "y", "parameters": {"classification": 1}}])
    plain = request([2], id="two", outputs=[{"name": "y"}])
    first, second = run(found, [classified, plain], seconds=SECONDS)
    assert isinstance(first, InferResponse)
    assert isinstance(second, InferResponse)
    assert (first.id, first.outputs[0].datatype, second.id, second.outputs[0].datatype) == ("one", "BYTES", "two", "FP32")


def test_an_answer_over_the_limit_is_refused_to_who_asked_for_it():
    found, _ = model(scaled(2))
    answers = run(found, [request([1] * 20), request([1])], seconds=SECONDS, most=100)
    assert [type(answer) for answer in answers] == [PayloadTooLarge, InferResponse]
