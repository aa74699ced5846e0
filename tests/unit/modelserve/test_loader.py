"""What answers for an alias, as the alias, the store and the models in it change."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from modelserve.errors import ModelFailed, ModelNotReady, ServeError, UnverifiedModel, VersionNotFound
from modelserve.fetch import Fetcher, LoadedModel
from modelserve.loader import Loader
from modelserve.manifest import LOAD_SCHEMA, Manifest, TensorSpec
from modelserve.session import Session
from modelserve.signature import SigningKey
from modelserve.tensors import Tensor, to_list

from .graphs import scaled, session
from .signers import ARN, LocalSigner
from .stores import MemoryStore, Publisher
from .strategies import anything, dumped

PRODUCTION = "models/sample/aliases/production.json"


class Told:
    """A session that is the bytes of its file, and fails its warm-up if they say so."""

    inputs: tuple[TensorSpec, ...] = (TensorSpec(name="x", datatype="FP32", shape=(-1, 3)),)
    outputs: tuple[TensorSpec, ...] = inputs

    def __init__(self, path: str) -> None:
        self.content = Path(path).read_bytes()
        if self.content == b"broken":
            raise UnverifiedModel("the graph", "nothing that loads", "a graph")
        self.warm_ups = 0

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        return []

    def warm_up(self, *, seconds: float) -> None:
        self.warm_ups += 1
        if self.content == b"cold":
            raise ModelFailed("sample", "it stays cold")


class World:
    """A store, who publishes in it, a loader that reads it and a clock; folders of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        opened: Callable[[str], Session] = Told,
        check_seconds: float = 30,
        max_others: int = 2,
        signer: LocalSigner | None = None,
    ) -> None:
        self.folder = folder / "tmp"
        self.folder.mkdir(exist_ok=True)
        self.store = MemoryStore()
        self.publisher = Publisher(self.store, folder, signer=signer)
        self.now = 1000.0
        self.loads: list[LoadedModel] = []
        self.failures: list[ServeError] = []
        fetcher = Fetcher(self.store, lambda path, _: opened(path), SigningKey(ARN, signer.call) if signer else None)
        self.loader = Loader(
            self.store,
            "sample",
            fetcher,
            alias="production",
            check_seconds=check_seconds,
            warm_up_seconds=5,
            max_others=max_others,
            on_load=self.loads.append,
            on_failure=self.failures.append,
            prefetch=fetcher.prefetch,
            clock=lambda: self.now,
        )

    def serves(self, version: str | None = None) -> str:
        return self.loader.find(version).version

    def after(self, seconds: float) -> "World":
        self.now += seconds
        return self

    def reads(self, call: str = "get") -> int:
        return sum(made == call for made, _ in self.store.calls)

    def refused(self, version: str | None = None) -> str:
        with pytest.raises(ModelNotReady) as raised:
            self.loader.find(version)
        return str(raised.value)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setenv("TMPDIR", str(made.folder))
    return made


# An alias that moves


def test_what_is_promoted_answers(world: World):
    version = world.publisher.release(b"one")

    world.loader.start()

    assert world.serves() == version
    assert [model.version for model in world.loads] == [version]
    assert world.loads[0].load_seconds >= 0


def test_a_promotion_is_served_when_the_alias_is_checked_again(world: World):
    first = world.publisher.release(b"one")
    assert world.serves() == first
    second = world.publisher.release(b"two")

    assert world.after(29.9).serves() == first
    assert world.after(0.1).serves() == second
    assert world.failures == []


def test_a_rollback_is_served_likewise(world: World):
    first = world.publisher.release(b"one")
    second = world.publisher.release(b"two")
    assert world.serves() == second
    world.publisher.registry.rollback("sample", alias="production", by="ann", reason="because")

    assert world.after(30).serves() == first


