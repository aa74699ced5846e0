"""Reads the report that a version was published with, whoever published it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from modelserve.errors import AliasNotFound, ObjectNotFound, StoreUnavailable, UnverifiedModel, VersionNotFound
from modelserve.manifest import Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tools.modelctl.paths import REPORT_FILE

__all__ = ["PRODUCTION", "Stored", "of_production", "of_version", "read"]

PRODUCTION = "production"
"""The alias that versions are compared with."""
_MOST_BYTES = 20_000_000


@dataclass(frozen=True)
class Stored:
    """A version's report, with its manifest as it was published."""

    version: str
    sha256: str
    """Of its model.onnx, in hex."""
    report: dict[str, Any]


def of_version(registry: Registry, name: str, version: str) -> Stored | None:
    """None for a version without a report that can be read. Raises `VersionNotFound`, and as `read`."""
    manifest = registry.manifest(name, version)
    report = read(registry, manifest)
    return None if report is None else Stored(version, manifest.model_file.sha256, report | {"manifest": _document(manifest)})


def read(registry: Registry, manifest: Manifest) -> dict[str, Any] | None:
    """The report.json of a version; None without one that can be read, such as of a version from before reports.

    Of its files only the report is fetched, and it is the one that the manifest names: raises `UnverifiedModel` for any other.
    """
    files = tuple(file for file in manifest.files if file.path == REPORT_FILE and file.size <= _MOST_BYTES)
    with tempfile.TemporaryDirectory() as scratch:
        registry.fetch(replace(manifest, files=files), Path(scratch))
        return _parsed(Path(scratch) / REPORT_FILE)


def of_production(registry: Registry, name: str) -> Stored | None:
    """Of the version that production names; None where it names none, or one whose report can't be had."""
    try:
        return of_version(registry, name, registry.alias(name, PRODUCTION).version)
    except StoreUnavailable:
        raise
    except (AliasNotFound, ObjectNotFound, UnverifiedModel, VersionNotFound):
        return None


def _parsed(file: Path) -> dict[str, Any] | None:
    try:
        report = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    return report if isinstance(report, dict) else None


def _document(manifest: Manifest) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(manifest.to_json())
    return document
