"""Fields of records become the inputs of a model, by name."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from functions.batch.records import Columns, StreamRecord
from modelserve.errors import InvalidInput, InvalidRequest, ServeError
from modelserve.manifest import TensorSpec
from modelserve.tensors import to_list

from .streams import dynamodb, kinesis

AMOUNT = TensorSpec(name="amount", datatype="FP32", shape=(-1, 1))
COUNTRY = TensorSpec(name="country", datatype="BYTES", shape=(-1, 1))
ROW = TensorSpec(name="input", datatype="FP32", shape=(-1, 2))
PICTURE = TensorSpec(name="pixels", datatype="INT64", shape=(-1, 2, 2))


def made(fields: dict[str, Any], *signature: TensorSpec, columns: dict[str, Any] | None = None) -> dict[str, Any]:
    """Shape and elements of each input."""
    request = Columns(orjson.dumps(columns or {}).decode()).request(fields, signature)
    return {tensor.name: (tensor.shape, to_list(tensor)) for tensor in request.inputs}


def test_an_input_is_read_from_the_field_of_its_name():
    fields = {"country": "overseas", "amount": 12.5, "other": None}
    assert made(fields, AMOUNT, COUNTRY) == {"amount": ((1, 1), [12.5]), "country": ((1, 1), ["overseas"])}


def test_a_column_renames_a_field():
    assert made({"paid": 3}, AMOUNT, columns={"amount": "paid"}) == {"amount": ((1, 1), [3.0])}


@pytest.mark.parametrize(("fields", "columns"), [({"input": [1, 2]}, None), ({"w": 1, "t": 2}, {"input": ["w", "t"]})])
def test_a_wide_input_is_read_from_a_list_or_from_several_fields(fields, columns):
    assert made(fields, ROW, columns=columns) == {"input": ((1, 2), [1.0, 2.0])}


@pytest.mark.parametrize("pixels", [[1, 2, 3, 4], [[1, 2], [3, 4]]])
def test_a_row_of_several_dimensions_is_flat_or_nested(pixels):
    assert made({"pixels": pixels}, PICTURE) == {"pixels": ((1, 2, 2), [1, 2, 3, 4])}


@pytest.mark.parametrize(
    ("fields", "signature", "columns", "said"),
    [
        ({"paid": 1}, AMOUNT, None, "the record has no field 'amount', from which input 'amount' is made; its fields: paid"),
        ({"amount": None}, AMOUNT, None, "the record has no field 'amount'"),
        ({}, AMOUNT, None, "its fields: none"),
        ({"amount": 1}, AMOUNT, {"total": "amount"}, "columns name an input 'total' that the model doesn't have; it has amount"),
        ({"input": [1]}, ROW, None, r"1 values; shape \[1, 2\] takes 2"),
        ({"amount": "12"}, AMOUNT, None, "holds '12' at position 0; expected numbers"),
        ({"amount": True}, AMOUNT, None, "true or false"),
        ({"country": 1}, COUNTRY, None, "BYTES takes strings"),
        ({"x": [1]}, TensorSpec(name="x", datatype="FP32", shape=(-1, -1)), None, "whose rows are all of one size"),
    ],
)
def test_what_does_not_fit_is_said(fields, signature, columns, said):
    with pytest.raises((InvalidInput, InvalidRequest), match=said):
        made(fields, signature, columns=columns)


def test_a_record_of_kinesis_is_a_json_object():
    record = StreamRecord(kinesis(7, {"amount": 1.5}, key="card"))
    assert (record.sequence_number, record.key, record.fields()) == ("49540007", "card", {"amount": 1.5})
    assert record.id == "shardId-000000000000:49540007"
    assert record.holds_fields


@pytest.mark.parametrize("data", [b"", b"[1]", b"\xff", b'{"amount": '])
def test_other_data_of_kinesis_is_refused(data):
    with pytest.raises(ServeError, match="no JSON object"):
        StreamRecord(kinesis(1, data)).fields()


def test_data_that_is_not_base64_is_refused():
    record = kinesis(1, {})
    record["kinesis"]["data"] = "!"
    with pytest.raises(ServeError, match="no JSON object"):
        StreamRecord(record).fields()


def test_attributes_of_dynamodb_are_what_they_stand_for():
    image = {
        "whole": {"N": "-3"},
        "real": {"N": "1.5e2"},
        "text": {"S": "3"},
        "flag": {"BOOL": True},
        "nothing": {"NULL": True},
        "list": {"L": [{"N": "1"}, {"S": "a"}]},
        "map": {"M": {"inner": {"N": "2"}}},
        "numbers": {"NS": ["1", "2.5"]},
    }
    record = StreamRecord(dynamodb(5, image))
    assert record.fields() == {
        "payment": "p5",
        "whole": -3,
        "real": 150.0,
        "text": "3",
        "flag": True,
        "nothing": None,
        "list": [1, "a"],
        "map": {"inner": 2},
        "numbers": [1, 2.5],
    }
    assert (record.key, record.sequence_number) == ({"payment": "p5"}, f"{5:021}")


def test_a_deleted_item_holds_nothing():
    assert not StreamRecord(dynamodb(1, None)).holds_fields


@pytest.mark.parametrize(
    ("number", "key", "field"),
    [
        ("18446744073709551615", 2**64 - 1, 2**64 - 1),
        ("-9223372036854775808", -(2**63), -(2**63)),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678", 12345678901234567890123456789012345678.0),
        ("-9223372036854775809", "-9223372036854775809", -9223372036854775808.0),
        ("0.12345678901234567890123456789", "0.12345678901234567890123456789", 0.12345678901234568),
        ("1E+125", 1e125, 1e125),
        ("1.50", 1.5, 1.5),
    ],
)
def test_a_number_of_38_digits_is_text_in_a_key_and_rounded_in_a_field(number, key, field):
    record = dynamodb(1, {"amount": {"N": number}, "all": {"NS": [number]}})
    record["dynamodb"]["Keys"] = {"id": {"N": number}}
    found = StreamRecord(record)
    assert found.key == {"id": key}
    assert type(found.fields()["amount"]) is type(field)
    assert (found.fields()["amount"], found.fields()["all"]) == (field, [field])
