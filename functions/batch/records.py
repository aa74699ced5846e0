"""Records of Kinesis and DynamoDB streams, as Lambda hands them over, become fields by name, and those the inputs of a model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from math import prod
from typing import Any

import orjson

from modelserve.errors import InvalidInput, InvalidRequest
from modelserve.manifest import TensorSpec
from modelserve.protocol import InferRequest
from modelserve.tensors import Tensor, from_list

__all__ = ["Columns", "StreamRecord"]

Fields = Mapping[str, Any]


class StreamRecord:
    """One record, whichever stream it came by."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        """`record` is an element of `Records` of Lambda's event for Kinesis or DynamoDB streams."""
        self._record = record
        self._of_kinesis = "kinesis" in record
        about = record["kinesis"] if self._of_kinesis else record["dynamodb"]
        self._about: Mapping[str, Any] = about
        self.id: str = record["eventID"]
        """The same at each delivery of this record, and no other's."""
        self.sequence_number: str = about["sequenceNumber" if self._of_kinesis else "SequenceNumber"]
        """By which Lambda is told where to begin again."""

    @property
    def holds_fields(self) -> bool:
        """False of an item that was deleted, of which nothing is left to predict from."""
        return self._of_kinesis or "NewImage" in self._about

    @property
    def key(self) -> Any:
        """The partition key of Kinesis, or the item's key in DynamoDB as an object; a number that JSON's readers would round is text."""
        if self._of_kinesis:
            return self._about["partitionKey"]
        return {name: _exact(value["N"]) if "N" in value else _plain(value) for name, value in self._about["Keys"].items()}

    def fields(self) -> Fields:
        """Raises `InvalidRequest` where the record is no JSON object, in base64 as Kinesis sends it."""
        return _document(self._about["data"]) if self._of_kinesis else _item(self._about["NewImage"])


class Columns:
    """Which fields make which input of a model, as `StreamSettings.columns` says it."""

    def __init__(self, text: str) -> None:
        self._columns: Mapping[str, str | list[str]] = orjson.loads(text)

    def request(self, fields: Fields, signature: Sequence[TensorSpec]) -> InferRequest:
        """A request of one row. Raises `InvalidInput` or `InvalidRequest` for a field that is missing or doesn't fit its input."""
        names = [spec.name for spec in signature]
        if unknown := sorted(self._columns.keys() - set(names)):
            raise InvalidInput(f"columns name an input {unknown[0]!r} that the model doesn't have; it has {', '.join(names)}")
        return InferRequest([self._tensor(spec, fields) for spec in signature])

    def _tensor(self, spec: TensorSpec, fields: Fields) -> Tensor:
        column = self._columns.get(spec.name, spec.name)
        value = [_field(fields, name, spec) for name in column] if isinstance(column, list) else _field(fields, column, spec)
        shape = (1, *spec.shape[1:])
        if -1 in shape:
            raise InvalidInput(f"input {spec.name!r} has shape {list(spec.shape)}; a record makes inputs whose rows are all of one size")
        values = value if isinstance(value, list) else [value]
        # Nested as a row is, it lacks the outermost list; flat it goes as it is.
        return from_list(spec.name, spec.datatype, shape, [values] if _is_nested(values, shape) else values, booleans=True)


def _is_nested(values: list[Any], shape: tuple[int, ...]) -> bool:
    return len(values) != prod(shape) and any(isinstance(value, list) for value in values)


def _field(fields: Fields, name: str, spec: TensorSpec) -> Any:
    if fields.get(name) is None:
        found = ", ".join(sorted(fields)[:20]) or "none"
        raise InvalidInput(f"the record has no field {name!r}, from which input {spec.name!r} is made; its fields: {found:.500}")
    return fields[name]


def _document(data: str) -> Fields:
    try:
        document = orjson.loads(base64.b64decode(data, validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        document = None
    if not isinstance(document, dict):
        raise InvalidRequest("the record's data is no JSON object; expected one whose fields are the model's inputs")
    return document


def _item(attributes: Mapping[str, Mapping[str, Any]]) -> Fields:
    return {name: _plain(value) for name, value in attributes.items()}


def _number(text: str) -> int | float:
    """DynamoDB's have 38 digits; a whole one that no tensor holds is rounded, as in any other type of 64 bits."""
    try:
        whole = int(text)
    except ValueError:
        return float(text)
    return whole if -(2**63) <= whole < 2**64 else float(whole)


def _exact(text: str) -> int | float | str:
    number = _number(text)
    return number if Decimal(str(number)) == Decimal(text) else text


_PLAIN: dict[str, Callable[[Any], Any]] = {
    "N": _number,
    "NULL": lambda _: None,
    "M": _item,
    "L": lambda values: [_plain(value) for value in values],
    "NS": lambda values: [_number(value) for value in values],
}


def _plain(value: Mapping[str, Any]) -> Any:
    """Of an attribute value, which is one type and what is of it; text, truth values and base64 stay what they are in JSON."""
    ((kind, inner),) = value.items()
    return _PLAIN[kind](inner) if kind in _PLAIN else inner
