"""How often a large tensor is copied on its way through the function."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from modelserve.endpoints import Endpoints, Response
from modelserve.manifest import TensorSpec
from modelserve.proxy import from_event, to_proxy
from modelserve.tensors import Tensor
from tests.unit.modelserve.factories import INFER, dumped_binary, server
from tests.unit.predict.apps import rest

SHAPE = (1, 3, 224, 224)
SIZE = 4 * 3 * 224 * 224
BASE64 = SIZE * 4 / 3
SLACK = SIZE / 20


class Echo:
    """Answers its input, the very memory."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec(name="x", datatype="FP32", shape=(-1, 3, 224, 224)),)
    outputs: tuple[TensorSpec, ...] = (TensorSpec(name="y", datatype="FP32", shape=(-1, 3, 224, 224)),)

    def __init__(self) -> None:
        self.ran: list[Tensor] = []

    def run(self, inputs: list[Tensor], _outputs: list[str], *, seconds: float) -> list[Tensor]:
        self.ran = inputs
        return [Tensor("y", "FP32", inputs[0].shape, inputs[0].data)]

    def warm_up(self, *, seconds: float) -> None:
        """Nothing to warm."""


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def routes(echo: Echo) -> Endpoints:
    return server(echo)


@pytest.fixture
def event() -> dict[str, Any]:
    body, length = dumped_binary("x", SHAPE, bytes(SIZE))
    made = rest("POST", INFER, body, Inference_Header_Content_Length=str(length))
    from_event(made)  # what is imported for it is not what is counted
    return made


def peak(call: Callable[[], Any]) -> tuple[float, Any]:
    """Bytes that `call` held at once beyond what was there before, and what it returned."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = call()
        return tracemalloc.get_traced_memory()[1] - before, found
    finally:
        tracemalloc.stop()


def test_on_the_way_in_base64_is_decoded_and_nothing_else_is_copied(event, echo):
    def parsed() -> None:
        server(echo)._parsed(from_event(event))

    held, _ = peak(parsed)

    assert SIZE <= held < SIZE + SLACK


def test_the_session_gets_a_view_of_the_decoded_body(event, routes, echo):
    request = from_event(event)
    assert routes.answer(request, seconds=20).status == 200

    (tensor,) = echo.ran
    assert memoryview(tensor.data).obj is request.body


def test_on_the_way_out_a_tensor_is_copied_once_and_written_once(event, routes):
    request = from_event(event)
    held, response = peak(lambda: routes.answer(request, seconds=20))
    assert SIZE <= held < SIZE + SLACK

    held, answer = peak(lambda: to_proxy(response, cors_origin=""))
    assert BASE64 <= held < BASE64 + SLACK
    assert isinstance(response, Response)
    assert len(answer["body"]) >= BASE64
