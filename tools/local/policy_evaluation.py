"""Evaluates the policy that an authorizer answers: what it allows of one action on one resource."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["MalformedPolicy", "allows"]

_KEYS = {"Sid", "Effect", "Action", "Resource"}


class MalformedPolicy(Exception):
    """Not a policy, or one with an element that is not known here, such as Condition or NotAction."""


def allows(policy: object, action: str, resource: str) -> bool:
    """A Deny wins over every Allow, and what is not allowed is denied; `*` also stands for slashes. Raises `MalformedPolicy`.

    Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Resource".
    """
    effects = {each["Effect"] for each in _statements(policy) if _covers(each["Action"], action) and _covers(each["Resource"], resource)}
    return effects == {"Allow"}


def _statements(policy: object) -> list[dict[str, Any]]:
    found = policy.get("Statement") if isinstance(policy, dict) else None
    statements = [found] if isinstance(found, dict) else found
    if not isinstance(statements, list):
        raise MalformedPolicy("the policy has no Statement")
    for each in statements:
        if not isinstance(each, dict) or not {"Effect", "Action", "Resource"} <= set(each) <= _KEYS:
            raise MalformedPolicy("a statement is no object of Effect, Action and Resource")
        if each["Effect"] not in {"Allow", "Deny"}:
            raise MalformedPolicy("a statement's Effect is neither Allow nor Deny")
    return statements


def _covers(patterns: object, value: str) -> bool:
    many = [patterns] if isinstance(patterns, str) else patterns
    if not isinstance(many, list) or not all(isinstance(each, str) for each in many):
        raise MalformedPolicy("a statement's Action or Resource is neither text nor a list of texts")
    return any(_matches(each, value) for each in many)


def _matches(pattern: str, value: str) -> bool:
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, value, re.DOTALL) is not None
