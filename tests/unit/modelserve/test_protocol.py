"""The wire, against Triton's own client as the other end, and against whatever else may be sent."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

from modelserve.endpoints import Response
from modelserve.errors import InvalidInput, InvalidRequest, ServeError, UnsupportedDatatype
from modelserve.protocol import InferRequest, InferResponse, encode, may_hold_booleans, parse, parse_document, status_of
from modelserve.tensors import Tensor

from .factories import answered_or_refused, document, error_of, post, server, strict, tensor
from .graphs import identity, identity_session, non_zero, pair, unary
from .strategies import almost_requests, anything, dumped, mutations, tensors

FP32 = server()
BYTES = server(identity("BYTES", ("rows",)))
VALID = dumped(document(tensor([[1.5, -2.0, 3.0]]), id="7", outputs=[{"name": "y"}]))


def triton_input(name: str, datatype: str, array: np.ndarray, *, binary: bool) -> InferInput:
    return InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def triton_result(response: Response) -> InferResult:
    assert response.status == 200, response.body
    length = response.headers.get("Inference-Header-Content-Length")
    return InferenceServerClient.parse_response_body(response.body, header_length=int(length) if length else None)


def valid_binary() -> tuple[bytes, int]:
    inputs = [triton_input("x", "FP32", np.array([[1.5, -2.0, 3.0]], "f4"), binary=True)]
    body, length = InferenceServerClient.generate_request_body(inputs, request_id="7")
    return body, length


@given(tensors(binary=True))
def test_binary_tensors_come_back_bit_by_bit(sent):
    datatype, array = sent
    body, length = InferenceServerClient.generate_request_body([triton_input("x", datatype, array, binary=True)])

    result = triton_result(post(server(identity_session(datatype, array.ndim)), body, header_length=length))

    found = result.as_numpy("y")
    assert found.shape == array.shape
    assert found.tolist() == array.tolist() if datatype == "BYTES" else found.tobytes() == array.tobytes()


@given(tensors(binary=False))
def test_json_tensors_come_back_bit_by_bit(sent):
    datatype, array = sent
    outputs = [InferRequestedOutput("y", binary_data=False)]
    body, length = InferenceServerClient.generate_request_body([triton_input("x", datatype, array, binary=False)], outputs)
    assert length is None

    response = post(server(identity_session(datatype, array.ndim)), body)

    strict(response.body)
    found = triton_result(response).as_numpy("y")
    assert found.shape == array.shape
    if datatype == "BYTES":
        assert [text.encode() for text in found.flat] == list(array.flat)
    else:
        assert found.tobytes() == array.tobytes()


@given(tensors(binary=False))
def test_data_may_be_flat_or_nested(sent):
    datatype, array = sent
    values = np.vectorize(bytes.decode, otypes=[object])(array) if datatype == "BYTES" else array
    flat, nested = values.reshape(-1).tolist(), values.reshape(array.shape or (1,)).tolist()

    bodies = [dumped(document(tensor(form, datatype=datatype, shape=array.shape))) for form in (flat, nested)]

    first, second = (bytes(memoryview(parse(body, None).inputs[0].data)) for body in bodies)
    assert first == second


def test_binary_and_json_tensors_share_a_request_and_an_answer():
    a, b = np.array([[1, 2]], "f4"), np.array([[10, 20]], "f4")
    inputs = [triton_input("b", "FP32", b, binary=False), triton_input("a", "FP32", a, binary=True)]
    outputs = [InferRequestedOutput("difference", binary_data=False), InferRequestedOutput("total", binary_data=True)]
    body, length = InferenceServerClient.generate_request_body(inputs, outputs)

    result = triton_result(post(server(pair()), body, header_length=length))

    assert result.as_numpy("total").tolist() == [[11, 22]]
    assert result.as_numpy("difference").tolist() == [[-9, -18]]
    assert [output["name"] for output in result.get_response()["outputs"]] == ["difference", "total"]


def test_several_binary_tensors_follow_one_another_in_the_order_of_the_inputs():
    first, second = np.array([[1, 2]], "f4"), np.array([[10, 20]], "f4")
    inputs = [triton_input("b", "FP32", second, binary=True), triton_input("a", "FP32", first, binary=True)]
    body, length = InferenceServerClient.generate_request_body(inputs)

    result = triton_result(post(server(pair()), body, header_length=length))

    assert result.as_numpy("total").tolist() == [[11, 22]]
    assert result.as_numpy("difference").tolist() == [[-9, -18]]


def test_the_answer_names_model_version_and_id_and_omits_what_was_not_sent():
    with_id = strict(post(FP32, document(id="")).body)
    without = strict(post(FP32, document()).body)

    assert with_id["id"] == ""
    assert without == {
        "model_name": "sample",
        "model_version": "20261120T174100Z-1a2b3c4d",
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [1.0, 2.0, 3.0]}],
    }


def test_a_raw_body_is_the_only_input_and_answered_in_binary():
    array = np.array([[1, 2, 3], [4, 5, 6]], "f4")

    response = post(FP32, array.tobytes(), header_length=0)

    assert triton_result(response).as_numpy("y").tolist() == array.tolist()


def test_a_raw_body_is_one_element_of_bytes():
    assert triton_result(post(BYTES, b"\xc3\xa9 text", header_length=0)).as_numpy("y").tolist() == ["é text".encode()]


def test_header_values_are_text():
    body, length = valid_binary()

    for response in (post(FP32, body, header_length=length), post(FP32, VALID), post(FP32, b"")):
        assert all(type(value) is str for value in response.headers.values())


# What is refused, and in which words.


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b"null", "missing; expected a JSON object"),
        (b"[]", "a list; expected a JSON object"),
        (b"1", "a number"),
        (b'"text"', "a string"),
        (b"{}", "'inputs' is missing or empty"),
        (b'{"inputs": []}', "'inputs' is missing or empty"),
        (b'{"inputs": {}}', "'inputs' is missing or empty"),
        (b'{"inputs": [1]}', "an input is a number; expected an object"),
        (b'{"inputs": [' * 513 + b"]}" * 513, "not JSON: depth limit"),
        (b"[" * 1025 + b"]" * 1025, "depth limit"),
        (b"[" * 100_000, "depth limit"),
        (b"[" * 100_000 + b"NaN" + b"]" * 100_000, "not JSON"),
        (b"\xff\xfe{}", "not JSON"),
        (b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [nan]}]}', "not JSON"),
        (VALID + b"x", "not JSON"),
        (b'{"inputs": ' + b"[{}]" + b"," * 3, "not JSON"),
        (dumped({"inputs": [{}] * 5000}), "has 5000 tensors; at most 4096"),
    ],
)
def test_a_body_that_is_no_request_is_told_what_one_is(body, says):
    assert says in error_of(post(FP32, body))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "z"}, "no input 'z'; expected 'x' (FP32 [-1, 3])"),
        ({"name": ""}, "name is empty; expected a string"),
        ({"name": None}, "name is missing; expected a string"),
        ({"name": 5}, "name is a number; expected a string"),
        ({"name": "n" * 1025}, "name has 1025 characters; expected at most 1024"),
        ({"name": "a\nb\x00"}, r"'a\nb\x00'"),
        ({"datatype": "FP31"}, "datatype 'FP31'; expected one of BOOL, UINT8"),
        ({"datatype": ["FP32"]}, "datatype ['FP32']; expected one of"),
        ({"datatype": "FP64"}, "'x' is FP64; expected FP32"),
        ({"shape": None}, "shape None; expected a list"),
        ({"shape": [1, "3"]}, "expected a list of at most 64 sizes"),
        ({"shape": [1, 3.0]}, "expected a list of at most 64 sizes"),
        ({"shape": [True, 3]}, "expected a list of at most 64 sizes"),
        ({"shape": [-1, 3]}, "each 0 to"),
        ({"shape": [1] * 65}, "at most 64 sizes"),
        ({"shape": [2**62, 3]}, f"has 3 values; shape [{2**62}, 3] takes {3 * 2**62}"),
        ({"shape": [10**30, 10**30], "data": [float("nan")]}, "each 0 to"),
        ({"shape": [3]}, "shape [3]; expected [-1, 3]"),
        ({"shape": [1, 4], "data": [1, 2, 3, 4]}, "shape [1, 4]; expected [-1, 3]"),
        ({"shape": [0, 3], "data": []}, "no elements; send at least one row"),
        ({"shape": [], "data": [1]}, "shape []; expected [-1, 3]"),
        ({"data": [1, 2]}, "has 2 values; shape [1, 3] takes 3"),
        ({"data": [1, 2, 3, 4]}, "has 4 values; shape [1, 3] takes 3"),
        ({"data": [[1, 2], [3]]}, "not nested as its shape"),
        ({"data": [[1, 2, 3], 4]}, "not nested as its shape"),
        ({"data": [[[1], [2], [3]]]}, "[1] at position 0; expected numbers"),
        ({"data": [1, 2, [3]]}, "[3] at position 2; expected numbers"),
        ({"data": [1, 2, "3"]}, "'3' at position 2; expected numbers that fit FP32"),
        ({"data": [1, None, 3]}, "None at position 1"),
        ({"data": [1, {}, 3]}, "{} at position 1"),
        ({"data": [1, True, 3]}, "holds true or false; FP32 takes numbers"),
        ({"data": "123"}, "data that is a string; expected a list"),
        ({"data": None}, "data that is missing; expected a list, or the parameter binary_data_size"),
        ({"parameters": []}, "'parameters' of input 'x' is a list; expected an object"),
        ({"parameters": {"shared_memory_region": "r"}}, "names a shared memory region"),
        ({"parameters": {"binary_data_size": 12}}, "both data and binary_data_size"),
    ],
)
def test_an_input_that_does_not_fit_is_told_what_would(wrong, says):
    assert says in error_of(post(FP32, document({**tensor([1.0, 2.0, 3.0]), **wrong})))


@pytest.mark.parametrize(
    ("datatype", "value", "says"),
    [
        ("UINT8", 256, "256 at position 0; expected numbers that fit UINT8"),
        ("UINT8", -1, "-1 at position 0"),
        ("INT8", 128, "128 at position 0"),
        ("INT16", -32769, "-32769 at position 0"),
        ("INT32", 2**31, "at position 0"),
        ("INT64", 2**63, "at position 0"),
        ("UINT64", 2**64, "at position 0"),
        ("INT64", 1.0, "1.0 at position 0; expected numbers that fit INT64"),
        ("INT64", True, "holds true or false; INT64 takes numbers"),
        ("BOOL", 1, "BOOL takes nothing else"),
        ("BOOL", None, "BOOL takes nothing else"),
        ("BYTES", 1, "BYTES takes strings"),
        ("BYTES", [["a"]], "BYTES takes strings"),
        ("BYTES", "\ud800", "no low surrogate in string"),
        ("FP16", 1.0, "FP16, which JSON can't carry; send it by the binary tensor data extension"),
        ("BF16", 1.0, "BF16, which JSON can't carry"),
    ],
)
def test_an_element_that_its_datatype_can_not_hold_is_refused(datatype, value, says):
    answering = server(identity_session(datatype, 2))

    assert says in error_of(post(answering, document(tensor([value], datatype=datatype, shape=(1, 1)))))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"inputs": [tensor([1, 2, 3]), tensor([1, 2, 3])]}, "'x' stands twice"),
        ({"id": 7}, "'id' is 7; expected a string"),
        ({"parameters": {"binary_data_output": 1}}, "'binary_data_output' is 1; expected true or false"),
        ({"outputs": {}}, "'outputs' is an object; expected a list"),
        ({"outputs": ["y"]}, "a requested output is 'y'; expected an object with a name"),
        ({"outputs": [{"name": "z"}]}, "no output 'z'; expected one of y"),
        ({"outputs": [{"name": "y"}, {"name": "y"}]}, "'y' is asked for twice"),
        ({"outputs": [{"name": "n" * 1025}]}, "expected an object with a name"),
        ({"outputs": [{"name": f"y{number}"} for number in range(4097)]}, "'outputs' names 4097 tensors; at most 4096 are read"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "'binary_data' is 'yes'"),
        ({"outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "classification -1"),
        ({"outputs": [{"name": "y", "parameters": {"classification": True}}]}, "classification True"),
        ({"outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]}, "shared memory"),
    ],
)
def test_a_request_that_contradicts_itself_or_the_model_is_refused(wrong, says):
    assert says in error_of(post(FP32, {**document(), **wrong}))


def test_a_missing_input_is_named():
    says = error_of(post(server(pair()), document(tensor([1, 2], name="a", shape=(1, 2)))))

    assert "'b' is missing; expected 'a' (FP32 [-1, 2]), 'b' (FP32 [-1, 2])" in says


@pytest.mark.parametrize("length", ["-1", "abc", "1.5", "", " 5", "٣", "9" * 30, "1000", "+5"])
def test_a_header_length_that_is_no_size_of_the_body_is_refused(length):
    assert "Inference-Header-Content-Length is" in error_of(post(FP32, VALID, header_length=length))


@pytest.mark.parametrize("size", [-1, 0, 11, 13, 2**70, True, "12", 12.0, [12]])
def test_a_binary_size_that_is_not_that_of_the_data_is_refused(size):
    item = {"name": "x", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": size}}
    header = dumped({"inputs": [item]})

    assert "bytes" in error_of(post(FP32, header + bytes(12), header_length=len(header)))


def test_true_is_no_size():
    """Though Python takes it for 1."""
    header = dumped({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1], "parameters": {"binary_data_size": True}}]})

    says = error_of(post(server(identity_session("UINT8", 1)), header + b"\7", header_length=len(header)))

    assert "binary_data_size True" in says


def test_binary_data_that_no_input_claims_is_refused():
    assert "1 bytes of binary data follow" in error_of(post(FP32, VALID + b"\0", header_length=len(VALID)))


@pytest.mark.parametrize("data", [b"\1\0\0", b"\5\0\0\0abc", b"\xff\xff\xff\xff", b"\0\0\0\0\0"])
def test_elements_that_run_past_their_buffer_are_refused(data):
    item = {"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    header = dumped({"inputs": [item]})

    assert "runs past the end" in error_of(post(BYTES, header + data, header_length=len(header)))


def test_another_count_of_elements_than_the_shape_says_is_refused():
    data = b"\1\0\0\0a\1\0\0\0b"
    header = dumped({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(data)}}]})

    assert "has 2 elements; shape [3] takes 3" in error_of(post(BYTES, header + data, header_length=len(header)))


def test_bytes_that_are_no_text_are_refused_by_a_model_of_strings():
    data = b"\1\0\0\0\xff"
    header = dumped({"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}]})

    assert "not UTF-8" in error_of(post(BYTES, header + data, header_length=len(header)))


@pytest.mark.parametrize(("body", "says"), [(b"", "no elements"), (bytes(13), "13 bytes; expected a multiple of 12")])
def test_a_raw_body_of_another_size_is_refused(body, says):
    assert says in error_of(post(FP32, body, header_length=0))


def test_a_raw_body_is_refused_by_a_model_of_two_inputs():
    assert "a raw body fits a model with one input" in error_of(post(server(pair()), bytes(16), header_length=0))


# NaN


def test_nan_in_json_is_a_number_when_the_model_accepts_it():
    body = dumped(document(tensor([float("nan"), float("inf"), -float("inf")]), parameters={"binary_data_output": True}))

    result = triton_result(post(FP32, body))

    assert b"NaN" in body
    np.testing.assert_array_equal(result.as_numpy("y"), [[np.nan, np.inf, -np.inf]])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_answer_that_json_can_not_carry_is_refused_in_json(value):
    says = error_of(post(FP32, document(tensor([1.0, value, 2.0]))))

    assert "output 'y' holds NaN or infinity" in says
    assert "binary_data" in says


def test_an_answer_without_elements_is_an_empty_list():
    response = post(server(non_zero()), document(tensor([0.0, 0.0], shape=(2,))))

    assert strict(response.body)["outputs"] == [{"name": "y", "datatype": "INT64", "shape": [1, 0], "data": []}]


@pytest.mark.parametrize(
    ("aside", "says"),
    [
        (b'"' + b"\\ud800" + b'"', "no low surrogate"),
        (b"[" * 1024 + b"]" * 1024, "depth limit exceeded"),
        (b"1e999", "number is infinity"),
        (b"9" * 5000, "number is infinity"),
    ],
    ids=["a surrogate", "nesting", "1e999", "digits"],
)
def test_nan_in_a_body_lets_nothing_else_in(aside, says):
    """The standard library, which reads NaN, reads these too."""
    body = b'{"aside": ' + aside + b", " + VALID[1:]
    assert says in error_of(post(FP32, body))
    assert says in error_of(post(FP32, b'{"nan": NaN, ' + body[1:]))


def test_a_byte_order_mark_is_refused_before_nan_too():
    assert "byte order mark" in error_of(post(FP32, b"\xef\xbb\xbf" + b'{"nan": NaN, ' + VALID[1:]))


def test_an_id_of_a_direct_invocation_may_be_no_unicode():
    """AWS's runtime client reads lone surrogates, which no answer can carry."""
    with pytest.raises(InvalidRequest, match="expected a string of Unicode text"):
        parse_document(document(id="\udfff"))


