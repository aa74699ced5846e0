"""Makes the cloud assembly with the real CDK CLI, unless nothing that goes into it has changed."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.local.errors import LocalError
from tools.local.packages import PROJECT

__all__ = ["CDK_OUT", "layers", "synthesize"]

CDK_OUT = PROJECT / "build" / "local" / "cdk.out"
"""Not the one of the person's own `cdk` commands, which lock theirs."""
_FOLDERS = ("functions", "layers", "stacks")
_FILES = ("app.py", "cdk.json", "models/config.py", "tools/layers.py", "uv.lock")


def layers() -> None:
    """Raises `LocalError`."""
    _run([sys.executable, "-m", "tools.layers"])


def synthesize() -> bool:
    """Writes `CDK_OUT`, with endpoints for heavy models; false when it was made from the same inputs before. Raises `LocalError`."""
    stamp = CDK_OUT.with_name("cdk.out.inputs")
    state = _state()
    if stamp.exists() and stamp.read_text() == state and (CDK_OUT / "manifest.json").exists():
        return False
    stamp.unlink(missing_ok=True)
    _run([str(_bin() / "cdk"), "synth", "--quiet", "--no-notices", "--no-version-reporting", "-c", "gpu=on", "--output", str(CDK_OUT)])
    stamp.write_text(state)
    return True


def _state() -> str:
    """Everything that goes in."""
    digest = hashlib.sha256(platform.python_version().encode())
    for file in _inputs():
        digest.update(str(file.relative_to(PROJECT)).encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _inputs() -> Iterator[Path]:
    yield from (PROJECT / name for name in _FILES)
    yield from sorted(PROJECT.glob("models/*/model.toml"))
    for folder in _FOLDERS:
        for file in sorted((PROJECT / folder).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                yield file


def _bin() -> Path:
    return Path(sys.executable).parent


def _run(line: list[str]) -> None:
    """With this environment's programs first: the CDK CLI needs its Node, and no other."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(_bin()), os.environ.get("PATH", os.defpath)])}
    done = subprocess.run(line, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LocalError(f"`{' '.join(line)}` failed with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