def test_the_alias_is_read_once_within_the_time_it_is_believed(world: World):
    world.publisher.release(b"one")
    world.serves()
    before = len(world.store.calls)

    for _ in range(100):
        world.serves()

    assert len(world.store.calls) == before


def test_an_alias_that_has_not_moved_costs_one_conditional_read(world: World, monkeypatch: pytest.MonkeyPatch):
    world.publisher.release(b"one")
    world.serves()
    asked: list[str | None] = []
    read = world.store.get

    def get(key: str, **how: Any):
        asked.append(how.get("unless_etag"))
        return read(key, **how)

    monkeypatch.setattr(world.store, "get", get)
    world.after(30).serves()

    assert len(asked) == 1
    assert asked[0] is not None
    assert world.reads("download") == 1


def test_a_new_version_is_warmed_up_before_it_answers_and_the_first_one_is_not(world: World):
    """A cold start has nobody else to answer meanwhile."""
    world.publisher.release(b"one")
    first: Any = world.loader.find(None)
    world.publisher.release(b"two")
    second: Any = world.after(30).loader.find(None)

    assert (first.warm_up.__self__.warm_ups, second.warm_up.__self__.warm_ups) == (0, 1)


# A new version that fails


def missing_bytes(world: World, version: str) -> None:
    world.store.delete([f"models/sample/versions/{version}/model.onnx"])


def altered_bytes(world: World, version: str) -> None:
    world.store.alter(f"models/sample/versions/{version}/model.onnx", b"ONE")


def truncated_bytes(world: World, version: str) -> None:
    world.store.alter(f"models/sample/versions/{version}/model.onnx", b"tw")


def altered_manifest(world: World, version: str) -> None:
    key = f"models/sample/versions/{version}/manifest.json"
    world.store.alter(key, world.store.objects[key][-1] + b" ")


def missing_manifest(world: World, version: str) -> None:
    world.store.delete([f"models/sample/versions/{version}/manifest.json"])


def other_bytes(world: World, version: str) -> None:
    """Those of a file beside the model, in the alias alone."""
    key = f"models/sample/versions/{version}/report.json"
    world.store.put(key, b"evil")
    changed_alias(path=key, size=4, sha256=hashlib.sha256(b"evil").hexdigest(), version_id="0")(world, version)


def replaced_bytes(world: World, version: str) -> None:
    """With the alias that fits them."""
    world.store.alter(f"models/sample/versions/{version}/model.onnx", b"evil")
    changed_alias(size=4, sha256=hashlib.sha256(b"evil").hexdigest())(world, version)


def changed_alias(**changes: Any) -> Callable[[World, str], None]:
    def change(world: World, version: str) -> None:
        alias = json.loads(world.store.objects[PRODUCTION][-1])
        for key, value in changes.items():
            (alias["model"] if key in alias["model"] else alias)[key] = value
        world.store.objects[PRODUCTION].append(dumped(alias))

    return change


def unreachable(world: World, version: str) -> None:
    world.store.down = "no route to host"


def no_space(world: World, version: str) -> None:
    world.folder.rmdir()


