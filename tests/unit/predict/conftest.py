from pathlib import Path

import pytest

from tests.unit.modelserve.graphs import scaled
from tests.unit.modelserve.stores import MemoryStore, Publisher

from .apps import App, started


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def publisher(store: MemoryStore, tmp_path: Path) -> Publisher:
    return Publisher(store, tmp_path)


@pytest.fixture
def app(store: MemoryStore, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> App:
    """Serves a model that doubles three numbers."""
    publisher.release(scaled(2))
    return started(store, monkeypatch)
