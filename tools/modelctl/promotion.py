"""What speaks against an alias for a version: its gates, those against production among them, and that it was published by force."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.config import Gate, ModelConfig, ModelConfigError
from modelserve.errors import AliasNotFound, RegistryError, StoreUnavailable, VersionNotFound
from modelserve.manifest import Manifest
from modelserve.registry import Registry
from tools.modelctl import paths
from tools.modelctl.gates import by_name, measured
from tools.modelctl.report.stored import PRODUCTION, read

__all__ = ["Judgement", "judge"]


@dataclass(frozen=True)
class Judgement:
    """Sentences; a version without `failures` may be named by any alias."""

    failures: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Recorded:
    version: str
    metrics: Mapping[str, float]
    """Also those of a class, as `recall[malignant]`."""
    held_out: str | None
    """SHA-256 of the rows that it was judged on; None where nobody wrote it down."""


def judge(registry: Registry, manifest: Manifest) -> Judgement:
    """By the gates that models/<name>/model.toml has now, or without it by those that the version was published with.

    Gates against production are held against what it names at this moment; they hold while that is nothing, or this version,
    and fail while it can't be read.
    """
    forced = manifest.lineage.forced if manifest.lineage else None
    failures = [f"it did not pass when it was published, and was forced: {forced}"] if forced else []
    try:
        gates = _gates(manifest)
    except ModelConfigError:
        raise
    except ValueError as error:
        return Judgement((*failures, f"one of its gates can't be read: expected {error}"))
    if not gates:
        return Judgement(tuple(failures))
    found = _recorded(registry, manifest)
    production: _Recorded | None = None
    notes: list[str] = []
    try:
        production, notes = _production(registry, manifest, gates, found)
    except StoreUnavailable:
        raise
    except (RegistryError, VersionNotFound) as error:
        failures.append(f"{PRODUCTION} can't be read, so that no gate can be held against it: {error}")
    failures += [sentence for gate in gates if (sentence := _failure(gate, found, production))]
    return Judgement(tuple(failures), tuple(notes))


def _gates(manifest: Manifest) -> tuple[Gate, ...]:
    folder = paths.MODELS / manifest.name
    if (folder / "model.toml").exists():
        return ModelConfig.load(folder).gates
    return tuple(Gate.parse(result.gate) for result in manifest.gates)


def _production(registry: Registry, manifest: Manifest, gates: tuple[Gate, ...], found: _Recorded) -> tuple[_Recorded | None, list[str]]:
    """What production names, and what a person should know of the comparison. Raises `RegistryError`, `VersionNotFound`."""
    if not any(gate.relative for gate in gates):
        return None, []
    try:
        alias = registry.alias(manifest.name, PRODUCTION)
    except AliasNotFound:
        return None, []
    if alias.version == manifest.version:
        return None, []
    production = _recorded(registry, registry.manifest(manifest.name, alias.version))
    if production.held_out and production.held_out == found.held_out:
        return production, []
    how = "was judged on other held-out rows" if production.held_out and found.held_out else "may have been judged on other held-out rows"
    return production, [f"{PRODUCTION}, {production.version}, {how}: differences of its metrics are no more than a hint"]


def _failure(gate: Gate, found: _Recorded, production: _Recorded | None) -> str | None:
    name = gate.measured
    value = found.metrics.get(name)
    if value is None:
        return f'the gate "{gate}" can\'t be held against {found.version}, {_unknown(name)}'
    other = None
    if gate.relative and production:
        other = production.metrics.get(name)
        if other is None:
            return f'the gate "{gate}" can\'t be held against {PRODUCTION}, {production.version}, {_unknown(name)}'
    if gate.holds(value, other):
        return None
    least = "at least" if gate.operator == ">=" else "at most"
    than = f" (production, {production.version}, has {other:.4g})" if production and other is not None else ""
    return f'the gate "{gate}" doesn\'t hold: {name} is {value:.4g}, and {least} {gate.bound(other):.4g} is needed{than}'


def _unknown(name: str) -> str:
    return f"which records no {name}: an older release published it, or there were no held-out rows to measure it by"


def _recorded(registry: Registry, manifest: Manifest) -> _Recorded:
    """What a manifest says, and of classes the report beside it; other tools publish too, so that this may be missing or anything."""
    metrics, held_out = {measured(result.gate): result.value for result in manifest.gates} | dict(manifest.metrics), None
    try:
        evaluation = (read(registry, manifest) or {})["evaluation"]
        held_out = str(evaluation["data"]["held_out_sha256"])
        metrics = by_name(metrics, evaluation.get("per_class", ()))
    except StoreUnavailable:
        raise
    except (RegistryError, OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return _Recorded(manifest.version, metrics, held_out)
