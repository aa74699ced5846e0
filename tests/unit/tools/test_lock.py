"""What the image installs is what the lock says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
EXPORT = ("export", "--frozen", "--only-group", "predict", "--no-emit-project", "--no-annotate", "--no-header")


def test_the_images_requirements_are_the_locks():
    """`make lock` writes them."""
    uv = Path(sys.executable).parent / "uv"
    exported = subprocess.run([uv, *EXPORT, "--quiet"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "functions" / "predict" / "requirements.txt").read_text("utf-8") == exported


def test_make_lock_exports_the_same_way():
    assert " ".join(EXPORT) in (ROOT / "Makefile").read_text("utf-8")
