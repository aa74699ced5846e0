"""What EventBridge makes of an event for a target, quote by quote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tools.local.input_transformer import InvalidInput, target_input

EVENT = {
    "version": "0",
    "id": "an-id",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "time": "2026-01-02T03:04:05Z",
    "resources": ["arn:aws:s3:::bucket"],
    "detail": {"object": {"key": "in/a b.csv", "size": 12, "version-id": "v1"}, "many": [{"n": 1}, {"n": 2}], "yes": True, "none": None},
}
PATHS = {
    "key": "$.detail.object.key",
    "size": "$.detail.object.size",
    "version-id": "$.detail.object.version-id",
    "type": "$.detail-type",
    "object": "$.detail.object",
    "ns": "$.detail.many[*].n",
    "second": "$.detail.many[1].n",
    "yes": "$.detail.yes",
    "none": "$.detail.none",
    "missing": "$.detail.nothing.here",
}


def made(**target: Any) -> str:
    return target_input(EVENT, target, rule="a-rule", rule_arn="arn:rule", received="2026-01-02T03:04:06Z")


def filled(template: str) -> str:
    return made(InputTransformer={"InputPathsMap": PATHS, "InputTemplate": template})


def test_without_anything_a_target_gets_the_event() -> None:
    assert json.loads(made()) == EVENT


def test_a_constant_is_taken_as_it_is() -> None:
    assert made(Input='{"a":  1}') == '{"a":  1}'


def test_a_path_takes_a_part() -> None:
    assert json.loads(made(InputPath="$.detail.object")) == EVENT["detail"]["object"]  # type: ignore[index]
    assert made(InputPath="$.detail-type") == '"Object Created"'


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"a": <key>, "b": <size>, "c": <yes>, "d": <none>}', {"a": "in/a b.csv", "b": 12, "c": True, "d": None}),
        ('{"a": "<key>", "b": "<size> bytes", "c": "<yes>"}', {"a": "in/a b.csv", "b": "12 bytes", "c": "true"}),
        ('{"a": <version-id>, "b": <type>}', {"a": "v1", "b": "Object Created"}),
        ('{"a": <object>, "b": <ns>, "c": <second>}', {"a": EVENT["detail"]["object"], "b": [1, 2], "c": 2}),  # type: ignore[index]
        ('{"a": "x <ns> y", "b": "\\"<key>\\""}', {"a": "x [1, 2] y", "b": '"in/a b.csv"'}),
        ('{"a": <missing>, "b": "x<missing>y", "c": <nobody.defined.it>}', {"a": "", "b": "xy", "c": ""}),
        ('{"<key>": 1}', {"in/a b.csv": 1}),
        ("<object>", EVENT["detail"]["object"]),  # type: ignore[index]
        ('"<key> has <size>"', "in/a b.csv has 12"),
        ('{"a": <aws.events.rule-arn>, "b": "<aws.events.rule-name>"}', {"a": "arn:rule", "b": "a-rule"}),
        ('{"a": <aws.events.event.ingestion-time>}', {"a": "2026-01-02T03:04:06Z"}),
        ('{"a": <aws.events.event.json>}', {"a": EVENT}),
        ('{"a": <aws.events.event>}', {"a": {name: part for name, part in EVENT.items() if name != "detail"}}),
    ],
)
def test_a_variable_is_json_outside_of_quotes_and_text_between_them(template: str, expected: Any) -> None:
    assert json.loads(filled(template)) == expected


def test_lines_of_strings_stay_lines() -> None:
    assert filled('"<key>"\n"<size>"') == '"in/a b.csv"\n"12"'


def test_an_object_between_quotes_loses_its_own() -> None:
    assert json.loads(filled('"<object>"')) == "{key: in/a b.csv, size: 12, version-id: v1}"


@pytest.mark.parametrize("template", ['{"a": <key>', "key <size>", '{"a": "<key>}'])
def test_what_is_no_json_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput, match="makes no JSON"):
        filled(template)
