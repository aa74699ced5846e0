"""Distributions from the lock, installed for this interpreter into folders that can be used again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tools.local import interpreter

__all__ = ["PROJECT", "installed", "runtime"]

PROJECT = Path(__file__).parents[2]


def installed(requirements: Path, cache: Path) -> Path:
    """A folder with exactly these hash-checked requirements and their bytecode, made once for each content and interpreter."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    finished = cache / "packages" / f"{digest}-{interpreter.ABI}"
    if not finished.exists():
        folder = interpreter.fresh(finished)
        interpreter.install(requirements, folder, require_hashes=True)
        interpreter.finish(folder, finished)
    return finished


def runtime(cache: Path) -> Path:
    """awslambdaric and boto3, which AWS's Python runtime and its base image have beside the standard library."""
    requirements = cache / "packages" / f"runtime-{interpreter.ABI}.txt"
    requirements.parent.mkdir(parents=True, exist_ok=True)
    lock = PROJECT / "uv.lock"
    if not requirements.exists() or requirements.stat().st_mtime < lock.stat().st_mtime:
        unfinished = requirements.with_suffix(f".{os.getpid()}")
        interpreter.export("runtime", unfinished, project=PROJECT)
        unfinished.replace(requirements)
    return installed(requirements, cache)
