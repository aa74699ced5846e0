"""A stand-in for unpacking a zip function: its code, its layers, and what AWS's Python runtime itself brings."""

from __future__ import annotations

import csv
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import PathDistribution
from pathlib import Path

from tools.local import interpreter, packages
from tools.local.assembly import FileAsset
from tools.local.errors import LocalError
from tools.local.roots import TaskRoot

__all__ = ["unpack"]


def unpack(code: FileAsset, layers: Iterable[FileAsset], *, handler: str, cache: Path) -> TaskRoot:
    """The function's task root, made once for each asset and interpreter. Raises `LocalError`."""
    task = _code(code, cache)
    return TaskRoot(
        folder=task, before=(task, *(_layer(layer, cache) for layer in layers)), after=(packages.runtime(cache),), handler=handler
    )


def _code(asset: FileAsset, cache: Path) -> Path:
    finished = cache / "functions" / _name(asset)
    if not finished.exists():
        folder = interpreter.fresh(finished)
        _copy(asset, folder)
        interpreter.compile_folder(folder)
        interpreter.finish(folder, finished)
    return finished


def _layer(asset: FileAsset, cache: Path) -> Path:
    """The layer's `python` folder, its distributions built for this interpreter when AWS's would not run here."""
    finished = cache / "layers" / _name(asset)
    if not finished.exists():
        folder = interpreter.fresh(finished)
        _copy(asset, folder)
        distributions = [PathDistribution(info) for info in (folder / "python").glob("*.dist-info")]
        if distributions and interpreter.ABI != interpreter.AWS_ABI:
            _rebuild(folder / "python", distributions)
        interpreter.compile_folder(folder)
        interpreter.finish(folder, finished)
    return finished / "python"


def _rebuild(folder: Path, distributions: list[PathDistribution]) -> None:
    """Replaces exactly the distributions that the layer names by the same versions for this interpreter."""
    requirements = folder.parent / "requirements.txt"
    requirements.write_text("".join(f"{each.name}=={each.version}\n" for each in distributions))
    for path in {path for each in distributions for path in _files(each)}:
        (folder / path).unlink(missing_ok=True)
    interpreter.install(requirements, folder.parent / "rebuilt", require_hashes=False)
    shutil.copytree(folder.parent / "rebuilt", folder, dirs_exist_ok=True)
    shutil.rmtree(folder.parent / "rebuilt")


def _files(distribution: PathDistribution) -> Iterable[str]:
    return [row[0] for row in csv.reader((distribution.read_text("RECORD") or "").splitlines()) if row and not row[0].startswith("..")]


def _copy(asset: FileAsset, into: Path) -> None:
    if not asset.source.is_dir():
        raise LocalError(f"{asset.source} is not a folder; the local runner runs functions and layers from Code.from_asset(<folder>)")
    shutil.copytree(asset.source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))


def _name(asset: FileAsset) -> str:
    return f"{Path(asset.key).stem[:16]}-{interpreter.ABI}-{sys.version_info.micro}"
