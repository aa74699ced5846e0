"""The model store's format on the client that writes it."""

import hashlib
import json
import re
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from types_boto3_s3.client import S3Client

from modelserve.errors import (
    AliasConflict,
    AliasNotFound,
    PreconditionFailed,
    RegistryError,
    StoreUnavailable,
    UnverifiedModel,
    VersionNotFound,
)
from modelserve.manifest import MODEL_FILE, Manifest, Object
from modelserve.record import replace
from modelserve.registry import Registry
from tests.unit.modelctl.conftest import BUCKET
from tests.unit.modelctl.factories import MemoryStore, draft, model_file, published
from tools.modelctl.s3 import S3Store


def promote(registry: Registry, version: str, *, alias: str = "production", name: str = "fruit") -> None:
    registry.promote(name, version, alias=alias, by="ann", reason="because")


def production(registry: Registry) -> str:
    return registry.alias("fruit", "production").version


class Interrupted(Exception):
    pass


class Breaking(S3Store):
    """Fails instead of its n-th write."""

    def __init__(self, client: S3Client, *, at: int) -> None:
        super().__init__(client, BUCKET)
        self.writes = 0
        self.at = at

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        self.writes += 1
        if self.writes == self.at:
            raise Interrupted
        return super().put(key, body, if_etag=if_etag)


class Forgetful(S3Store):
    """Loses the answer to each of its writes under `where`, and writes again as a client does."""

    def __init__(self, client: S3Client, *, where: str) -> None:
        super().__init__(client, BUCKET)
        self.where = where

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        if self.where in key:
            super().put(key, body, if_etag=if_etag)
        return super().put(key, body, if_etag=if_etag)


def test_a_version_is_its_time_and_the_start_of_its_hash(registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, b"model")
    assert re.fullmatch(r"\d{8}T\d{6}Z-" + hashlib.sha256(b"model").hexdigest()[:8], version)


def test_a_published_manifest_reads_back_equal(registry: Registry, tmp_path: Path) -> None:
    manifest = registry.publish(draft(), {MODEL_FILE: model_file(tmp_path, b"model")})
    assert registry.manifest("fruit", manifest.version) == manifest
    assert manifest.model_file.version_id


def test_publishing_the_same_bytes_again_gives_the_same_version(registry: Registry, tmp_path: Path) -> None:
    assert published(registry, tmp_path, b"model") == published(registry, tmp_path, b"model")
    assert len(registry.versions("fruit")) == 1


def test_the_same_bytes_with_other_labels_are_another_version(registry: Registry, tmp_path: Path) -> None:
    """Labels are served from the manifest, so a correction of them must reach the store."""
    files = {MODEL_FILE: model_file(tmp_path, b"model")}
    first = registry.publish(draft(labels=("a", "b")), files)
    second = registry.publish(draft(labels=("b", "a")), files)
    assert registry.versions("fruit") == [first.version, second.version]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_interrupted_upload_leaves_no_visible_version(s3: S3Client, tmp_path: Path, at: int) -> None:
    files = {MODEL_FILE: model_file(tmp_path, b"model"), "report.json": model_file(tmp_path, b"report")}
    with pytest.raises(Interrupted):
        Registry(Breaking(s3, at=at)).publish(draft(), files)
    assert Registry(S3Store(s3, BUCKET)).versions("fruit") == []


def test_publishing_succeeds_in_the_very_second_of_an_interrupted_upload(s3: S3Client, tmp_path: Path) -> None:
    files = {MODEL_FILE: model_file(tmp_path, b"model")}
    with pytest.raises(Interrupted):
        Registry(Breaking(s3, at=2), clock=lambda: 1_795_000_000.0).publish(draft(), files)
    registry = Registry(S3Store(s3, BUCKET), clock=lambda: 1_795_000_000.0)
    version = registry.publish(draft(), files).version
    assert registry.versions("fruit") == [version]


@pytest.mark.parametrize("then", [1_795_000_000.9, 1_794_999_000.0], ids=["the same second", "a clock that runs behind"])
def test_what_is_published_later_sorts_later(store: S3Store, tmp_path: Path, then: float) -> None:
    moments = iter([1_795_000_000.0, then, then, then])
    registry = Registry(store, clock=lambda: next(moments))
    order = [published(registry, tmp_path, bytes([number])) for number in range(4)]
    assert registry.versions("fruit") == order


