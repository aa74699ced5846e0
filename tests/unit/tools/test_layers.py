"""The layer of the zip functions' dependencies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools import layers

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("build") / "dependencies"
    layers.build(folder)
    return folder


def test_it_holds_what_the_functions_import(made):
    assert {"aws_lambda_powertools", "orjson"} <= {entry.name for entry in (made / "python").iterdir()}


def test_its_binaries_are_for_lambda(made):
    """Whatever this machine and its Python are."""
    (binary,) = (made / "python" / "orjson").glob("*.so")
    assert "cpython-313-x86_64-linux-gnu" in binary.name


def test_it_holds_nothing_that_changes_from_run_to_run(made):
    """A changed byte would deploy every function again."""
    assert not [file for file in made.rglob("*") if file.name in {"requirements.txt", "__pycache__"}]


def test_an_unchanged_lock_makes_nothing(made):
    assert layers.build(made) is False


def test_another_lock_makes_it_again(tmp_path, made):
    folder = tmp_path / "dependencies"
    shutil.copytree(made, folder)
    (folder / "requirements.sha256").write_text("of another lock")
    (folder / "python" / "left_over.py").touch()
    assert layers.build(folder) is True
    assert not (folder / "python" / "left_over.py").exists()


def test_a_failure_shows_what_uv_said(tmp_path):
    with pytest.raises(layers.LayerFailed, match=r"uv\.lock|pyproject\.toml"):
        layers.build(tmp_path / "dependencies", root=tmp_path)
    assert not (tmp_path / "dependencies").exists()
