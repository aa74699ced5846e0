"""What speaks against serving a model, whoever made it: read first, and run only if nothing was found."""

from __future__ import annotations

from pathlib import Path

from models.config import FunctionConfig, ModelConfig, ParityConfig
from modelserve.manifest import MODEL_FILE, Manifest
from modelserve.registry import Registry
from tools.modelctl import paths
from tools.modelctl.limits import Limits
from tools.modelctl.lint import Finding, lint
from tools.modelctl.loading import examine as loading
from tools.modelctl.trial import Refused, attempt

__all__ = ["examine", "examine_version"]


def examine(model: Path, example: Path | None, limits: Limits) -> tuple[Finding | Refused, ...]:
    """All that the lint finds, or else why the trial refused it; empty for a model that may be served within `limits`."""
    if findings := lint(model, memory=limits.memory):
        return findings
    outcome = attempt(model, example, limits)
    return (outcome,) if isinstance(outcome, Refused) else ()


def examine_version(registry: Registry, name: str, version: str, *, scratch: Path) -> tuple[Finding | Refused, ...]:
    """As `examine`, for what a store holds: other tools publish there too. `scratch` is an empty folder.

    What its function opens in place of the model is examined likewise, and must answer as the model does. What would run it is what
    models/<name>/model.toml says, where there is one. Raises `UnverifiedModel` when the bytes are not those that the manifest names.
    """
    manifest = registry.download(name, version, to=scratch)
    model, example = scratch / MODEL_FILE, scratch / paths.EXAMPLE_FILE
    limits, allowed = _limits(manifest)
    if findings := lint(model, memory=limits.memory):
        return findings
    asked = example if example.exists() else None
    outcome = attempt(model, asked, limits)
    if isinstance(outcome, Refused):
        return (outcome,)
    return loading.examine(scratch, manifest, loading.Terms(outcome, asked, limits, allowed))


def _limits(manifest: Manifest) -> tuple[Limits, ParityConfig]:
    folder = paths.MODELS / manifest.name
    if (folder / "model.toml").exists():
        config = ModelConfig.load(folder)
        return Limits.of(config), config.parity
    return Limits.of_function(FunctionConfig()) if manifest.max_batch is None else Limits.of_instance(), ParityConfig()
