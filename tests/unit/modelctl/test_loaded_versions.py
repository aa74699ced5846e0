"""Versions that say how they are opened, from their publishing to the function that fetches them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from modelserve import cpu, manifest
from modelserve.errors import RegistryError, UnverifiedModel
from modelserve.fetch import Fetcher
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, SCHEMA, SIGNED_SCHEMA, Alias, File, Load, Manifest, alias_key
from modelserve.record import replace
from modelserve.registry import Registry
from modelserve.session import Session
from modelserve.versions import sha256
from tests.unit.modelctl.factories import MemoryStore, draft, model_file
from tests.unit.modelctl.test_registry import Breaking, Interrupted

GRAPH, DATA = "model.mapped.onnx", "model.mapped.bin"
FIGURES = {"optimized, external": {"load_ms": 1.0}, "onnx": {"load_ms": 9.0}}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    bodies = {MODEL_FILE: b"model", GRAPH: b"graph", DATA: b"weights"}
    return {name: model_file(tmp_path, body) for name, body in bodies.items()}


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


def loaded(files: dict[str, Path], *, needs: str = "") -> Manifest:
    stored = tuple(File(path=name, size=files[name].stat().st_size, sha256=sha256(files[name])) for name in (GRAPH, DATA))
    return replace(draft(), load=Load(format="external", files=stored, cpu=needs), load_figures=FIGURES, schema=LOAD_SCHEMA)


def promoted(memory: MemoryStore, files: dict[str, Path], *, needs: str = "") -> Alias:
    registry = Registry(memory)
    version = registry.publish(loaded(files, needs=needs), files).version
    return registry.promote("fruit", version, alias="production", by="ann", reason="")


def test_a_promotion_writes_how_to_open_the_version_with_whole_keys(registry: Registry, files: dict[str, Path]) -> None:
    published = registry.publish(loaded(files), files)
    registry.promote("fruit", published.version, alias="production", by="ann", reason="")
    assert registry.manifest("fruit", published.version) == published
    alias, load = registry.alias("fruit", "production"), published.load
    assert load is not None
    assert alias.load is not None
    assert alias.load == published.load_object
    assert [file.path for file in alias.load.files] == [f"models/fruit/versions/{published.version}/{name}" for name in (GRAPH, DATA)]
    stored = {file.path: file.version_id for file in published.files}
    assert [file.version_id for file in alias.load.files] == [stored[GRAPH], stored[DATA]]
    assert all(file.version_id for file in load.files)
    assert not registry.damaged("fruit")


def test_what_is_opened_as_it_is_stays_readable_for_older_releases(memory: MemoryStore, files: dict[str, Path]) -> None:
    registry = Registry(memory)
    version = registry.publish(draft(), {MODEL_FILE: files[MODEL_FILE]}).version
    registry.promote("fruit", version, alias="production", by="ann", reason="")
    documents = [orjson.loads(body) for key, body in memory.objects.items() if key.endswith(("manifest.json", "production.json"))]
    assert [document["schema"] for document in documents] == [SCHEMA, SCHEMA]
    assert not any(key.startswith("load") for document in documents for key in document)


def test_an_older_release_refuses_a_load_by_number(memory: MemoryStore, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """The number that readers know is the one thing that is older here."""
    promoted(memory, files)
    monkeypatch.setattr(manifest, "LOAD_SCHEMA", SIGNED_SCHEMA)
    registry = Registry(memory)
    refusal = "has schema 3, and this release reads up to 2; deploy a newer release"
    with pytest.raises(RegistryError, match=refusal):
        registry.alias("fruit", "production")
    with pytest.raises(RegistryError, match=refusal):
        registry.manifest("fruit", registry.versions("fruit")[0])


def test_what_was_measured_is_not_what_is_published(memory: MemoryStore, files: dict[str, Path]) -> None:
    """Another way is the fastest on another day; what model.toml asks for is another version."""
    registry = Registry(memory)
    first = registry.publish(loaded(files), files).version
    assert registry.publish(draft(), {MODEL_FILE: files[MODEL_FILE]}).version == first
    asked = replace(draft(), load_asked="format = onnx", schema=LOAD_SCHEMA)
    other = registry.publish(asked, {MODEL_FILE: files[MODEL_FILE]})
    assert other.version != first
    assert registry.publish(asked, {MODEL_FILE: files[MODEL_FILE]}) == other


@pytest.mark.parametrize("at", range(1, 5))
def test_an_interrupted_upload_of_more_files_is_taken_up(at: int, s3: object, files: dict[str, Path]) -> None:
    breaking = Registry(Breaking(s3, at=at), clock=lambda: 1_800_000_000.0)  # type: ignore[arg-type]
    with pytest.raises(Interrupted):
        breaking.publish(loaded(files), files)
    assert breaking.versions("fruit") == []
    published = Registry(Breaking(s3, at=-1), clock=lambda: 1_800_000_009.0).publish(loaded(files), files)  # type: ignore[arg-type]
    assert published.created == "2027-01-15T08:00:00Z" if at > 1 else published.created == "2027-01-15T08:00:09Z"
    assert published.load is not None
    assert all(file.version_id for file in published.load.files)


def test_a_load_whose_file_is_not_published_is_refused(memory: MemoryStore, files: dict[str, Path]) -> None:
    with pytest.raises(UnverifiedModel, match=f"no {DATA} among its files"):
        Registry(memory).publish(loaded(files), {name: file for name, file in files.items() if name != DATA})


def _path(document: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    document["load"]["files"][0]["path"] = "models/other/versions/x/model.onnx"


def _sha256(document: dict[str, dict[str, list[dict[str, object]]]]) -> None:
    document["load"]["files"][1]["sha256"] = "0" * 64


def _removed(document: dict[str, object]) -> None:
    del document["load"]


@pytest.mark.parametrize("forge", [_path, _sha256, _removed])
def test_an_alias_with_another_load_than_its_manifest_is_damaged_and_opens_nothing(
    memory: MemoryStore, files: dict[str, Path], forge: Callable[[object], None]
) -> None:
    promoted(memory, files)
    key = alias_key("fruit", "production")
    document = orjson.loads(memory.objects[key])
    forge(document)
    memory.objects[key] = orjson.dumps(document)
    registry = Registry(memory)
    assert "production" in registry.damaged("fruit")

    def refuse(*_: object) -> Session:
        raise AssertionError("opened")

    with pytest.raises(UnverifiedModel):
        Fetcher(memory, refuse)(registry.alias("fruit", "production"))


@pytest.mark.parametrize(("needs", "opened"), [("", GRAPH), ("vax", MODEL_FILE), ("!here", MODEL_FILE), ("here", GRAPH)])
def test_a_cpu_that_lacks_what_is_needed_opens_plain_onnx(
    memory: MemoryStore, files: dict[str, Path], needs: str, opened: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "features", lambda: frozenset(["here"]))
    names: list[tuple[str, str | None]] = []

    class Opened(Exception):
        pass

    def opening(path: str, load: Load | None) -> Session:
        names.append((Path(path).name, load.format if load else None))
        raise Opened

    with pytest.raises(Opened):
        Fetcher(memory, opening)(promoted(memory, files, needs=needs))
    assert names == [(opened, "external" if opened == GRAPH else None)]


@pytest.mark.parametrize(("needs", "fetched"), [("vax", [MODEL_FILE]), ("here", [GRAPH, DATA])])
def test_the_cpu_is_looked_at_before_anything_is_downloaded(
    memory: MemoryStore, files: dict[str, Path], needs: str, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function on another CPU fetches one model, not two."""
    alias, done, download = promoted(memory, files, needs=needs), [], memory.download

    def features() -> frozenset[str]:
        done.append("cpu")
        return frozenset(["here"])

    def recorded(key: str, **options: Any) -> None:
        done.append(key.rpartition("/")[2])
        download(key, **options)

    def refuse(*_: object) -> Session:
        raise RegistryError("enough is known")

    monkeypatch.setattr(cpu, "features", features)
    monkeypatch.setattr(memory, "download", recorded)
    with pytest.raises(RegistryError, match="enough is known"):
        Fetcher(memory, refuse)(alias)
    assert done[0] == "cpu"
    assert sorted(done[1:]) == sorted(fetched)


def test_an_alias_that_loads_from_another_model_can_not_be_read(memory: MemoryStore, files: dict[str, Path]) -> None:
    """Before anything is fetched: its files would be, beside the manifest."""
    promoted(memory, files)
    key = alias_key("fruit", "production")
    document = orjson.loads(memory.objects[key])
    _path(document)
    memory.objects[key] = orjson.dumps(document)
    with pytest.raises(UnverifiedModel, match=r"to 'models/other/versions/x/model\.onnx'"):
        Registry(memory).alias("fruit", "production")
