"""Finds the version that another one is to be made from, and reads it, for the commands that make one: compress and migrate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelserve.manifest import MODEL_FILE
from tools.modelctl.commands.training import build
from tools.modelctl.console import steps
from tools.modelctl.deployment import Deployment, find
from tools.modelctl.errors import DeploymentNotFound, ModelRefused
from tools.modelctl.options import DeploymentName
from tools.modelctl.versions import resolve

if TYPE_CHECKING:
    from tools.modelctl.migrate import Origin

__all__ = ["origin_of", "target_of"]


def target_of(deployment: DeploymentName, profile: str | None, *, optional: bool) -> Deployment | None:
    """None, where that is `optional`, for a deployment that isn't there. Raises `DeploymentNotFound`."""
    try:
        return find(deployment, profile=profile)
    except DeploymentNotFound:
        if not optional:
            raise
        return None


def origin_of(target: Deployment | None, name: str, parent: str, scratch: Path) -> Origin:
    """The version `parent` in the empty folder `scratch`, verified and tried; without a deployment what is built here.

    Raises `ModelRefused` for a version that may not be served, and as `resolve` and `Registry.download`.
    """
    built = build(name) if target is None else None
    from tools.modelctl.migrate import Origin  # noqa: PLC0415 - onnx is slow to import
    from tools.modelctl.safety import examine_version  # noqa: PLC0415

    if built or target is None:
        assert built is not None
        return Origin(manifest=built.manifest, model=built.model)
    registry = target.registry()
    version = resolve(registry, name, parent)
    with steps(name) as begin:
        begin(f"reading and trying {version}")
        findings = examine_version(registry, name, version, scratch=scratch)
    if findings:
        raise ModelRefused(name, findings, f"modelctl promote {name} {version}")
    return Origin(manifest=registry.manifest(name, version), model=scratch / MODEL_FILE, version=version)
