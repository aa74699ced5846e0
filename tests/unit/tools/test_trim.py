"""What an image keeps of ONNX Runtime's package."""

from __future__ import annotations

from pathlib import Path

import pytest

from functions import trim
from modelserve.session import BACKENDS

LIBRARY = "onnxruntime/capi/libonnxruntime.so.1.2.3"
BINDING = "onnxruntime/capi/onnxruntime_pybind11_state.so"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in (
        LIBRARY,
        BINDING,
        "onnxruntime/__init__.py",
        "onnxruntime/tools/deep/a.py",
        "onnxruntime/LICENSE",
        "onnxruntime-1.2.3.dist-info/METADATA",
        "numpy/lib/tests/data/a.py",
        "numpy/a.pyi",
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


def kept(root: Path) -> set[str]:
    return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file() or not any(file.iterdir())}


@pytest.mark.parametrize(("backend", "found"), [("native", {LIBRARY}), ("binding", {BINDING, "onnxruntime/__init__.py"})])
def test_an_image_holds_one_of_the_two_ways_to_onnx_runtime(root, backend, found):
    assert backend in BACKENDS

    trim.main(backend, root)

    assert kept(root) == {
        *found,
        "onnxruntime/LICENSE",
        "onnxruntime-1.2.3.dist-info/METADATA",
    }  # by which scanners know it


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_release_that_ships_it_otherwise_ends_the_build(root, backend):
    (root / LIBRARY).rename(root / "onnxruntime/capi/onnxruntime.so")

    with pytest.raises(SystemExit, match=r"has 0 files libonnxruntime\.so\.\*; expected one"):
        trim.main(backend, root)
