"""What the images install is what the lock says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKED = ("--frozen", "--no-emit-project", "--no-annotate", "--no-header", "--quiet")
IMAGES = sorted(file.parent.name for file in (ROOT / "functions").glob("*/Dockerfile"))


@pytest.mark.parametrize("image", IMAGES)
def test_an_images_requirements_are_the_locks(image):
    """`make lock` writes them."""
    uv = Path(sys.executable).parent / "uv"
    exported = subprocess.run([uv, "export", *LOCKED, "--only-group", image], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "functions" / image / "requirements.txt").read_text("utf-8") == exported


@pytest.mark.parametrize("image", IMAGES)
def test_make_lock_exports_the_same_way(image):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"LOCKED := {' '.join(LOCKED)}" in makefile
    assert f"uv export $(LOCKED) --only-group {image} --output-file functions/{image}/requirements.txt" in makefile


def test_both_images_are_looked_at():
    assert IMAGES == ["batch", "predict"]
