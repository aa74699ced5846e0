import platform
import sys
from pathlib import Path

import pytest

from tests.triton import environment
from tests.triton.environment import Environment, Unavailable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the wheel is for Linux")


def test_another_machine_is_told_which_one_it_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(environment, "CACHE", tmp_path)
    with pytest.raises(Unavailable, match="Linux on arm64; expected Linux on x86_64"):
        Environment.make()
    assert Environment.made() is None
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_namespaces_is_told_what_to_allow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(environment, "CONFINE", ("false",))
    monkeypatch.setattr(environment, "CACHE", tmp_path)
    with pytest.raises(Unavailable, match="`false` fails; expected user namespaces"):
        Environment.make()


def test_a_machine_without_such_a_python_is_told_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(environment, "_lacks", lambda: None)
    monkeypatch.setattr(environment, "CACHE", tmp_path)
    monkeypatch.setattr(environment, "_PYTHONS", ">=3.1,<3.2")
    with pytest.raises(Unavailable, match=r"no Python >=3.1,<3.2 with a shared library; expected .*uv python install"):
        Environment.make()
    assert Environment.made() is None


def test_the_backend_gets_a_numpy_that_it_can_read():
    """Its arrays of numpy 2 would be empty, without an error."""
    assert "numpy==1." in environment.REQUIREMENTS.read_text("utf-8")
