"""What the images install is what the lock says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKED = ("--frozen", "--no-emit-project", "--no-annotate", "--no-header", "--quiet")
IMAGES = sorted(file.parent.name for file in (ROOT / "functions").glob("*/Dockerfile"))


NATIVE = ("--prune", "flatbuffers", "--prune", "packaging", "--prune", "protobuf")
EXPORTS = {
    "predict/requirements-native.txt": ("predict", *NATIVE, "--prune", "numpy"),
    "predict/requirements-binding.txt": ("predict",),
    "batch/requirements-native.txt": ("batch", *NATIVE),
    "batch/requirements-binding.txt": ("batch",),
}


@pytest.mark.parametrize("file", EXPORTS)
def test_an_images_requirements_are_the_locks(file):
    """`make lock` writes them."""
    uv = Path(sys.executable).parent / "uv"
    options = [*LOCKED, "--only-group", *EXPORTS[file]]
    exported = subprocess.run([uv, "export", *options], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert (ROOT / "functions" / file).read_text("utf-8") == exported


@pytest.mark.parametrize("file", EXPORTS)
def test_make_lock_exports_the_same_way(file):
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert f"LOCKED := {' '.join(LOCKED)}" in makefile
    assert f"NATIVE := {' '.join(NATIVE)}" in makefile
    options = " ".join(EXPORTS[file]).replace(" ".join(NATIVE), "$(NATIVE)")
    assert f"uv export $(LOCKED) --only-group {options} --output-file functions/{file}" in makefile


def test_an_image_that_drives_the_library_has_neither_numpy_nor_what_the_binding_needs():
    text = (ROOT / "functions/predict/requirements-native.txt").read_text("utf-8")
    named = {line.partition("==")[0] for line in text.splitlines() if "==" in line}
    assert named == {"backports-zstd", "onnxruntime", "orjson", "pybase64"}


def test_both_images_are_looked_at():
    assert IMAGES == ["batch", "predict"]
