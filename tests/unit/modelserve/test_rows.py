"""Requests cut by rows, and their answers put together again."""

from array import array
from math import prod
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.classification import classify
from modelserve.errors import InvalidInput, PayloadTooLarge
from modelserve.protocol import InferRequest, InferResponse, encode
from modelserve.rows import cut, join, split
from modelserve.tensors import Tensor, encode_bytes, iter_bytes, to_list


def numbers(name: str, rows: int, *rest: int) -> Tensor:
    shape = (rows, *rest)
    return Tensor(name, "INT32", shape, np.arange(prod(shape), dtype="<i4").data)


def texts(name: str, elements: list[bytes], *rest: int) -> Tensor:
    return Tensor(name, "BYTES", (len(elements) // prod(rest), *rest), encode_bytes(elements))


def nbytes(part: list[Tensor]) -> int:
    return sum(memoryview(tensor.data).nbytes for tensor in part)


@given(
    elements=st.lists(st.binary(max_size=9), min_size=1, max_size=20),
    columns=st.integers(1, 3),
    most=st.integers(1, 9),
    size=st.integers(60, 300),
)
def test_parts_fit_and_together_are_the_whole(elements: list[bytes], columns: int, most: int, size: int):
    inputs = [numbers("x", len(elements), columns), texts("t", elements * columns, columns)]

    parts = list(split(inputs, rows=most, size=size))

    assert all(tensor.shape[0] <= most for part in parts for tensor in part)
    assert all(len({tensor.shape[0] for tensor in part}) == 1 and nbytes(part) <= size for part in parts)
    whole = join(parts)
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in whole] == [
        (tensor.name, tensor.datatype, tensor.shape) for tensor in inputs
    ]
    assert [bytes(memoryview(tensor.data)) for tensor in whole] == [bytes(memoryview(tensor.data).cast("B")) for tensor in inputs]
    assert [len(list(iter_bytes(part[1]))) for part in parts] == [prod(part[1].shape) for part in parts]


def test_rows_are_taken_as_many_at_once_as_may_be():
    parts = list(split([numbers("x", 10, 3)], rows=4, size=10**6))

    assert [part[0].shape for part in parts] == [(4, 3), (4, 3), (2, 3)]


def test_what_is_too_large_is_halved():
    assert [part[0].shape[0] for part in split([numbers("x", 8, 1)], rows=8, size=20)] == [4, 4]


def test_a_row_that_is_too_large_by_itself_is_told():
    with pytest.raises(PayloadTooLarge, match="one row is larger than 11 bytes"):
        list(split([numbers("x", 2, 3)], rows=8, size=11))


def test_inputs_of_other_rows_are_told():
    with pytest.raises(InvalidInput, match="input 'b' has 3 rows, and input 'a' has 2; send as many of each"):
        list(split([numbers("a", 2), numbers("b", 3)], rows=8, size=100))


def test_outputs_whose_rows_differ_in_shape_can_not_be_joined():
    with pytest.raises(ValueError, match=r"output 'y' has shape \[2, 3\] for some rows and \[2, 4\] for others"):
        join([[numbers("y", 2, 3)], [numbers("y", 2, 4)]])


@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=5), columns=st.integers(1, 3), data=st.data())
def test_what_was_joined_is_cut_where_it_was_joined(counts: list[int], columns: int, data: st.DataObject):
    def text(count: int) -> Tensor:
        return texts("t", data.draw(st.lists(st.binary(max_size=3), min_size=count * columns, max_size=count * columns)), columns)

    parts = [[numbers("x", count, columns), text(count)] for count in counts]

    again = cut(join(parts), counts)

    assert [[(each.name, each.shape, bytes(memoryview(each.data))) for each in part] for part in again] == [
        [(each.name, each.shape, bytes(memoryview(each.data).cast("B"))) for each in part] for part in parts
    ]


NUMBERS = np.arange(6, dtype="<f4")


@pytest.mark.parametrize("data", [NUMBERS, NUMBERS.tobytes(), array("f", NUMBERS), memoryview(NUMBERS)], ids=type)
def test_a_buffer_of_any_kind_is_cut_and_classified_and_written(data: Any):
    whole = Tensor("y", "FP32", (3, 2), data)
    (_, (second,)) = cut([whole], [1, 2])

    assert (second.shape, to_list(second)) == ((2, 2), [2, 3, 4, 5])
    assert list(iter_bytes(classify(second, 1, ("a", "b")))) == [b"3.000000:1:b", b"5.000000:1:b"]
    assert b'"data":[2.0,3.0,4.0,5.0]' in encode(InferResponse("m", "v", None, [second]), InferRequest([]))[1]


def test_rows_without_elements_are_cut():
    assert [part[0].shape for part in cut([Tensor("y", "FP32", (3, 0), b"")], [1, 2])] == [(1, 0), (2, 0)]


def test_what_has_other_rows_than_asked_for_can_not_be_cut():
    with pytest.raises(ValueError, match=r"'y' has shape \[2, 3\]; expected 3 rows"):
        cut([numbers("y", 2, 3)], [1, 2])
