"""Reads a cloud assembly (`cdk.out`): the stacks of one deployment and the assets they were synthesized with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from tools.local.errors import LocalError

__all__ = ["Assembly", "FileAsset", "ImageAsset", "Stack"]

ACCOUNT = "123456789012"
REGION = "us-east-1"
_PLACEHOLDERS = {"${AWS::Partition}": "aws", "${AWS::AccountId}": ACCOUNT, "${AWS::Region}": REGION}


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One CloudFormation stack as it would be deployed."""

    name: str
    template: dict[str, Any]

    def resources(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Logical id and properties of every resource of a type."""
        for logical_id, resource in self.template.get("Resources", {}).items():
            if resource["Type"] == kind:
                yield logical_id, resource.get("Properties", {})


@dataclass(frozen=True, kw_only=True)
class FileAsset:
    """A file, or a folder that is uploaded as a zip."""

    source: Path
    bucket: str
    key: str
    is_folder: bool


@dataclass(frozen=True, kw_only=True)
class ImageAsset:
    """The context and the Dockerfile of an image."""

    hash: str
    context: Path
    dockerfile: str
    build_args: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """One deployment: stacks in the order in which they can be created, without those that have no resources, as the CDK CLI has it."""

    stacks: tuple[Stack, ...]
    files: dict[str, FileAsset]
    """By object key."""
    images: dict[str, ImageAsset]
    """By image tag."""

    @classmethod
    def load(cls, cdk_out: Path, deployment: str) -> Assembly:
        """Raises `LocalError` when `cdk_out` was not synthesized or has no such deployment."""
        folder = _deployment_folder(cdk_out, deployment)
        artifacts = _read(folder / "manifest.json")["artifacts"]
        manifests = [
            (folder, _read(folder / artifact["properties"]["file"]))
            for artifact in artifacts.values()
            if artifact["type"] == "cdk:asset-manifest"
        ]
        return cls(
            stacks=tuple(_stacks(folder, artifacts)),
            files={asset.key: asset for root, manifest in manifests for asset in _files(root, manifest)},
            images={asset.hash: asset for root, manifest in manifests for asset in _images(root, manifest)},
        )


def _deployment_folder(cdk_out: Path, deployment: str) -> Path:
    artifacts = _read(cdk_out / "manifest.json")["artifacts"]
    stages = {key.removeprefix("assembly-"): value for key, value in artifacts.items() if value["type"] == "cdk:cloud-assembly"}
    if deployment not in stages:
        raise LocalError(f"{cdk_out} has no deployment {deployment!r}; it has: {', '.join(stages) or 'none'}")
    return Path(cdk_out / stages[deployment]["properties"]["directoryName"])


def _read(file: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise LocalError(f"{file} does not exist; `make synth` writes it") from None
    return document


def _stacks(folder: Path, artifacts: dict[str, Any]) -> Iterator[Stack]:
    graph = {key: artifact.get("dependencies", []) for key, artifact in artifacts.items()}
    for key in TopologicalSorter(graph).static_order():
        artifact = artifacts.get(key, {})
        if artifact.get("type") == "aws:cloudformation:stack":
            properties = artifact["properties"]
            template = _read(folder / properties["templateFile"])
            if template.get("Resources"):
                yield Stack(name=properties.get("stackName", key), template=template)


def _files(folder: Path, manifest: dict[str, Any]) -> Iterator[FileAsset]:
    for asset in manifest.get("files", {}).values():
        source = asset["source"]
        if "path" not in source:
            raise LocalError(f"a file asset is made by a command ({source}); the local runner needs it staged in {folder}")
        for destination in asset["destinations"].values():
            yield FileAsset(
                source=(folder / source["path"]).resolve(),
                bucket=_resolve(destination["bucketName"]),
                key=destination["objectKey"],
                is_folder=source.get("packaging") == "zip",
            )


def _images(folder: Path, manifest: dict[str, Any]) -> Iterator[ImageAsset]:
    for asset in manifest.get("dockerImages", {}).values():
        source = asset["source"]
        if "directory" not in source:
            raise LocalError(f"an image asset is no folder with a Dockerfile ({source}); the local runner can't make its functions")
        for destination in asset["destinations"].values():
            yield ImageAsset(
                hash=destination["imageTag"],
                context=(folder / source["directory"]).resolve(),
                dockerfile=source.get("dockerFile", "Dockerfile"),
                build_args=source.get("dockerBuildArgs", {}),
            )


def _resolve(text: str) -> str:
    for placeholder, value in _PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    return text
