"""Makes the layer of the zip functions' dependencies before synth, from the lock and without Docker; `cdk.json` runs it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["LayerFailed", "build"]

ROOT = Path(__file__).parents[1]
DEPENDENCIES = ROOT / "build" / "dependencies"
_TARGET = ("--python-platform", "x86_64-manylinux_2_28", "--python-version", "3.13", "--only-binary", ":all:")
_STAMP = "requirements.sha256"


class LayerFailed(Exception):
    """uv could not export or install the layer's requirements."""

    def __init__(self, command: list[str], output: str) -> None:
        super().__init__(f"{' '.join(command)}\n{output}\nthe layer could not be made; check the network and `uv lock --check`")


def build(folder: Path = DEPENDENCIES, *, root: Path = ROOT) -> bool:
    """Fills `folder` with `python/`; False when it already holds what the lock says. Raises `LayerFailed`."""
    requirements = _uv("export", "--project", str(root), "--only-group", "layer", "--no-emit-project", "--frozen", "--no-header", "--quiet")
    digest = hashlib.sha256("\n".join([requirements, *_TARGET]).encode()).hexdigest()
    if _holds(folder, digest):
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / folder.name
        made.mkdir()
        lock = made / "requirements.txt"
        lock.write_text(requirements, "utf-8")
        _uv("pip", "install", "--target", str(made / "python"), *_TARGET, "--require-hashes", "--requirements", str(lock), "--quiet")
        lock.unlink()
        (made / _STAMP).write_text(digest, "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        try:
            made.rename(folder)
        except OSError:  # somebody else made it meanwhile
            if not _holds(folder, digest):
                raise
    return True


def _holds(folder: Path, digest: str) -> bool:
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text("utf-8") == digest


def _uv(*arguments: str) -> str:
    """What uv printed. The environment has its own uv, so that nobody has to install one."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    command = [uv or "uv", "--color", "never", *arguments]  # the CDK CLI forces colours into pipes
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        raise LayerFailed(command, "uv was not found; `make` puts one into .venv") from None
    except subprocess.CalledProcessError as error:
        raise LayerFailed(command, error.stderr) from None


def main() -> None:
    try:
        made = build()
    except LayerFailed as error:
        sys.exit(str(error))
    if made:
        print(f"made {DEPENDENCIES.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