FAILURES: dict[str, Callable[[World, str], None]] = {
    "bytes that are missing": missing_bytes,
    "bytes that were altered": altered_bytes,
    "bytes that were cut": truncated_bytes,
    "an alias to bytes that its manifest does not list": other_bytes,
    "bytes that were replaced, and an alias that fits them": replaced_bytes,
    "a manifest that was altered": altered_manifest,
    "a manifest that is missing": missing_manifest,
    "the alias of another model": changed_alias(name="other"),
    "another alias of the same model": changed_alias(alias="candidate"),
    "an alias to a version of no such name": changed_alias(version="v", path="models/sample/versions/v/model.onnx"),
    "an alias to a file of another model": changed_alias(path="models/other/versions/20261120T174100Z-1a2b3c4d/model.onnx"),
    "an alias to a path that is no text": changed_alias(path=5),
    "an alias to a version that is not there": changed_alias(version="20991120T174100Z-1a2b3c4d"),
    "an alias without its manifest's hash": changed_alias(manifest_sha256=None),
    "a newer schema": changed_alias(schema=LOAD_SCHEMA + 1),
    "a schema that is no number": changed_alias(schema="new"),
    "an alias with an unknown key": changed_alias(canary={}),
    "an alias that is no JSON": lambda world, _version: world.store.objects[PRODUCTION].append(b"{"),
    "an alias that is a list": lambda world, _version: world.store.objects[PRODUCTION].append(b"[]"),
    "an alias that is gone": lambda world, _version: world.store.delete([PRODUCTION]),
    "a store that can not be reached": unreachable,
    "a folder that can not be written": no_space,
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_the_old_version_goes_on_answering_when_the_new_one_fails_on(world: World, fail):
    first = world.publisher.release(b"one")
    assert world.serves() == first
    fail(world, world.publisher.release(b"two"))

    assert world.after(30).serves() == first
    assert len(world.failures) == 1
    assert [model.version for model in world.loads] == [first]
    assert not world.folder.exists() or list(world.folder.iterdir()) == []


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_nothing_answers_on_a_cold_start_that_meets(world: World, fail):
    fail(world, world.publisher.release(b"one"))

    world.loader.start()

    assert "model 'sample' is not ready: " in world.refused()
    assert len(world.failures) == (fail is not FAILURES["an alias that is gone"])
    assert not world.folder.exists() or list(world.folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"broken", b"cold"])
def test_the_old_version_goes_on_when_the_new_one_does_not_load_or_does_not_answer(world: World, content):
    first = world.publisher.release(b"one")
    assert world.serves() == first
    world.publisher.release(content)

    assert world.after(30).serves() == first
    assert len(world.failures) == 1


def test_a_version_that_failed_is_tried_again_and_then_answers(world: World):
    world.publisher.release(b"one")
    world.serves()
    second = world.publisher.release(b"two")
    key = f"models/sample/versions/{second}/model.onnx"
    (kept,) = world.store.objects.pop(key)
    world.after(30).serves()
    world.store.objects[key] = [kept]

    assert world.after(29).serves() != second
    assert world.after(1).serves() == second
    assert len(world.failures) == 1


def test_altered_bytes_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []

    def opens(path: str) -> Told:
        opened.append(path)
        return Told(path)

    world = World(tmp_path, opened=opens)
    monkeypatch.setenv("TMPDIR", str(world.folder))
    altered_bytes(world, world.publisher.release(b"one"))

    world.refused()

    assert opened == []