def test_what_could_not_be_a_version_stops_nobody_from_publishing(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    for stray in ("99999999T999999Z-aaaaaaaa", "20260101T000000Z-AAAAAAAA", "latest"):
        s3.put_object(Bucket=BUCKET, Key=f"models/fruit/versions/{stray}/manifest.json", Body=b"{}")
    version = published(registry, tmp_path, b"model")
    assert registry.versions("fruit") == [version]
    assert registry.prune("fruit", keep=1, by="ann") == []


def test_a_version_that_no_reader_would_take_is_not_published(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    """After the last second of the year 9999 the name would grow by a digit."""
    s3.put_object(Bucket=BUCKET, Key="models/fruit/versions/99991231T235959Z-aaaaaaaa/manifest.json", Body=b"{}")
    with pytest.raises(RegistryError, match=r"100000101T000000Z.* which no reader takes; look at this machine's clock"):
        published(registry, tmp_path, b"model")


def test_a_version_without_a_manifest_cannot_be_promoted(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path)
    s3.delete_object(Bucket=BUCKET, Key=f"models/fruit/versions/{version}/manifest.json")
    with pytest.raises(VersionNotFound):
        promote(registry, version)


def test_an_alias_names_the_bytes_it_was_promoted_with(registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, b"model")
    promote(registry, version)
    alias = registry.alias("fruit", "production")
    assert alias.model.path == f"models/fruit/versions/{version}/model.onnx"
    assert alias.model.sha256 == hashlib.sha256(b"model").hexdigest()
    assert alias.model.version_id == registry.manifest("fruit", version).model_file.version_id


@pytest.mark.parametrize("alias", ["", "Production", "../x", "a" * 33, "1st"])
def test_an_alias_that_is_no_name_is_refused(registry: Registry, tmp_path: Path, alias: str) -> None:
    version = published(registry, tmp_path)
    with pytest.raises(RegistryError, match="can't be an alias"):
        promote(registry, version, alias=alias)


class Moving(MemoryStore):
    """Somebody else writes the alias before it is read for the `at`-th time."""

    at, body = -1, b""

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        if "/aliases/" in key:
            self.at -= 1
            if not self.at:
                self.objects[key] = self.body
        return super().get(key, version_id=version_id, unless_etag=unless_etag)


def three(folder: Path) -> tuple[Moving, Registry, list[str], list[bytes]]:
    """A store, its versions, oldest first, and what an alias of each is; production names the second, and before the first."""
    store = Moving()
    registry, key, bodies = Registry(store), "models/fruit/aliases/production.json", []
    versions = [published(registry, folder, body) for body in (b"1", b"2", b"3")]
    for version in (*versions[2:], *versions[:2]):
        promote(registry, version)
        bodies.append(store.objects[key])
    return store, registry, versions, [*bodies[1:], bodies[0]]


@pytest.mark.parametrize("damaged", [False, True])
def test_a_promotion_that_expects_another_version_there_leaves_the_alias(tmp_path: Path, damaged: bool) -> None:
    store, registry, (first, second, third), bodies = three(tmp_path)
    if damaged:
        store.objects["models/fruit/aliases/production.json"] = b"{"
    for other in (first, third, second if damaged else None):
        with pytest.raises(AliasConflict):
            registry.promote("fruit", third, alias="production", by="ann", reason="", expected=other)
    with pytest.raises(AliasConflict):
        registry.promote("fruit", third, alias="new", by="ann", reason="", expected=second)
    assert len(registry.history("fruit")) == 3
    registry.promote("fruit", third, alias="production", by="ann", reason="", expected=None if damaged else second)
    registry.promote("fruit", third, alias="new", by="ann", reason="", expected=None)
    assert (production(registry), registry.alias("fruit", "new").version) == (third, third)
    assert store.objects["models/fruit/aliases/production.json"] == bodies[2]


@pytest.mark.parametrize("at", [2, 3])
def test_a_rollback_leaves_what_somebody_else_moved_meanwhile(tmp_path: Path, at: int) -> None:
    store, registry, (_, _, third), bodies = three(tmp_path)
    store.at, store.body = at, bodies[2]
    with pytest.raises(AliasConflict):
        registry.rollback("fruit", alias="production", by="ann", reason="")
    assert production(registry) == third


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    first, second, third = (published(registry, tmp_path, body) for body in (b"1", b"2", b"3"))
    promote(registry, first)
    both_have_read, one_at_a_time = threading.Barrier(2), threading.Lock()

    class Racing(S3Store):
        def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
            if "/aliases/" in key:
                both_have_read.wait(timeout=10)
            with one_at_a_time:  # as in S3; moto looks at the condition, and writes later
                return super().put(key, body, if_etag=if_etag)

    results: dict[str, object] = {}

    def run(version: str) -> None:
        try:
            results[version] = Registry(Racing(s3, BUCKET)).promote("fruit", version, alias="production", by="ann", reason="")
        except AliasConflict as error:
            results[version] = error

    threads = [threading.Thread(target=run, args=(version,)) for version in (second, third)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [version for version, result in results.items() if not isinstance(result, AliasConflict)]
    assert len(results) == 2
    assert winners == [production(registry)]


@pytest.mark.parametrize("where", ["/aliases/", "/history/"])
def test_a_promotion_whose_answer_was_lost_is_no_conflict_with_itself(s3: S3Client, registry: Registry, tmp_path: Path, where: str) -> None:
    first, second = published(registry, tmp_path, b"1"), published(registry, tmp_path, b"2")
    for version in (first, second):
        promote(Registry(Forgetful(s3, where=where)), version)
    assert production(registry) == second
    assert [event.to_version for event in registry.history("fruit")] == [first, second]


def test_publishing_whose_answers_were_lost_leaves_one_version(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    version = published(Registry(Forgetful(s3, where="/manifest.json")), tmp_path)
    assert registry.versions("fruit") == [version]


def test_the_history_tells_who_moved_what_and_why(registry: Registry, tmp_path: Path) -> None:
    first, second = published(registry, tmp_path, b"1"), published(registry, tmp_path, b"2")
    promote(registry, first)
    promote(registry, second)
    registry.rollback("fruit", alias="production", by="bob", reason="worse")
    told = [(event.event, event.from_version, event.to_version, event.by, event.reason) for event in registry.history("fruit")]
    assert told == [
        ("promote", None, first, "ann", "because"),
        ("promote", first, second, "ann", "because"),
        ("rollback", second, first, "bob", "worse"),
    ]


def rollback(registry: Registry) -> str:
    """What it names now, as was foretold."""
    with suppress(RegistryError):
        foretold = registry.before("fruit", alias="production")
        assert registry.rollback("fruit", alias="production", by="ann", reason="").version == foretold
        return foretold
    return registry.rollback("fruit", alias="production", by="ann", reason="").version


def test_rollback_to_what_was_looked_at_meets_no_move_in_between(registry: Registry, tmp_path: Path) -> None:
    first, second, third = (published(registry, tmp_path, body) for body in (b"1", b"2", b"3"))
    for version in (first, second):
        promote(registry, version)
    promote(registry, third)
    with pytest.raises(AliasConflict):
        registry.rollback("fruit", alias="production", by="bob", reason="", to=first)
    assert registry.alias("fruit", "production").version == third
    assert registry.rollback("fruit", alias="production", by="bob", reason="", to=second).version == second


def test_rollback_twice_walks_back_and_does_not_return(registry: Registry, tmp_path: Path) -> None:
    first, second, third = (published(registry, tmp_path, body) for body in (b"1", b"2", b"3"))
    for version in (first, second, third):
        promote(registry, version)
    assert [rollback(registry), rollback(registry)] == [second, first]
    with pytest.raises(RegistryError, match="named no version before"):
        rollback(registry)
    assert production(registry) == first


def test_a_promotion_after_a_rollback_rolls_back_to_what_it_replaced(registry: Registry, tmp_path: Path) -> None:
    first, second, third = (published(registry, tmp_path, body) for body in (b"1", b"2", b"3"))
    promote(registry, first)
    promote(registry, second)
    rollback(registry)
    promote(registry, third)
    assert rollback(registry) == first


def test_rollback_passes_over_a_version_that_was_pruned(registry: Registry, tmp_path: Path) -> None:
    first, second, third = (published(registry, tmp_path, body) for body in (b"1", b"2", b"3"))
    for version in (first, second, third):
        promote(registry, version)
    promote(registry, first, alias="keep")
    assert registry.prune("fruit", keep=1, by="ann") == [second]
    assert rollback(registry) == first


def test_rollback_of_one_alias_ignores_the_moves_of_another(registry: Registry, tmp_path: Path) -> None:
    first, second = published(registry, tmp_path, b"1"), published(registry, tmp_path, b"2")
    promote(registry, first)
    promote(registry, second, alias="staging")
    promote(registry, second)
    promote(registry, first, alias="staging")
    assert rollback(registry) == first


def test_rollback_of_an_alias_that_was_never_set_is_refused(registry: Registry, tmp_path: Path) -> None:
    published(registry, tmp_path)
    with pytest.raises(AliasNotFound, match="modelctl promote fruit"):
        rollback(registry)


def damage(store: S3Store, body: bytes | None = None, *, alias: str = "production", **changes: object) -> bytes:
    """Puts `body` in the place of an alias, or the alias with `changes` to it or to its file."""
    key = f"models/fruit/aliases/{alias}.json"
    found = store.get(key)
    assert found is not None
    document = json.loads(found.body)
    for name, value in changes.items():
        (document["model"] if name in document["model"] else document)[name] = value
    body = body or json.dumps(document).encode()
    store.put(key, body, if_etag=found.etag)
    return body


UNREADABLE: dict[str, dict[str, object]] = {
    "no JSON": {"body": b"{"},
    "a copy of another alias": {"alias_": "candidate"},
    "another model": {"name": "other"},
    "another model's file": {"path": "models/other/versions/v/model.onnx"},
    "a file of no name": {"path": 5},
    "a version of no such name": {"version": "v", "path": "models/fruit/versions/v/model.onnx"},
    "no digest": {"manifest_sha256": None},
}
ALTERED: dict[str, dict[str, object]] = {
    "SHA-256 of the model": {"sha256": "0" * 64},
    "VersionId": {"version_id": "77"},
    "digest of the manifest": {"manifest_sha256": "0" * 64},
    "size": {"size": 1},
}


def spoil(store: S3Store, how: dict[str, object]) -> None:
    changes = {name.rstrip("_"): value for name, value in how.items()}
    if "alias" in changes:
        damage(store, json.dumps(json.loads(damage(store)) | {"alias": changes["alias"]}).encode())
    else:
        damage(store, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("how", UNREADABLE.values(), ids=UNREADABLE)
def test_promoting_writes_over_an_alias_that_cannot_be_read(
    registry: Registry, store: S3Store, tmp_path: Path, how: dict[str, object]
) -> None:
    version = published(registry, tmp_path)
    promote(registry, version)
    spoil(store, how)
    assert registry.aliases("fruit") == {}
    assert "run: modelctl promote fruit VERSION --alias production" in str(registry.damaged("fruit")["production"])

    promote(registry, version)

    assert registry.damaged("fruit") == {}
    assert production(registry) == version
    assert [event.from_version for event in registry.history("fruit")] == [None, None]


@pytest.mark.parametrize("how", ALTERED.values(), ids=ALTERED)
def test_an_alias_with_other_values_than_its_promotion_wrote_is_damaged(
    registry: Registry, store: S3Store, tmp_path: Path, how: dict[str, object]
) -> None:
    version = published(registry, tmp_path)
    promote(registry, version)
    assert registry.damaged("fruit") == {}
    spoil(store, how)
    assert "run: modelctl promote fruit VERSION --alias production" in str(registry.damaged("fruit")["production"])
    promote(registry, version)
    assert registry.damaged("fruit") == {}


def test_an_alias_of_a_version_that_is_gone_is_damaged(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path)
    promote(registry, version)
    s3.delete_object(Bucket=BUCKET, Key=f"models/fruit/versions/{version}/manifest.json")
    assert "found a version that is not there" in str(registry.damaged("fruit")["production"])


def test_an_alias_of_a_newer_release_is_told_and_never_written_over(registry: Registry, store: S3Store, tmp_path: Path) -> None:
    version = published(registry, tmp_path)
    promote(registry, version)
    newer = damage(store, schema=99)
    for move in (lambda: promote(registry, version), lambda: rollback(registry), lambda: registry.prune("fruit", keep=1, by="ann")):
        with pytest.raises(RegistryError, match=r"schema 99.*deploy a newer release"):
            move()
    assert "schema 99" in str(registry.damaged("fruit")["production"])
    found = store.get("models/fruit/aliases/production.json")
    assert found is not None
    assert found.body == newer


def test_rollback_of_an_alias_that_cannot_be_read_goes_back_from_what_the_history_says(
    registry: Registry, store: S3Store, tmp_path: Path
) -> None:
    first, second, third = (published(registry, tmp_path, body) for body in (b"1", b"2", b"3"))
    for version in (first, second, third):
        promote(registry, version)
    damage(store, b"{")
    assert rollback(registry) == second
    assert registry.history("fruit")[-1].from_version is None
    assert rollback(registry) == first


def test_prune_deletes_nothing_while_an_alias_cannot_be_read(registry: Registry, store: S3Store, tmp_path: Path) -> None:
    versions = [published(registry, tmp_path, bytes([number])) for number in range(3)]
    promote(registry, versions[0])
    promote(registry, versions[1], alias="staging")
    damage(store, b"{", alias="staging")
    with pytest.raises(UnverifiedModel, match="run: modelctl promote fruit VERSION --alias staging"):
        registry.prune("fruit", keep=1, by="ann")
    assert registry.versions("fruit") == versions


def test_what_is_no_alias_and_no_version_by_its_name_is_passed_over(registry: Registry, store: S3Store, tmp_path: Path) -> None:
    version = published(registry, tmp_path, b"1")
    promote(registry, version)
    for key in ("aliases/UP.json", "aliases/a/b.json", "aliases/note.txt", "versions/zzz/manifest.json"):
        store.put(f"models/fruit/{key}", b"{")
    assert list(registry.aliases("fruit")) == ["production"]
    assert registry.damaged("fruit") == {}
    assert registry.versions("fruit") == [version]
    assert published(registry, tmp_path, b"2") > version


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(st.integers(0, 3), min_size=1, max_size=8))
def test_as_many_rollbacks_as_promotions_lead_to_the_first_version(tmp_path: Path, moves: list[int]) -> None:
    """Whatever was promoted in whatever order, rolling back retraces it, and ends."""
    ticks = iter(range(1_795_000_000, 1_796_000_000))
    registry = Registry(MemoryStore(), clock=lambda: next(ticks))
    versions = [published(registry, tmp_path, bytes([number])) for number in range(4)]
    for move in moves:
        promote(registry, versions[move])
    expected = [versions[move] for place, move in enumerate(moves) if place == 0 or moves[place - 1] != move]
    walked = [production(registry)]
    while len(walked) < len(expected):
        walked.append(rollback(registry))
    assert walked == expected[::-1]
    with pytest.raises(RegistryError):
        rollback(registry)


def test_prune_keeps_the_newest_and_everything_that_an_alias_names(registry: Registry, tmp_path: Path) -> None:
    versions = [published(registry, tmp_path, bytes([number])) for number in range(5)]
    promote(registry, versions[0])
    promote(registry, versions[1], alias="staging")
    assert registry.prune("fruit", keep=2, by="ann") == [versions[2]]
    assert registry.versions("fruit") == [versions[0], versions[1], versions[3], versions[4]]


def test_prune_spares_a_version_that_is_promoted_while_it_runs(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    versions = [published(registry, tmp_path, bytes([number])) for number in range(3)]

    class PromotedMeanwhile(S3Store):
        def delete(self, keys: object) -> None:
            if "production" not in registry.aliases("fruit"):
                promote(registry, versions[1])
            super().delete(keys)  # type: ignore[arg-type]

    assert Registry(PromotedMeanwhile(s3, BUCKET)).prune("fruit", keep=1, by="ann") == [versions[0]]
    assert versions[1] in registry.versions("fruit")


def test_prune_leaves_no_object_of_what_it_deletes(store: S3Store, registry: Registry, tmp_path: Path) -> None:
    old = published(registry, tmp_path, b"1")
    published(registry, tmp_path, b"2")
    registry.prune("fruit", keep=1, by="ann")
    assert not [key for key in store.list("models/fruit/") if old in key]


def interrupted(s3: S3Client, folder: Path, *, at: float) -> str:
    """The version that an upload would have had; its model was stored, its manifest was not."""
    with pytest.raises(Interrupted):
        Registry(Breaking(s3, at=2), clock=lambda: at).publish(draft(), {MODEL_FILE: model_file(folder, b"half")})
    (key,) = [key for key in S3Store(s3, BUCKET).list("models/fruit/versions/") if hashlib.sha256(b"half").hexdigest()[:8] in key]
    return key.split("/")[3]


@pytest.mark.parametrize(("age", "left"), [(86_399.0, 1), (86_401.0, 0)], ids=["younger than a day", "older than a day"])
def test_prune_collects_an_interrupted_upload_once_it_is_a_day_old(
    s3: S3Client, store: S3Store, tmp_path: Path, age: float, left: int
) -> None:
    half = interrupted(s3, tmp_path, at=1_795_000_000.0)
    registry = Registry(store, clock=lambda: 1_795_000_000.0 + age)
    version = published(registry, tmp_path)
    assert registry.prune("fruit", keep=1, by="ann") == []
    assert len([key for key in store.list("models/fruit/versions/") if half in key]) == left
    assert registry.versions("fruit") == [version]
    assert registry.manifest("fruit", version)


def test_prune_finishes_what_an_interrupted_prune_began(s3: S3Client, store: S3Store, tmp_path: Path) -> None:
    begun = Registry(store, clock=lambda: 1_795_000_000.0)
    old, kept = published(begun, tmp_path, b"1"), published(begun, tmp_path, b"2")
    s3.delete_object(Bucket=BUCKET, Key=f"models/fruit/versions/{old}/manifest.json")
    Registry(store, clock=lambda: 1_795_100_000.0).prune("fruit", keep=1, by="ann")
    assert {key.split("/")[3] for key in store.list("models/fruit/versions/")} == {kept}


def test_prune_spares_what_an_alias_names_even_without_its_manifest(s3: S3Client, store: S3Store, tmp_path: Path) -> None:
    registry = Registry(store, clock=lambda: 1_795_000_000.0)
    version = published(registry, tmp_path)
    promote(registry, version)
    s3.delete_object(Bucket=BUCKET, Key=f"models/fruit/versions/{version}/manifest.json")
    Registry(store, clock=lambda: 1_795_100_000.0).prune("fruit", keep=1, by="ann")
    assert store.list("models/fruit/versions/") == [f"models/fruit/versions/{version}/model.onnx"]


def test_a_copy_holds_the_same_bytes_and_metadata(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="prod-store")
    prod = Registry(S3Store(s3, "prod-store"))
    version = registry.publish(draft(labels=("a", "b")), {MODEL_FILE: model_file(tmp_path, b"model")}).version
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    copied = registry.copy("fruit", version, to=prod, scratch=scratch)
    assert copied.model_file.sha256 == registry.manifest("fruit", version).model_file.sha256
    assert prod.manifest("fruit", copied.version).labels == ("a", "b")


def test_a_copy_of_altered_bytes_is_refused(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, b"model")
    manifest_key = f"models/fruit/versions/{version}/manifest.json"
    body = s3.get_object(Bucket=BUCKET, Key=manifest_key)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=manifest_key, Body=body.replace(b'"size": 5', b'"size": 4'))
    with pytest.raises(UnverifiedModel):
        registry.copy("fruit", version, to=registry, scratch=tmp_path)


def test_a_newer_schema_is_refused_by_name(s3: S3Client, registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path)
    key = f"models/fruit/versions/{version}/manifest.json"
    body = s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=key, Body=body.replace(b'"schema": 1', b'"schema": 99'))
    with pytest.raises(RegistryError, match="schema 99"):
        registry.manifest("fruit", version)


def test_a_missing_bucket_is_the_stores_failure_and_not_a_missing_version(s3: S3Client) -> None:
    with pytest.raises(StoreUnavailable, match="NoSuchBucket"):
        Registry(S3Store(s3, "elsewhere")).versions("fruit")


def test_a_publisher_gives_up_when_every_name_is_taken(s3: S3Client, tmp_path: Path) -> None:
    class Full(S3Store):
        def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
            raise PreconditionFailed(key)

    with pytest.raises(RegistryError, match="being published by somebody else"):
        published(Registry(Full(s3, BUCKET)), tmp_path)


def test_what_a_version_does_not_know_of_its_rows_is_not_written() -> None:
    """A release from before anybody looked refuses a field that it doesn't know."""
    assert b"row_wise" not in draft().to_json()
    for row_wise in (True, False):
        known = replace(draft(), row_wise=row_wise)
        assert Manifest.from_json(known.to_json(), what="it") == known
        assert not known.holds(draft())
