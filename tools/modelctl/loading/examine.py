"""What speaks against what a function opens in place of model.onnx: it is read, opened and asked as the function would, and bounded."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from models.config import ParityConfig
from modelserve import cpu
from modelserve._zstd import declared, expand
from modelserve.errors import UnverifiedModel
from modelserve.manifest import Load, Manifest
from tools.modelctl.limits import Limits
from tools.modelctl.lint import Finding, lint
from tools.modelctl.loading.answers import agree
from tools.modelctl.trial import Refused, Trial, attempt

__all__ = ["Terms", "examine", "examine_load", "untried"]

Findings = tuple[Finding | Refused, ...]
"""Empty where nothing speaks against it."""
_FORMATS = {"onnx", "optimized", "external", "ort"}
_AGAIN = "publish it again"


@dataclass(frozen=True)
class Terms:
    """What it is held against: what `model.onnx` did when it was tried with `example`, within `limits`, and the difference `allowed`."""

    plain: Trial
    example: Path | None
    limits: Limits
    allowed: ParityConfig


def examine(folder: Path, manifest: Manifest, terms: Terms) -> Findings:
    """As `examine_load`, of the files of a version in `folder`: those to open have to be among them."""
    load = manifest.load
    if load is None:
        return ()
    known = {file.path: (file.size, file.sha256) for file in manifest.files}
    if strange := [file.path for file in load.files if known.get(file.path) != (file.size, file.sha256)]:
        return (Finding("load", f"file {strange[0]!a:.60}", f"is to be opened, and is none of the version's; {_AGAIN}"),)
    return examine_load(folder, load, terms)


def examine_load(folder: Path, load: Load, terms: Terms) -> Findings:
    """What the lint finds in the graph, or else why the trial refused it, or that it answers otherwise than plain ONNX.

    It sees its own files and no others, as in a function. ONNX Runtime's own format is opened in the trial's process alone, and nothing
    is opened that is for another CPU than this one.
    """
    names = [file.path for file in load.files]
    if load.format not in _FORMATS or not names or (load.zstd and f"{load.zstd}.zst" not in names):
        return (Finding("load", f"format {load.format!a:.20}", f"or its files are of no kind that a function opens; {_AGAIN}"),)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        private = Path(scratch)
        for name in names:
            os.link(folder / name, private / name)
        if load.zstd and (finding := _expanded(private / load.zstd, terms.limits)):
            return (finding,)
        graph = private / names[0].removesuffix(".zst")
        if load.format != "ort" and (findings := lint(graph, memory=terms.limits.memory, beside=_sizes(private, graph))):
            return findings
        if not cpu.has(load.cpu):
            return ()
        return _tried(graph, load, terms)


def untried(manifest: Manifest) -> str:
    """A sentence for a version whose files can't be opened here; empty for others."""
    if manifest.load is None or cpu.has(manifest.load.cpu):
        return ""
    return f"what its function opens is for {manifest.load.cpu}, which this CPU is not: it was read as far as that goes, and not tried"


def _tried(graph: Path, load: Load, terms: Terms) -> Findings:
    outcome = attempt(graph, terms.example, terms.limits, load=load)
    if isinstance(outcome, Refused):
        return (outcome,)
    try:
        same = agree(terms.plain.answers, outcome.answers, terms.allowed)
    except (ValueError, LookupError, TypeError):  # whatever that process wrote
        same = False
    return () if same else (Refused(f"answers otherwise as {load.format} than as published; {_AGAIN}"),)


def _expanded(file: Path, limits: Limits) -> Finding | None:
    try:
        if declared(f"{file}.zst") > limits.memory * 2**20:
            return Finding(
                "size", file.name, f"is larger than {limits.memory:,} MB once it is decompressed; raise `memory`, or compress it"
            )
        expand(str(file))
    except UnverifiedModel as error:
        return Finding("format", file.name, f"can't be decompressed: {error}")
    return None


def _sizes(folder: Path, graph: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in folder.iterdir() if file != graph}
