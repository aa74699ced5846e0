"""What speaks against serving a model, whoever made it: read first, and run only if nothing was found."""

from __future__ import annotations

from pathlib import Path

from models.config import FunctionConfig, ModelConfig
from modelserve.manifest import MODEL_FILE
from modelserve.registry import Registry
from tools.modelctl import paths
from tools.modelctl.lint import Finding, lint
from tools.modelctl.trial import Refused, attempt

__all__ = ["examine", "examine_version"]


def examine(model: Path, example: Path | None, function: FunctionConfig) -> tuple[Finding | Refused, ...]:
    """All that the lint finds, or else why the trial refused it; empty for a model that may be served by `function`."""
    if findings := lint(model, memory=function.memory):
        return findings
    outcome = attempt(model, example, memory=function.memory, seconds=function.timeout)
    return (outcome,) if isinstance(outcome, Refused) else ()


def examine_version(registry: Registry, name: str, version: str, *, scratch: Path) -> tuple[Finding | Refused, ...]:
    """As `examine`, for what a store holds: other tools publish there too. `scratch` is an empty folder.

    The function is that of models/<name>/model.toml, where there is one. Raises `UnverifiedModel` when the bytes are not those
    that the manifest names.
    """
    folder = paths.MODELS / name
    function = ModelConfig.load(folder).function if (folder / "model.toml").exists() else FunctionConfig()
    registry.download(name, version, to=scratch)
    example = scratch / paths.EXAMPLE_FILE
    return examine(scratch / MODEL_FILE, example if example.exists() else None, function)
