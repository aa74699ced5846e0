"""Buffers from lists and lists from buffers, without the wire around them."""

import struct
from array import array
from contextlib import suppress
from math import frexp
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelserve.errors import InvalidInput, InvalidRequest, UnsupportedDatatype
from modelserve.tensors import DATATYPES, Tensor, encode_bytes, from_list, is_finite, iter_bytes, shortest, to_list

from .strategies import arrays


def of_bytes(data: bytes) -> Tensor:
    return Tensor("x", "BYTES", (1,), data)


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_a_datatype_takes_as_many_bytes_as_its_name_says(datatype):
    bits = "".join(filter(str.isdigit, datatype))
    kind = DATATYPES[datatype]

    assert kind.size == {"BOOL": 1, "BYTES": 0}.get(datatype, int(bits or 0) // 8)
    assert kind.code is None or kind.code == "?" or array(kind.code).itemsize == kind.size


@given(st.lists(st.binary(max_size=9), max_size=9))
def test_elements_of_bytes_come_back(elements):
    assert list(iter_bytes(of_bytes(encode_bytes(elements)))) == elements


@given(st.binary(max_size=40))
def test_any_buffer_is_read_to_its_end_or_refused(data):
    elements = None
    with suppress(InvalidInput):
        elements = list(iter_bytes(of_bytes(data)))

    assert elements is None or encode_bytes(elements) == data


def test_what_is_read_is_a_copy_of_a_view_of_any_kind():
    data = memoryview(b"??\2\0\0\0ab")[2:]

    assert list(iter_bytes(Tensor("x", "BYTES", (1,), data))) == [b"ab"]


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 3)])
def test_a_tensor_without_elements_is_an_empty_list(shape):
    import numpy as np

    data: Any = np.zeros(shape, "f4").reshape(-1)
    assert to_list(Tensor("y", "FP32", shape, data)) == []


def test_booleans_are_looked_for_only_when_there_may_be_some():
    """The caller has seen the text; without true or false in it no element can be one."""
    with pytest.raises(InvalidRequest, match="holds true or false"):
        from_list("x", "FP32", (2,), [1.0, True], booleans=True)
    assert from_list("x", "FP32", (2,), [1.0, 2.0], booleans=False).data == struct.pack("<2f", 1.0, 2.0)


def test_a_lone_surrogate_is_no_text():
    with pytest.raises(InvalidRequest, match="lone surrogate; send such bytes by the binary"):
        from_list("x", "BYTES", (1,), ["\ud800"], booleans=False)


@pytest.mark.parametrize(
    ("shape", "values"),
    [((2, 2), [[1, 2], [3]]), ((2, 2), [[1, 2], 3]), ((2, 2), [[1, 2, 3, 4]]), ((4,), [[1, 2], [3, 4]]), ((1, 2, 1), [[[1], 2]])],
)
def test_data_nested_otherwise_than_its_shape_is_refused(shape, values):
    with pytest.raises((InvalidInput, InvalidRequest)):
        from_list("x", "FP32", shape, values, booleans=False)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_is_no_list(datatype):
    with pytest.raises(UnsupportedDatatype, match="ask for it with binary_data"):
        to_list(Tensor("y", datatype, (1,), b"\0\0"))


def test_a_number_beyond_single_precision_becomes_infinite_as_in_numpy():
    assert from_list("x", "FP32", (1,), [1e39], booleans=False).data == struct.pack("<f", float("inf"))


@given(
    st.sampled_from(sorted(set(DATATYPES) - {"BYTES"})).flatmap(
        lambda datatype: st.tuples(st.just(datatype), arrays(datatype, (5,), finite=False))
    )
)
def test_what_is_finite_is_what_numpy_says(drawn):
    datatype, elements = drawn
    tensor = Tensor("x", datatype, elements.shape, elements.tobytes())

    with np.errstate(invalid="ignore"):  # numpy warns of some NaN of BF16, depending on its bits
        assert is_finite(tensor) == bool(np.isfinite(elements.astype("f8")).all())


def test_finite_numbers_whose_sum_is_not_are_finite():
    assert is_finite(Tensor("x", "FP64", (2,), np.array([1.7e308, 1.7e308]).tobytes()))


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_the_fewest_digits_are_the_same_number(values):
    assert array("f", shortest(values)) == array("f", values)


written = st.floats(2**-16, 2**40, width=32).filter(lambda value: frexp(value)[0] != 0.5)  # at a power of two digits may round away


@given(st.lists(written | written.map(float.__neg__)))
def test_the_fewest_digits_are_those_that_a_numpy_array_is_written_with(values):
    assert orjson.dumps(shortest(values)) == orjson.dumps(np.array(values, "<f4"), option=orjson.OPT_SERIALIZE_NUMPY)
