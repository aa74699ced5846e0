"""What is downloaded of a version, and opened: all of it or nothing, as its alias says or as it was published."""

import hashlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from modelserve.errors import StoreUnavailable, UnverifiedModel
from modelserve.fetch import Fetcher, verified_manifest
from modelserve.manifest import Alias, File, Load, Manifest, version_prefix
from modelserve.record import replace

from .stores import MemoryStore, Publisher


class Opened:
    """Stands for a session: what it was opened with, and the folder as it was then."""

    inputs = outputs = ()
    run = warm_up = None

    def __init__(self, path: str, load: Load | None) -> None:
        self.load = load
        self.name = Path(path).name
        self.files = {file.name: file.read_bytes() for file in Path(path).parent.iterdir()}


@pytest.fixture(autouse=True)
def _scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def alias(store: MemoryStore, tmp_path: Path) -> Alias:
    publisher = Publisher(store, tmp_path)
    publisher.release(b"plain")
    return publisher.registry.alias("sample", "production")


def loaded(alias: Alias, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes], **values: Any) -> Alias:
    """`alias` with a way to load it, which its manifest has too."""
    prefix = version_prefix(alias.name, alias.version)
    for name, body in files.items():
        store.objects[prefix + name] = [body]
    listed = [File(path=prefix + name, size=len(body), sha256=hashlib.sha256(body).hexdigest()) for name, body in files.items()]
    load = Load(format="external", files=tuple(listed), **values)
    monkeypatch.setattr(Manifest, "load_object", load)
    return replace(alias, load=load)


def opened(store: MemoryStore, alias: Alias, refused: tuple[Load | None, ...] = ()) -> Opened:
    sessions: list[Opened] = []

    def open_session(path: str, load: Load | None) -> Any:
        if load in refused:
            raise UnverifiedModel("a graph", "what can't be loaded", "what can")
        sessions.append(Opened(path, load))
        return sessions[-1]

    try:
        Fetcher(store, open_session)(alias)
    finally:
        assert os.listdir(os.environ["TMPDIR"]) == []  # nothing is left, however it ends
    return sessions[-1]


def test_without_a_way_to_load_it_the_model_is_opened_as_it_is(store, alias):
    session = opened(store, alias)

    assert (session.name, session.load, session.files) == ("model.onnx", None, {"model.onnx": b"plain"})


def test_every_file_of_a_load_lies_beside_the_first_which_is_opened(store, alias, monkeypatch):
    files = {"model.external.onnx": b"graph", "model.external.bin": b"weights"}
    session = opened(store, loaded(alias, store, monkeypatch, files))

    assert (session.name, session.files) == ("model.external.onnx", files)
    assert session.load is not None


def test_a_file_that_came_compressed_is_opened_as_it_was(store, alias, monkeypatch):
    key = version_prefix("sample", alias.version) + "model.onnx"
    session = opened(store, loaded(alias, store, monkeypatch, {"model.onnx.zst": zstd.compress(b"graph")}, zstd=key))

    assert (session.name, session.files) == ("model.onnx", {"model.onnx": b"graph"})


def test_a_cpu_that_lacks_something_opens_the_model_as_it_was_published(store, alias, monkeypatch):
    session = opened(store, loaded(alias, store, monkeypatch, {"model.ort": b"ort"}, cpu="no_such_cpu"))

    assert (session.load, session.files) == (None, {"model.onnx": b"plain"})


def test_what_another_onnx_runtime_refuses_is_opened_as_it_was_published(store, alias, monkeypatch):
    with_load = loaded(alias, store, monkeypatch, {"model.ort": b"ort"})
    session = opened(store, with_load, refused=(with_load.load,))

    assert (session.load, session.name, session.files["model.onnx"]) == (None, "model.onnx", b"plain")


def test_what_is_refused_in_both_ways_is_raised(store, alias, monkeypatch):
    with_load = loaded(alias, store, monkeypatch, {"model.ort": b"ort"})
    with pytest.raises(UnverifiedModel, match="what can't be loaded"):
        opened(store, with_load, refused=(with_load.load, None))


def test_other_bytes_than_the_alias_names_are_not_opened_in_any_way(store, alias, monkeypatch):
    """Not as they were published either: somebody has been there."""
    with_load = loaded(alias, store, monkeypatch, {"model.ort": b"ort"})
    store.alter(version_prefix("sample", alias.version) + "model.ort", b"evil")

    with pytest.raises(UnverifiedModel, match=r"model\.ort"):
        opened(store, with_load)


def test_a_way_to_load_it_that_the_manifest_does_not_have_is_refused(store, alias, monkeypatch):
    with_load = loaded(alias, store, monkeypatch, {"model.ort": b"ort"})
    monkeypatch.setattr(Manifest, "load_object", None)

    with pytest.raises(UnverifiedModel, match="another way to load it"):
        opened(store, with_load)


def test_files_and_manifest_are_asked_for_at_the_same_time(store, alias, monkeypatch):
    """Each waits for the others, which would be for good if one came after another."""
    with_load = loaded(alias, store, monkeypatch, {"one": b"1", "two": b"2"})
    together = threading.Barrier(3)
    for name in ("get", "download"):
        call = getattr(store, name)
        monkeypatch.setattr(store, name, lambda *args, call=call, **named: (together.wait(timeout=10), call(*args, **named))[1])

    assert set(opened(store, with_load).files) == {"one", "two"}


def test_of_a_manifest_that_nobody_signed_nothing_is_parsed_though_it_is_there(store, alias, monkeypatch):
    """It is on its way while the key is: neither waits for the other."""
    steps: list[str] = []

    class Refusing:
        def prefetch(self) -> None:
            """Nothing."""

        def check(self, _: Alias) -> None:
            steps.append("check")
            raise UnverifiedModel("an alias", "no signature", "one")

    get = store.get
    monkeypatch.setattr(store, "get", lambda key, **named: (steps.append("manifest"), get(key, **named))[1])  # type: ignore[func-returns-value]
    monkeypatch.setattr(Manifest, "from_json", lambda *_, **__: steps.append("parsed"))
    with pytest.raises(UnverifiedModel, match="no signature"):
        verified_manifest(store, alias, Refusing())

    assert steps == ["manifest", "check"]


def test_a_file_that_does_not_come_is_raised_when_the_others_have_ended(store, alias, monkeypatch):
    with_load = loaded(alias, store, monkeypatch, {"one": b"1", "two": b"2"})
    download = store.download

    def broken(key: str, **named: Any) -> None:
        if key.endswith("one"):
            raise StoreUnavailable(key, "down")
        download(key, **named)

    monkeypatch.setattr(store, "download", broken)
    with pytest.raises(StoreUnavailable, match="down"):
        opened(store, with_load)
