"""Deletes a deployment with `cdk destroy`, then says what is left of it on purpose and what that costs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools.modelctl.deployment import CONFIG, open_session, stack_name, stack_outputs

__all__ = ["Remnant", "remaining", "remnants", "report"]

_STACKS = ("Store", "Batch", "Serving", "Gpu", "Examples")
# us-east-1; other regions differ by some tens of percent.
_KEY_MONTH = 1.0  # USD
_GIGABYTE_MONTH = 0.023  # USD, S3 Standard


@dataclass(frozen=True, kw_only=True)
class Remnant:
    """A resource that outlives its stack."""

    kind: str
    """Its CloudFormation type."""
    name: str
    size: int = 0
    """Bytes, of every version of every object in a bucket."""

    @property
    def monthly(self) -> float:
        """USD."""
        return self.size / 1e9 * _GIGABYTE_MONTH + (_KEY_MONTH if self.kind == "AWS::KMS::Key" else 0)


def remnants(session: boto3.Session, deployment: str) -> list[Remnant]:
    """What the deployment's stacks would leave; ask before they are gone. A stack that doesn't exist leaves nothing."""
    cloudformation = session.client("cloudformation")
    left: list[Remnant] = []
    for stack in remaining(session, deployment):
        template: Any = cloudformation.get_template(StackName=stack)["TemplateBody"]
        resources = (template if isinstance(template, dict) else json.loads(template))["Resources"]
        kept = {name for name, resource in resources.items() if resource.get("DeletionPolicy") == "Retain"}
        made = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        # What could not be made has no physical name.
        left += [
            _remnant(session, each["ResourceType"], each["PhysicalResourceId"])
            for each in made
            if each.get("LogicalResourceId") in kept and "PhysicalResourceId" in each
        ]
    return left


def remaining(session: boto3.Session, deployment: str) -> list[str]:
    """The deployment's stacks that exist."""
    client = session.client("cloudformation", config=CONFIG)
    names = [stack_name(deployment, stack) for stack in _STACKS]
    return [name for name in names if stack_outputs(client, name) is not None]


def report(deployment: str, left: Iterable[Remnant]) -> str:
    """The lines to print once the stacks are gone."""
    left = list(left)
    if not left:
        return f"Nothing is left of {deployment}."
    total = sum(each.monthly for each in left)
    return "\n".join(
        [
            f"Left of {deployment} on purpose, because it can't be made again:",
            *(f"  {each.kind:<27} {each.name}{_amount(each)}" for each in left),
            f"That costs about ${total:.2f} a month.",
            "To serve these models to these clients again, name them in stacks/settings.py before you deploy: "
            "existing_bucket, existing_key_arn, existing_client_table, existing_signing_key_arn.",
            "Jobs, data sets and predictions in the other buckets, and the table of jobs, empty themselves within days; "
            "a new deployment makes its own.",
            "To be rid of them all, empty and delete the buckets, turn the tables' deletion protection off and delete them, "
            "then schedule the keys' deletion.",
            "The functions' images stay in the repository that `cdk bootstrap` made, at $0.10 per GB a month, until `cdk gc` deletes them.",
        ]
    )


def _remnant(session: boto3.Session, kind: str, name: str) -> Remnant:
    if kind != "AWS::S3::Bucket":
        return Remnant(kind=kind, name=name)
    pages = session.client("s3").get_paginator("list_object_versions").paginate(Bucket=name)
    return Remnant(kind=kind, name=name, size=sum(version["Size"] for page in pages for version in page.get("Versions", [])))


def _amount(remnant: Remnant) -> str:
    size = f", {remnant.size / 1e6:,.1f} MB" if remnant.kind == "AWS::S3::Bucket" else ""
    return f"{size}, ${remnant.monthly:.2f} a month"


def _destroy(deployment: str, *, force: bool) -> None:
    session = open_session(None)
    left = remnants(session, deployment)
    command = ["cdk", "destroy", f"{deployment}/*", *(["--force"] if force else [])]
    if subprocess.run(command, check=False).returncode:
        advice = "take termination protection off first (stacks/settings.py, then deploy)" if deployment == "prod" else "it says why above"
        sys.exit(f"cdk destroy failed; {advice}")
    if existing := remaining(session, deployment):
        sys.exit(f"{', '.join(existing)} still there; nothing was deleted if you answered no")
    print(report(deployment, left))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("deployment", choices=["dev", "prod"])
    parser.add_argument("--force", action="store_true", help="don't ask")
    arguments = parser.parse_args()
    try:
        _destroy(arguments.deployment, force=arguments.force)
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS could not answer: {str(error).rstrip('.')}. Run: modelctl doctor --deployment {arguments.deployment}")


if __name__ == "__main__":
    main()
