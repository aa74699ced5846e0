"""A request against a signature, with a model that only remembers what it was given."""

from math import ceil

import numpy as np
import pytest

from modelserve.dataplane import DataPlane, check
from modelserve.errors import InvalidInput, ModelNotReady, PayloadTooLarge
from modelserve.manifest import TensorSpec
from modelserve.protocol import InferRequest, RequestedOutput
from modelserve.tensors import Tensor

SPEC = TensorSpec(name="x", datatype="FP32", shape=(-1, 2))


class Remembering:
    name, version, platform = "sample", "v1", "test"
    labels: tuple[str, ...] = ("a", "b")

    def __init__(self, *inputs: TensorSpec) -> None:
        self.inputs: tuple[TensorSpec, ...] = inputs or (SPEC,)
        self.outputs = tuple(TensorSpec(name=name, datatype="FP32", shape=(-1, 2)) for name in ("y", "z"))
        self.ran: list[tuple[list[Tensor], list[str], float]] = []

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        self.ran.append((inputs, outputs, seconds))
        return [Tensor(name, "FP32", (1, 2), np.array([1, 2], "f4").tobytes()) for name in outputs]

    def ready(self, *, seconds: float) -> None:
        self.asked = seconds


def of(shape: tuple[int, ...], *, name: str = "x", datatype: str = "FP32", nbytes: int | None = None) -> Tensor:
    return Tensor(name, datatype, shape, bytes(4 * int(np.prod(shape)) if nbytes is None else nbytes))


def plane(model: Remembering) -> DataPlane:
    return DataPlane(lambda _version: model)


def wanted(name: str, classification: int = 0) -> RequestedOutput:
    return RequestedOutput(name, binary=False, classification=classification)


def test_all_outputs_are_computed_unless_some_are_asked_for():
    model = Remembering()

    plane(model).infer(None, InferRequest([of((1, 2))]), seconds=3)
    plane(model).infer(None, InferRequest([of((1, 2))], outputs=[wanted("z")]), seconds=4)

    assert [(outputs, ceil(seconds)) for _, outputs, seconds in model.ran] == [(["y", "z"], 3), (["z"], 4)]


def test_classes_are_named_only_where_they_are_asked_for():
    request = InferRequest([of((1, 2))], outputs=[wanted("z", 1), wanted("y")])

    answer = plane(Remembering()).infer(None, request, seconds=3)

    assert [(tensor.name, tensor.datatype) for tensor in answer.outputs] == [("z", "BYTES"), ("y", "FP32")]
    assert b"2.000000:1:b" in bytes(memoryview(answer.outputs[0].data))


def test_nothing_runs_for_a_request_that_does_not_fit():
    model = Remembering()

    for wrong in (InferRequest([of((1, 3))]), InferRequest([of((1, 2))], outputs=[wanted("q")]), InferRequest([])):
        with pytest.raises(InvalidInput):
            plane(model).infer(None, wrong, seconds=3)
    assert model.ran == []


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (of((1, 2), name="q"), "no input 'q'; expected 'x'"),
        (of((1, 2), datatype="INT32"), "is INT32; expected FP32"),
        (of((2,)), "shape [2]; expected [-1, 2]"),
        (of((1, 2, 1)), "shape [1, 2, 1]; expected"),
        (of((2, 1)), "shape [2, 1]; expected"),
        (of((0, 2)), "no elements"),
        (of((1, 2), nbytes=7), "has 7 bytes; FP32 of shape [1, 2] takes 8"),
        (of((1, 2), nbytes=0), "has 0 bytes"),
        (of((2**62, 2), nbytes=8), f"takes {2**65}"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(tensor, says):
    with pytest.raises(InvalidInput) as raised:
        check([tensor], [SPEC])
    assert says in str(raised.value)


def test_inputs_fit_in_any_order():
    second = TensorSpec(name="w", datatype="INT64", shape=(1,))

    check([of((1,), name="w", datatype="INT64", nbytes=8), of((5, 2))], [SPEC, second])


@pytest.mark.parametrize(
    ("spec", "nbytes", "shape"),
    [
        (SPEC, 24, (3, 2)),
        (TensorSpec(name="x", datatype="INT64", shape=(3,)), 24, (3,)),
        (TensorSpec(name="x", datatype="BYTES", shape=(-1, 1)), 5, (1, 1)),
        (TensorSpec(name="x", datatype="FP16", shape=(-1,)), 4, (2,)),
    ],
)
def test_the_shape_of_a_raw_body_follows_from_its_size(spec, nbytes, shape):
    model = Remembering(spec)

    plane(model).infer(None, InferRequest([], raw=bytes(nbytes)), seconds=3)

    assert model.ran[0][0][0].shape == shape


@pytest.mark.parametrize(
    ("specs", "nbytes"),
    [
        ((SPEC, TensorSpec(name="w", datatype="FP32", shape=(1,))), 8),
        ((TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),), 8),
        ((SPEC,), 9),
        ((SPEC,), 0),
        ((TensorSpec(name="x", datatype="FP32", shape=(2,)),), 16),
        ((TensorSpec(name="x", datatype="FP32", shape=(-1, 0)),), 8),
    ],
)
def test_a_raw_body_without_one_shape_is_refused(specs, nbytes):
    with pytest.raises(InvalidInput):
        plane(Remembering(*specs)).infer(None, InferRequest([], raw=bytes(nbytes)), seconds=3)


def test_metadata_describes_the_version_that_answers():
    assert plane(Remembering()).metadata("v1") == {
        "name": "sample",
        "versions": ["v1"],
        "platform": "test",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}, {"name": "z", "datatype": "FP32", "shape": [-1, 2]}],
    }


def test_what_can_not_be_found_is_not_ready():
    def find(version: str | None) -> Remembering:
        raise ModelNotReady("sample", f"{version} is not there")

    with pytest.raises(ModelNotReady, match="v9 is not there"):
        DataPlane(find).ready("v9", seconds=5)


class Wordy(Remembering):
    """Answers with as many zeros as it is told."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self._elements = elements

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        return [Tensor(name, "INT64", (1, self._elements), bytes(8 * self._elements)) for name in outputs]


@pytest.mark.parametrize(
    ("requested", "most"),
    [
        (RequestedOutput("y", binary=False, classification=0), 3 * 2**20),  # `0,` in JSON
        (RequestedOutput("y", binary=True, classification=0), 6 * 2**20 // 8),
        (RequestedOutput("y", binary=False, classification=1), 6 * 2**20 // 8),  # every class is looked at, however few are named
    ],
)
def test_an_answer_that_no_event_could_carry_is_refused_before_it_is_written(requested, most):
    request = InferRequest([of((1, 2))], outputs=[requested])
    plane(Wordy(most)).infer(None, request, seconds=3)

    with pytest.raises(PayloadTooLarge, match="the answer is larger than 6,291,456 bytes"):
        plane(Wordy(most + 1)).infer(None, request, seconds=3)


def test_readiness_is_the_models_own_word_within_the_time_there_is():
    model = Remembering()

    DataPlane(lambda _version: model).ready(None, seconds=5)

    assert 4 < model.asked <= 5
