"""A stack that is there only while it has something to run."""

from __future__ import annotations

from typing import Any

from aws_cdk import DefaultStackSynthesizer, Stack
from constructs import Construct

from .acknowledgements import acknowledge

__all__ = ["OptionalStack"]


class OptionalStack(Stack):
    """With nothing to run it is empty: the CDK CLI makes no such stack, and deletes one that was there."""

    def __init__(self, scope: Construct, construct_id: str, *, description: str, empty: bool, **kwargs: Any) -> None:
        super().__init__(scope, construct_id, **(_nothing() if empty else {"description": description}), **kwargs)
        if empty:
            acknowledge(
                self, "CloudFormation-Validate::F0001", "CloudFormation never sees it: the CDK CLI makes no stack without resources."
            )


def _nothing() -> dict[str, Any]:
    """Of a template with nothing in it at all, so that the CLI sees no difference to a stack that isn't there."""
    return {"analytics_reporting": False, "synthesizer": DefaultStackSynthesizer(generate_bootstrap_version_rule=False)}
