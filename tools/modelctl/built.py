"""What a build leaves in its folder, and whether a later one may rely on it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from modelserve.errors import RegistryError
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Manifest
from tools.modelctl import gates, parity
from tools.modelctl.paths import BASELINE_FILE, EXAMPLE_FILE, PAGE_FILE, REPORT_FILE
from tools.modelctl.report import page
from tools.modelctl.trial import Trial

__all__ = ["Built", "amend", "read", "remade", "write", "write_file"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """A converted model with all that is known of it, in a folder of its own."""

    folder: Path
    manifest: Manifest
    """A draft: publishing sets version, created and files."""
    cached: bool
    """Whether nothing had changed since it was built."""
    findings: tuple[str, ...] = ()
    """What the lint has found."""

    @property
    def model(self) -> Path:
        return self.folder / MODEL_FILE

    @property
    def example(self) -> Path:
        """An infer request of one held-out row, as JSON."""
        return self.folder / EXAMPLE_FILE

    @property
    def files(self) -> dict[str, Path]:
        """What a version holds, by its name there: the model, reports, an example, the baseline, and of a heavy model what Triton loads."""
        names = (*_made(self.folder, self.manifest), REPORT_FILE, PAGE_FILE)
        return {name: self.folder / name for name in names}

    @property
    def report(self) -> dict[str, Any]:
        """All that was measured, as it lies in report.json."""
        document: dict[str, Any] = orjson.loads((self.folder / REPORT_FILE).read_bytes())
        return document

    @property
    def failures(self) -> tuple[str, ...]:
        """A sentence for each gate that doesn't hold, for parity, and for what speaks against serving the model at all."""
        return (*gates.failures(self.manifest.gates), *parity.failures(self.manifest.parity), *self.findings)

    @property
    def passed(self) -> bool:
        return not self.failures


def write(
    folder: Path,
    state: str,
    manifest: Manifest,
    *,
    trial: Trial,
    findings: tuple[str, ...] = (),
    evaluation: Mapping[str, Any] | None = None,
) -> Built:
    """Vouches for the model, example, baseline and archive in `folder`, and writes its page; `state` is the fingerprint they are made from.

    `evaluation` is what was measured beyond the manifest, in parts by name; a part that is not there was not measured.
    """
    report = {
        "fingerprint": state,
        "files": {name: _sha256(folder / name) for name in _made(folder, manifest)},
        "trial": trial.document(),
        "findings": findings,
        "manifest": orjson.loads(manifest.to_json()),
        "evaluation": dict(evaluation or {}),
    }
    _write_report(folder, report)
    return Built(folder=folder, manifest=manifest, cached=False, findings=findings)


def amend(built: Built, **parts: Any) -> None:
    """Adds parts to the evaluation of a build, such as what was measured against another version, or puts them in place of earlier ones."""
    report = built.report
    report["evaluation"] |= parts
    _write_report(built.folder, report)


def remade(built: Built, manifest: Manifest) -> Built:
    """The same model with another draft, and the files that this lists."""
    if manifest == built.manifest:
        return built
    report = built.report
    report["manifest"] = orjson.loads(manifest.to_json())
    report["files"] = {name: _sha256(built.folder / name) for name in _made(built.folder, manifest)}
    _write_report(built.folder, report)
    return replace(built, manifest=manifest)


def read(folder: Path, state: str) -> Built | None:
    """None unless the files are what an earlier build made from the same `state`."""
    try:
        report = orjson.loads((folder / REPORT_FILE).read_bytes())
        intact = report["fingerprint"] == state and all(_sha256(folder / name) == digest for name, digest in report["files"].items())
        manifest = Manifest.from_json(orjson.dumps(report["manifest"]), what=REPORT_FILE)
        findings = tuple(map(str, report["findings"]))
    except (OSError, ValueError, TypeError, KeyError, RegistryError):
        return None  # whatever is wrong with it, building again puts it right
    return Built(folder=folder, manifest=manifest, cached=True, findings=findings) if intact else None


def write_file(file: Path, body: bytes) -> None:
    """All of it or nothing, whoever reads or writes at the same time."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.{os.getpid()}")
    part.write_bytes(body)
    part.replace(file)


def _write_report(folder: Path, report: dict[str, Any]) -> None:
    """The page first: the report vouches for it too."""
    body = page.render(report).encode()
    write_file(folder / PAGE_FILE, body)
    report["files"][PAGE_FILE] = hashlib.sha256(body).hexdigest()
    write_file(folder / REPORT_FILE, orjson.dumps(report, option=orjson.OPT_INDENT_2))


def _made(folder: Path, manifest: Manifest) -> list[str]:
    """What was put into `folder` before the report on it."""
    names = [MODEL_FILE, EXAMPLE_FILE]
    if (folder / BASELINE_FILE).exists():
        names.append(BASELINE_FILE)
    names += [file.path for file in manifest.load.files if file.path not in names] if manifest.load else []
    return names if manifest.max_batch is None else [*names, ARCHIVE_FILE]


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
