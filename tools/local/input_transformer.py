"""What a rule's target gets of an event: all of it, a part, a constant, or a template with parts put in.

The rules are those of https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-transform-target-input.html.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonpath_ng.ext.parser import parse

__all__ = ["InvalidInput", "target_input"]

_VARIABLE = re.compile(r"<([A-Za-z0-9_.\-]+)>")


class InvalidInput(Exception):
    """Neither JSON nor lines of JSON strings: EventBridge gives such an event to the target's DLQ."""

    def __init__(self, text: str) -> None:
        super().__init__(f"the input template makes no JSON: {text}")


def target_input(event: Mapping[str, Any], target: Mapping[str, Any], *, rule: str, rule_arn: str, received: str) -> str:
    """JSON, or lines of JSON strings. Raises `InvalidInput`; `received` is the time at which the event came in."""
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        return json.dumps(_found(event, target["InputPath"]))
    transformer = target.get("InputTransformer")
    if not transformer:
        return json.dumps(event)
    values = {name: _found(event, path) for name, path in transformer.get("InputPathsMap", {}).items()}
    values |= {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule,
        "aws.events.event.ingestion-time": received,
        "aws.events.event": {name: value for name, value in event.items() if name != "detail"},
        "aws.events.event.json": event,
    }
    return _checked(_filled(transformer["InputTemplate"], values))


def _found(event: Mapping[str, Any], path: str) -> Any:
    """Nothing at a path is an empty string; several values are a list."""
    # EventBridge takes dashes in names as they are; the library takes them for a minus.
    quoted = re.sub(r"\.([A-Za-z0-9_/]*-[A-Za-z0-9_\-/]*)", r"['\1']", path)
    matches = [match.value for match in parse(quoted).find(event)]
    if "*" in path:
        return matches
    return matches[0] if matches else ""


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """A variable between quotes becomes text, one outside of them JSON; one that nobody defined is empty."""
    parts, at, quoted = [], 0, False
    for match in _VARIABLE.finditer(template):
        between = template[at : match.start()]
        parts.append(between)
        quoted ^= len(re.findall(r'(?<!\\)"', between)) % 2 == 1
        value = values.get(match[1], "")
        parts.append(_text(value) if quoted else json.dumps(value))
        at = match.end()
    return "".join([*parts, template[at:]])


def _text(value: Any) -> str:
    """Strings are not escaped; what is no string loses its quotes."""
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")


def _checked(text: str) -> str:
    try:
        json.loads(text, strict=False)
    except ValueError:
        try:
            [json.loads(line) for line in text.splitlines()]
        except ValueError:
            raise InvalidInput(text) from None
    return text