@given(anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_in_the_place_of_the_alias_leaves_the_old_version_answering(tmp_path, value):
    world = World(tmp_path)
    first = world.publisher.release(b"one")
    world.serves()
    world.store.objects[PRODUCTION].append(dumped(value))

    assert world.after(30).serves() == first
    assert len(world.failures) == 1


@given(anything)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_within_the_alias_is_no_unexpected_error(tmp_path, value):
    world = World(tmp_path)
    first = world.publisher.release(b"one")
    world.serves()
    for key in ("name", "version", "manifest_sha256", "model", "schema", "path", "size", "sha256", "version_id"):
        changed_alias(**{key: value})(world, first)
        assert world.after(30).serves() == first
        del world.store.objects[PRODUCTION][1:]


# Nothing there


def test_an_empty_store_says_which_command_to_run(world: World):
    world.loader.start()

    assert "no version of 'sample' is promoted to 'production'; run: modelctl promote sample VERSION --alias production" in world.refused()


def test_an_unreachable_store_says_who_knows_more(world: World):
    world.store.down = "no route to host"

    world.loader.start()

    says = world.refused()
    assert "no route to host" in says
    assert "modelctl doctor" in says


def test_while_nothing_answers_the_store_is_asked_at_most_once_a_second(world: World):
    world.loader.start()
    for _ in range(100):
        world.refused()
    assert world.reads() == 1

    world.after(0.99).refused()
    assert world.reads() == 1
    world.after(0.01).refused()
    assert world.reads() == 2


def test_the_first_promotion_is_served_within_a_second(world: World):
    world.loader.start()
    version = world.publisher.release(b"one")

    assert world.after(1).serves() == version
    assert world.failures == []


def test_of_an_alias_that_was_never_set_only_the_caller_hears(world: World):
    """A deployment is empty at first, and callers make names up."""
    world.refused()
    with pytest.raises(VersionNotFound):
        world.loader.find("made-up")

    assert world.failures == []


def test_each_failed_attempt_is_reported_once_however_many_callers_hear_of_it(world: World):
    altered_bytes(world, world.publisher.release(b"one"))
    world.loader.start()
    for _ in range(10):
        world.refused()
    assert [error.kind for error in world.failures] == ["UnverifiedModel"]

    world.after(1).refused()
    assert len(world.failures) == 2


# Other aliases and versions


def test_an_alias_and_the_version_it_names_answer_alike(world: World):
    production = world.publisher.release(b"one")
    canary = world.publisher.release(b"two", "canary")

    assert (world.serves(), world.serves("production"), world.serves(production)) == (production,) * 3
    assert (world.serves("canary"), world.serves(canary)) == (canary,) * 2
    assert len(world.loads) == 2


def test_two_aliases_of_one_version_share_a_session(world: World):
    version = world.publisher.release(b"one")
    world.publisher.promote(version, "canary")

    assert world.loader.find(None) is world.loader.find("canary")
    assert world.reads("download") == 1


def test_a_version_that_no_alias_names_is_not_found(world: World):
    old = world.publisher.release(b"one")
    world.publisher.release(b"two")

    with pytest.raises(VersionNotFound, match=f"serves no version '{old}'.*modelctl list"):
        world.loader.find(old)
    assert world.loads == []


@pytest.mark.parametrize("broken", [b"{", b'{"schema": 99}'])
def test_a_version_is_found_past_an_alias_that_cannot_be_read(world: World, broken):
    """What is wrong with one alias is not answered to whoever asks for another's version."""
    version = world.publisher.release(b"two", "canary")
    world.store.objects[PRODUCTION.replace("production", "broken")] = [broken]

    assert world.serves(version) == version


def test_a_version_that_its_alias_has_left_is_not_found_any_more(world: World):
    first = world.publisher.release(b"one")
    world.publisher.promote(first, "canary")
    assert world.serves("canary") == world.serves() == first
    second = world.publisher.release(b"two")
    world.publisher.promote(second, "canary")

    with pytest.raises(VersionNotFound):
        world.after(30).loader.find(first)
    assert world.serves(second) == second


@pytest.mark.parametrize("version", ["", "nothing", "Production", "a/b", "..", "1", "x" * 33, "production\n", "20261120T174100Z-1a2b3c4"])
def test_a_name_that_is_no_alias_is_not_found(world: World, version):
    world.publisher.release(b"one")
    world.serves()

    with pytest.raises(VersionNotFound):
        world.loader.find(version)


def test_names_that_callers_make_up_are_forgotten(world: World):
    world.publisher.release(b"one")
    world.serves()

    for number in range(50):
        with pytest.raises(VersionNotFound):
            world.loader.find(f"made-up-{number}")

    assert list(world.loader._known) == ["production"]


def test_names_that_callers_make_up_while_the_store_is_down_are_forgotten(world: World):
    world.publisher.release(b"one")
    world.serves()
    world.store.down = "no route to host"

    for number in range(50):
        with pytest.raises(ServeError):
            world.loader.find(f"made-up-{number}")

    assert list(world.loader._known) == ["production"]


def test_only_so_many_other_versions_are_kept_and_never_the_default_given_up(world: World):
    production = world.publisher.release(b"0")
    world.serves()
    others = [f"a{number}" for number in range(1, 6)]
    for alias in others:
        world.publisher.release(alias.encode(), alias)

    for alias in others:
        world.serves(alias)
        assert len(world.loader._serving) <= 3

    assert list(world.loader._serving) == ["production", "a4", "a5"]
    assert world.serves() == production
    assert world.reads("download") == 6


def test_no_file_is_left_behind(world: World):
    world.publisher.release(b"one")
    world.serves()
    world.publisher.release(b"broken")
    world.after(30).serves()

    assert list(world.folder.iterdir()) == []


# Where manifests are signed


@pytest.fixture
def signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, signer=LocalSigner())
    monkeypatch.setenv("TMPDIR", str(made.folder))
    return made


