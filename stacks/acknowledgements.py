"""Findings of cdk-nag that stay, each with what protects instead; docs/security.md lists them, and a test holds the list to them."""

from __future__ import annotations

from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from constructs import Construct

__all__ = ["acknowledge", "acknowledge_wildcard"]


def acknowledge(scope: Construct, rule: str, control: str) -> None:
    """Keeps `rule` silent for `scope` and what is in it; `control` names what protects instead."""
    Validations.of(scope).acknowledge(Acknowledgment(id=rule, reason=control))


def acknowledge_wildcard(scope: Construct, resource: str, control: str) -> None:
    """The same of a permission whose resource ends in a wildcard, and of no other."""
    acknowledge(scope, f"AwsSolutions-IAM5[Resource::{_as_cdk_nag_writes(Stack.of(scope).resolve(resource))}]", control)


def _as_cdk_nag_writes(value: Any) -> str:
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(map(_as_cdk_nag_writes, parts))
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
    return str(value)
