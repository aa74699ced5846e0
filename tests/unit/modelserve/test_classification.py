"""Triton's classification extension, on its own and through a request."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelserve.classification import classify
from modelserve.errors import InvalidInput
from modelserve.tensors import Tensor, to_list

from .factories import document, error_of, post, server, strict, tensor
from .graphs import identity, non_zero

LABELS = ("red", "green", "blue")


def scores(values, datatype="FP32", dtype="f4") -> Tensor:
    array = np.array(values, dtype)
    return Tensor("y", datatype, array.shape, array.tobytes())


def classified(values, count=2, labels=(), **kind) -> tuple[tuple[int, ...], list[str]]:
    answer = classify(scores(values, **kind), count, labels)
    assert answer.datatype == "BYTES"
    return answer.shape, to_list(answer)


def test_the_highest_values_come_first_with_index_and_label():
    assert classified([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]], labels=LABELS) == (
        (2, 2),
        ["0.700000:1:green", "0.200000:2:blue", "0.500000:0:red", "0.250000:1:green"],
    )


def test_without_a_label_for_each_class_there_is_none():
    assert classified([[0.1, 0.9]], labels=LABELS) == ((1, 2), ["0.900000:1", "0.100000:0"])


def test_more_classes_than_there_are_means_all_of_them():
    assert classified([[1, 2]], count=2**62, datatype="INT64", dtype="i8") == ((1, 2), ["2:1", "1:0"])


def test_whole_numbers_are_written_without_a_fraction():
    """As Triton's std::to_string does."""
    assert classified([[2**63, 1]], count=1, datatype="UINT64", dtype="u8") == ((1, 1), ["9223372036854775808:0"])


@pytest.mark.parametrize(("shape", "expected"), [((0, 3), (0, 2)), ((2, 0), (2, 0)), ((0,), (0,))])
def test_an_output_without_elements_has_no_classes(shape, expected):
    assert classified(np.zeros(shape, "f4")) == (expected, [])


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "FP16", "BF16"])
def test_an_output_without_numbers_is_refused(datatype):
    with pytest.raises(InvalidInput, match=f"'y' is {datatype}.*; classification takes rows of numbers"):
        classify(Tensor("y", datatype, (1, 3), b""), 1, ())


def test_a_single_number_is_no_row():
    with pytest.raises(InvalidInput, match="classification takes rows of numbers"):
        classify(scores(1.0), 1, ())


@given(hnp.arrays("f8", hnp.array_shapes(max_dims=3, max_side=4), elements=st.floats(-1e6, 1e6)), st.integers(1, 5))
def test_each_row_is_ranked_as_sorting_it_does(values, count):
    shape, elements = classified(values, count, datatype="FP64", dtype="f8")

    kept = min(count, values.shape[-1])
    rows = values.reshape(-1, values.shape[-1])
    assert shape == (*values.shape[:-1], kept)
    found = [float(element.split(":")[0]) for element in elements]
    np.testing.assert_allclose(found, np.sort(rows, axis=1)[:, ::-1][:, :kept].reshape(-1), atol=1e-6)


def test_a_request_may_ask_for_the_best_classes():
    outputs = [{"name": "y", "parameters": {"classification": 1}}]
    body = document(tensor([1, 3, 2]), outputs=outputs)

    answer = strict(post(server(labels=LABELS), body).body)["outputs"][0]

    assert answer == {"name": "y", "datatype": "BYTES", "shape": [1, 1], "data": ["3.000000:1:green"]}


@pytest.mark.parametrize(
    ("model", "given_input"),
    [(identity("BYTES", ("rows",)), tensor(["a"], datatype="BYTES", shape=(1,))), (identity("BOOL"), tensor([True] * 3, datatype="BOOL"))],
)
def test_a_request_for_classes_of_no_numbers_is_refused(model, given_input):
    body = document(given_input, outputs=[{"name": "y", "parameters": {"classification": 1}}])

    assert "classification takes rows of numbers" in error_of(post(server(model), body))


def test_a_request_for_classes_of_an_empty_answer_is_answered():
    body = document(tensor([0.0], shape=(1,)), outputs=[{"name": "y", "parameters": {"classification": 1}}])

    assert strict(post(server(non_zero()), body).body)["outputs"][0]["shape"] == [1, 0]