def manifest_key(version: str, name: str = "sample") -> str:
    return f"models/{name}/versions/{version}/manifest.json"


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def rewritten_manifest(world: World, version: str) -> None:
    """With the alias that fits it."""
    altered = world.store.objects[manifest_key(version)][-1].replace(b'"labels": []', b'"labels": ["x"]')
    world.store.alter(manifest_key(version), altered)
    changed_alias(manifest_sha256=digest(altered))(world, version)


def rewritten_all(world: World, version: str) -> None:
    """Bytes, manifest and alias, as somebody does who may write the bucket but not sign."""
    replaced_bytes(world, version)
    manifest = json.loads(world.store.objects[manifest_key(version)][-1])
    manifest["files"][0] |= {"size": 4, "sha256": digest(b"evil")}
    world.store.alter(manifest_key(version), dumped(manifest))
    alias = json.loads(world.store.objects[PRODUCTION][-1])
    world.store.objects[PRODUCTION].append(dumped({**alias, "manifest_sha256": digest(dumped(manifest))}))


def signed_of(world: World, content: bytes, name: str = "sample") -> tuple[str, bytes]:
    """Another version's signature and manifest, as the key signed it."""
    publisher = Publisher(world.store, world.folder.parent, name=name, signer=LocalSigner())
    prefix = f"models/{name}/versions/{publisher.publish(content)}"
    return world.store.objects[f"{prefix}/manifest.sig"][0].decode(), world.store.objects[f"{prefix}/manifest.json"][0]


def another_versions_signature(world: World, version: str) -> None:
    changed_alias(signature=signed_of(world, b"other")[0])(world, version)


def another_versions_manifest_in_the_alias(world: World, version: str) -> None:
    signature, manifest = signed_of(world, b"other")
    changed_alias(signature=signature, manifest_sha256=digest(manifest))(world, version)


def manifest_of_another(name: str) -> Callable[[World, str], None]:
    """Truly signed, and in the place of the version's own."""

    def fail(world: World, version: str) -> None:
        signature, manifest = signed_of(world, b"other", name)
        world.store.alter(manifest_key(version), manifest)
        changed_alias(signature=signature, manifest_sha256=digest(manifest))(world, version)

    return fail


def another_keys_signature(world: World, version: str) -> None:
    changed_alias(signature=LocalSigner(1).sign(digest(world.store.objects[manifest_key(version)][0])))(world, version)


def altered_signature(world: World, version: str) -> None:
    signature = json.loads(world.store.objects[PRODUCTION][-1])["signature"]
    changed_alias(signature=("B" if signature[0] == "A" else "A") + signature[1:])(world, version)


TAMPERED: dict[str, Callable[[World, str], None]] = {
    "bytes that were altered": altered_bytes,
    "bytes that were replaced, and an alias that fits them": replaced_bytes,
    "an alias to bytes that its manifest does not list": other_bytes,
    "a manifest that was altered": altered_manifest,
    "a manifest that was rewritten, and an alias that fits it": rewritten_manifest,
    "bytes, manifest and alias rewritten": rewritten_all,
    "a signature that was altered": altered_signature,
    "a signature that was taken away": changed_alias(signature=None, schema=1),
    "a signature that is no text": changed_alias(signature=5),
    "a signature by another key": another_keys_signature,
    "the signature of another version": another_versions_signature,
    "the signature and digest of another version": another_versions_manifest_in_the_alias,
    "the signed manifest of another version": manifest_of_another("sample"),
    "the signed manifest of another model": manifest_of_another("other"),
}


