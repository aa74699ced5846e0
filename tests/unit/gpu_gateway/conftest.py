from pathlib import Path

import pytest

from tests.unit.modelserve.graphs import scaled

from .apps import App, Releases, started


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


@pytest.fixture
def app(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> App:
    """Serves a model that doubles three numbers."""
    releases.release(scaled(2))
    return started(releases, monkeypatch)