def test_an_answer_that_spells_null_is_no_nan():
    response = post(BYTES, document(tensor(["null"], datatype="BYTES", shape=(1,)), id="null"))

    assert strict(response.body)["outputs"][0]["data"] == ["null"]


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_precision_comes_back_in_binary_and_is_refused_in_json(datatype):
    answering = server(identity_session(datatype, 1))
    item = {"name": "x", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": 4}}
    in_json = dumped({"inputs": [item]})
    in_binary = dumped({"inputs": [item], "parameters": {"binary_data_output": True}})

    refused = post(answering, in_json + b"\x01\x3c\x02\xc0", header_length=len(in_json))
    answered = post(answering, in_binary + b"\x01\x3c\x02\xc0", header_length=len(in_binary))

    assert f"output 'y' is {datatype}, which JSON can't carry; ask for it with binary_data" in error_of(refused)
    assert answered.body.endswith(b"\x01\x3c\x02\xc0")


def test_bytes_that_are_no_text_are_refused_in_json_and_carried_in_binary():
    answer = InferResponse("sample", "1", None, [Tensor("y", "BYTES", (1,), b"\1\0\0\0\xff")])

    with pytest.raises(UnsupportedDatatype, match="'y' holds bytes that are not UTF-8; ask for it with binary_data"):
        encode(answer, InferRequest([]))
    assert encode(answer, InferRequest([], binary=True))[1].endswith(b"\1\0\0\0\xff")


def test_nan_that_the_graph_makes_is_refused_in_json_and_carried_in_binary():
    answering = server(unary("Sqrt"))
    body = document(tensor([-1.0, 4.0, 9.0]))

    assert "output 'y' holds NaN" in error_of(post(answering, body))
    result = triton_result(post(answering, body | {"parameters": {"binary_data_output": True}}))
    np.testing.assert_array_equal(result.as_numpy("y"), [[np.nan, 2, 3]])


# Anything at all


@given(anything)
def test_any_json_is_answered_or_refused(value):
    answered_or_refused(post(FP32, dumped(value)))


@given(almost_requests, st.binary(max_size=16))
def test_any_document_with_the_keys_of_a_request_is_answered_or_refused(value, binary):
    body = dumped(value)

    answered_or_refused(post(FP32, body))
    answered_or_refused(post(BYTES, body + binary, header_length=len(body)))


@given(st.binary(max_size=200), st.none() | st.integers(-2, 220) | st.text(max_size=4))
def test_any_bytes_are_answered_or_refused(body, length):
    answered_or_refused(post(FP32, body, header_length=length))


@given(mutations(VALID))
def test_a_mutated_json_request_is_answered_or_refused(body):
    answered_or_refused(post(FP32, body))


@given(mutations(valid_binary()[0]), st.integers(-3, 3))
def test_a_mutated_binary_request_is_answered_or_refused(body, off):
    answered_or_refused(post(FP32, body, header_length=valid_binary()[1] + off))


def test_a_request_cut_at_any_byte_is_refused():
    body, length = valid_binary()

    for end in range(len(VALID)):
        error_of(post(FP32, VALID[:end]))
    for end in range(len(body)):
        error_of(post(FP32, body[:end], header_length=length))
    assert {post(FP32, VALID).status, post(FP32, body, header_length=length).status} == {200}


@pytest.mark.parametrize("depth", [1, 10, 900, 1020])
@pytest.mark.parametrize("key", ["name", "datatype", "shape", "data", "parameters"])
def test_a_deep_value_in_the_place_of_any_key_is_refused(key, depth):
    item = json.dumps({**tensor([1.0, 2.0, 3.0]), key: "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)

    assert len(error_of(post(FP32, f'{{"inputs": [{item}]}}'.encode()))) < 300


def test_every_error_of_a_request_is_the_callers():
    assert [status_of(error("")) for error in (InvalidRequest, InvalidInput, UnsupportedDatatype)] == [400, 400, 400]
    assert status_of(ServeError("")) == 500


@given(st.lists(st.sampled_from([b"true", b"false", b"tru", b"alse", b"r", b"l", b"rue", b"1.5e-7,", b'"inputs"', b"r" * 70])))
def test_no_boolean_is_overlooked(pieces):
    text = b"".join(pieces)
    assert may_hold_booleans(text) or not (b"true" in text or b"false" in text)


def test_a_request_of_numbers_is_not_searched_for_booleans():
    assert not may_hold_booleans(VALID)
    assert may_hold_booleans(VALID.replace(b"1.5", b"true"))
