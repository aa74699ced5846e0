"""Where drops are held against: the newest version that no compression had a part in."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelserve.manifest import MODEL_FILE, Lineage
from modelserve.record import replace
from modelserve.registry import Registry
from tests.unit.modelctl.factories import MemoryStore, draft, model_file
from tools.modelctl.commands import origins
from tools.modelctl.commands.compressing import MethodName
from tools.modelctl.origin import Origin


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def versions(store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One after the other: trained, in another operator set, in 8 bits, in another operator set again, pruned."""
    registry, found = Registry(store), list[str]()
    for place, transform in enumerate((None, "opset 21", "static-int8", "opset 22", "prune")):
        lineage = Lineage(framework="numpy", parent=found[-1] if found else None, transform=transform)
        manifest = registry.publish(replace(draft(), lineage=lineage), {MODEL_FILE: model_file(tmp_path, bytes([place]))})
        found.append(manifest.version)

    def read(registry: Registry, name: str, version: str, scratch: Path) -> Origin:
        return Origin(manifest=registry.manifest(name, version), model=scratch, version=version)

    monkeypatch.setattr(origins, "_read", read)
    return found


def against(store: MemoryStore, version: str) -> str | None:
    registry = Registry(store)
    target: Any = SimpleNamespace(name="dev", registry=lambda: registry)
    origin = Origin(manifest=registry.manifest("fruit", version), model=Path(), version=version)
    found = origins.uncompressed(target, origin, set(MethodName), Path())
    return found.version if found else None


def test_it_is_older_than_every_compression_whatever_came_between(store: MemoryStore, versions: list[str]) -> None:
    assert [against(store, version) for version in versions] == [None, None, versions[1], versions[1], versions[1]]


def test_where_it_is_gone_the_oldest_that_is_there_stands_in_and_that_is_said(
    store: MemoryStore, versions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    store.delete([key for key in store.objects if versions[1] in key])
    assert against(store, versions[4]) == versions[2]
    said = " ".join(capsys.readouterr().err.split())
    assert f"{versions[1]} is in dev no longer, so drops are held against {versions[2]}" in said
    assert against(store, versions[2]) is None


def test_a_build_that_is_not_published_comes_from_nothing(store: MemoryStore) -> None:
    target: Any = SimpleNamespace(name="dev", registry=lambda: Registry(store))
    assert origins.uncompressed(target, Origin(manifest=draft(), model=Path()), set(MethodName), Path()) is None