def test_what_is_signed_answers(signed: World):
    version = signed.publisher.release(b"one")

    assert signed.serves() == version
    second = signed.publisher.release(b"two")
    assert signed.after(30).serves() == second
    assert signed.failures == []


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_the_old_version_goes_on_when_the_new_one_is_not_what_was_signed_for(signed: World, tamper):
    first = signed.publisher.release(b"one")
    assert signed.serves() == first
    tamper(signed, signed.publisher.release(b"two"))

    assert signed.after(30).serves() == first
    assert [error.kind for error in signed.failures] == ["UnverifiedModel"]
    assert list(signed.folder.iterdir()) == []


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_no_cold_start_serves_what_is_not_what_was_signed_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tamper):
    world = World(tmp_path, opened=lambda _: pytest.fail("these bytes were opened"), signer=LocalSigner())
    monkeypatch.setenv("TMPDIR", str(world.folder))
    tamper(world, world.publisher.release(b"one"))

    world.loader.start()

    assert "is not what was published" in world.refused()
    assert [error.kind for error in world.failures] == ["UnverifiedModel"]
    assert list(world.folder.iterdir()) == []


def test_an_alias_without_a_signature_names_what_writes_one(signed: World):
    changed_alias(signature=None)(signed, signed.publisher.release(b"one"))

    assert f"found no signature, expected one by {ARN}, as `modelctl promote` writes it; publish the model again" in signed.refused()


def test_a_manifest_is_not_parsed_before_its_signature_is_verified(signed: World, monkeypatch: pytest.MonkeyPatch):
    another_keys_signature(signed, signed.publisher.release(b"one"))
    monkeypatch.setattr(Manifest, "from_json", lambda *_, **__: pytest.fail("it was parsed"))

    assert "a signature that does not fit its manifest" in signed.refused()


def test_a_deployment_that_asks_for_no_signature_reads_a_signed_alias(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path)
    monkeypatch.setenv("TMPDIR", str(world.folder))
    version = Publisher(world.store, tmp_path, signer=LocalSigner()).release(b"one")

    assert world.serves() == version


def test_without_an_answer_of_kms_nothing_loads_until_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kms = LocalSigner()
    world = World(tmp_path, signer=kms)
    monkeypatch.setenv("TMPDIR", str(world.folder))
    version = world.publisher.release(b"one")
    kms.down = "no route to host"
    world.loader.start()
    assert "no route to host" in world.refused()
    assert [error.kind for error in world.failures] == ["ServiceUnavailable"]

    kms.down = None
    assert world.after(1).serves() == version
    second = world.publisher.release(b"two")
    assert world.after(30).serves() == second
    assert len(kms.calls) == 2  # the key is kept


# With ONNX Runtime


def test_real_models_are_swapped_and_a_broken_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = World(tmp_path, opened=lambda path: session(Path(path).read_bytes()))
    monkeypatch.setenv("TMPDIR", str(world.folder))
    rows = Tensor("x", "FP32", (1, 3), b"\0\0\x80\x3f" * 3)  # three ones

    def answer() -> list[float]:
        return to_list(world.loader.find(None).run([rows], ["y"], seconds=5)[0])

    world.publisher.release(scaled(2))
    assert answer() == [2, 2, 2]
    world.publisher.release(scaled(3))
    world.after(30)
    assert answer() == [3, 3, 3]
    world.publisher.release(b"no graph at all")
    world.after(30)
    assert answer() == [3, 3, 3]
    assert "Protobuf parsing failed" in str(world.failures[0])
