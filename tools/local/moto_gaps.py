"""What moto can't take of a template that CloudFormation can; each entry goes when moto learns it."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from typing import Any

from tools.local.assembly import Stack

__all__ = ["keep_versions", "quieten", "without_gaps"]

_DROPPED = {
    # moto 5.2.5 looks for TagKey where CloudFormation writes Key, and fails.
    "AWS::KMS::Key": ("Tags",),
    # It looks for a list where CloudFormation has a map.
    "AWS::SSM::Parameter": ("Tags",),
}


def quieten() -> None:
    """Moto says of every resource type it skips that it does, and its server of every request that it came."""
    logging.getLogger("moto").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Tried to parse .* but it's not supported by moto", UserWarning)


def without_gaps(template: dict[str, Any]) -> dict[str, Any]:
    """The template less the properties that would fail its creation in moto, none of which a function can see."""
    taken = copy.deepcopy(template)
    for resource in taken.get("Resources", {}).values():
        for name in _DROPPED.get(resource["Type"], ()):
            resource.get("Properties", {}).pop(name, None)
    return taken


def keep_versions(stack: Stack, names: Mapping[str, str], s3: Any) -> None:
    """Versions of objects where the template asks for them, which moto's CloudFormation overlooks; `names` by logical id."""
    for logical_id, properties in stack.resources("AWS::S3::Bucket"):
        if versioning := properties.get("VersioningConfiguration"):
            s3.put_bucket_versioning(Bucket=names[logical_id], VersioningConfiguration=versioning)
