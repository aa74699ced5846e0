"""Zip functions: their code, their layers and the runtime's own packages, and nothing else."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tools.local import archive, interpreter, packages
from tools.local.assembly import FileAsset
from tools.local.errors import LocalError


@pytest.fixture
def layer(tmp_path, monkeypatch):
    """A layer with orjson for another interpreter, and a module of its own."""
    monkeypatch.setattr(packages, "runtime", lambda _: tmp_path / "runtime")
    folder = tmp_path / "layer"
    info = folder / "python" / f"orjson-{version('orjson')}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: orjson\nVersion: {version('orjson')}\n")
    (info / "RECORD").write_text("orjson/__init__.py,,\norjson/orjson.cpython-399-sparc.so,,\n")
    (folder / "python" / "orjson").mkdir()
    (folder / "python" / "orjson" / "__init__.py").write_text("raise ImportError('built for AWS')\n")
    (folder / "python" / "orjson" / "orjson.cpython-399-sparc.so").touch()
    (folder / "python" / "mine.py").write_text("WORD = 'mine'\n")
    return FileAsset(source=folder, bucket="b", key="layer.zip", is_folder=True)


@pytest.fixture
def unpack(tmp_path, layer):
    code = tmp_path / "code"
    code.mkdir()
    (code / "app.py").write_text("import mine, orjson\n")
    asset = FileAsset(source=code, bucket="b", key="code.zip", is_folder=True)
    return lambda: archive.unpack(asset, [layer], handler="app.handler", cache=tmp_path / "cache")


def test_a_layer_for_another_interpreter_is_built_again_for_this_one(unpack, monkeypatch):
    monkeypatch.setattr(interpreter, "AWS_ABI", "cpython-399-sparc")
    root = unpack()
    check = "import app, mine, orjson; assert orjson.loads(b'[1]') == [1] and mine.WORD == 'mine'"
    interpreter.run(["-c", check], cwd=root.folder, environ={}, before=root.before)
    assert not list(root.before[1].rglob("*sparc*"))


def test_a_layer_for_this_interpreter_is_used_as_it_is(unpack, monkeypatch):
    monkeypatch.setattr(interpreter, "AWS_ABI", interpreter.ABI)
    root = unpack()
    with pytest.raises(LocalError, match="built for AWS"):
        interpreter.run(["-c", "import orjson"], cwd=root.folder, environ={}, before=root.before)


def test_code_comes_before_layers_and_the_runtime_last(unpack, tmp_path):
    root = unpack()
    assert root.before[0] == root.folder
    assert root.after == (tmp_path / "runtime",)
    assert list((root.folder / "__pycache__").glob("app.*.pyc"))


def test_an_asset_that_is_no_folder_is_refused(tmp_path):
    file = tmp_path / "code.zip"
    file.touch()
    asset = FileAsset(source=file, bucket="b", key="code.zip", is_folder=False)
    with pytest.raises(LocalError, match="not a folder"):
        archive.unpack(asset, [], handler="app.handler", cache=tmp_path / "cache")
