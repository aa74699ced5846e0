"""Finds the version that another one is to be made from, and reads it, for the commands that make one: compress and migrate."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING

from models.config import ModelConfig
from modelserve.errors import VersionNotFound
from modelserve.manifest import MODEL_FILE, Manifest
from modelserve.registry import Registry
from tools.modelctl import paths
from tools.modelctl.commands.training import build
from tools.modelctl.console import note, steps
from tools.modelctl.deployment import Deployment, find
from tools.modelctl.errors import DeploymentNotFound, ModelRefused
from tools.modelctl.options import DeploymentName
from tools.modelctl.versions import resolve

if TYPE_CHECKING:
    from tools.modelctl.data import Split
    from tools.modelctl.origin import Origin
    from tools.modelctl.source import Source

__all__ = ["load", "origin_of", "target_of", "uncompressed"]

_LATEST = "latest"


def target_of(deployment: DeploymentName, profile: str | None, parent: str, *, dry_run: bool) -> Deployment | None:
    """None, where a dry run asks for the latest, for a deployment that isn't there. Raises `DeploymentNotFound`."""
    try:
        return find(deployment, profile=profile)
    except DeploymentNotFound:
        if not dry_run or parent != _LATEST:
            raise
        return None


def origin_of(target: Deployment | None, name: str, parent: str, scratch: Path, *, dry_run: bool) -> Origin:
    """The version `parent` in the new folder `scratch`, verified and tried; what is built here without a deployment.

    So too, which is said, where a dry run asks for the latest and nothing is published. Raises `ModelRefused` for a version that may not
    be served, and as `resolve` and `Registry.download`.
    """
    if target is None:
        return _built(name)
    registry = target.registry()
    if dry_run and parent == _LATEST and not registry.versions(name):
        note(f"no version of {name} is published in {target.name}, so this is about the local build")
        return _built(name)
    return _read(registry, name, resolve(registry, name, parent), scratch)


def uncompressed(target: Deployment | None, origin: Origin, methods: Container[str | None], scratch: Path) -> Origin | None:
    """The newest version that `origin` comes from and none of `methods` had a part in, as `origin_of`; None where that is itself.

    Where the store has it no longer the oldest that is there, which is said.
    """
    if target is None or origin.version is None:
        return None
    registry = target.registry()
    line, missing = _line(registry, origin.manifest)
    made = [place for place, manifest in enumerate(line) if manifest.lineage and manifest.lineage.transform in methods]
    if not made:
        return None
    if made[-1] + 1 == len(line):
        gone = missing or "its parent"
        note(f"{gone} is in {target.name} no longer, so drops are held against {line[-1].version}, which was compressed itself")
    chosen = line[min(made[-1] + 1, len(line) - 1)]
    return None if chosen.version == origin.version else _read(registry, chosen.name, chosen.version, scratch)


def load(name: str) -> tuple[Source, Split]:
    """The rows of a model, as its train.py gives them."""
    from tools.modelctl.data import split  # noqa: PLC0415 - scikit-learn is slow to import
    from tools.modelctl.source import Source  # noqa: PLC0415

    folder = paths.MODELS / name
    source = Source.of(folder)
    return source, split(ModelConfig.load(folder), *source.load())


def _built(name: str) -> Origin:
    built = build(name)
    from tools.modelctl.origin import Origin  # noqa: PLC0415 - onnx is slow to import

    return Origin(manifest=built.manifest, model=built.model)


def _read(registry: Registry, name: str, version: str, scratch: Path) -> Origin:
    with steps(name) as begin:
        begin(f"reading and trying {version}")
        from tools.modelctl.origin import Origin  # noqa: PLC0415 - as above
        from tools.modelctl.safety import examine_version  # noqa: PLC0415

        scratch.mkdir()
        findings = examine_version(registry, name, version, scratch=scratch)
    if findings:
        raise ModelRefused(name, findings, f"modelctl promote {name} {version}")
    return Origin(manifest=registry.manifest(name, version), model=scratch / MODEL_FILE, version=version)


def _line(registry: Registry, manifest: Manifest) -> tuple[list[Manifest], str | None]:
    """A version and all that it comes from, the newest first; and the first of them that the store has no longer."""
    line = [manifest]
    while (lineage := line[-1].lineage) and (parent := lineage.parent) and parent not in {each.version for each in line}:
        try:
            line.append(registry.manifest(manifest.name, parent))
        except VersionNotFound:
            return line, parent
    return line, None
