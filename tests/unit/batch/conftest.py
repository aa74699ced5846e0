from pathlib import Path

import pytest

from .data_sets import World


@pytest.fixture
def world(moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A bucket of data sets with a model and the functions that run it."""
    return World(moto_url, tmp_path, monkeypatch, "ours")
