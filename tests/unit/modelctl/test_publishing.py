"""Publishing goes on where it was interrupted, and two who publish the same get one version."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from types_boto3_s3.client import S3Client

from modelserve.errors import ObjectNotFound, PreconditionFailed, UnverifiedModel
from modelserve.manifest import MODEL_FILE, GateResult, Lineage, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tests.unit.modelctl.conftest import BUCKET
from tests.unit.modelctl.factories import draft, model_file
from tests.unit.modelserve.stores import MemoryStore
from tools.modelctl.s3 import S3Store

T0 = 1_795_000_000.0
HALF_A_DAY = 43_200
MIB = 2**20
SHA256 = hashlib.sha256(b"model").hexdigest()


class Interrupted(BaseException):
    """As Ctrl-C, or the end of the process."""


class Signature:
    """Deterministic, as KMS's is for RSASSA-PKCS1-v1_5."""

    def sign(self, sha256: str) -> str:
        return f"signed {sha256}"

    def signed(self, sha256: str, signature: str) -> bool:
        return signature == self.sign(sha256)


class Watched(MemoryStore):
    """Calls `before` and `after` with the number of each write, from 1, and counts the bodies that were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[int], object] = lambda _: None
        self.after: Callable[[int], object] = lambda _: None
        self.writes: list[str] = []

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        self.writes.append(key)
        number = len(self.writes)
        self.before(number)
        version = super().put(key, body, if_etag=if_etag)
        self.after(number)
        return version


def files(folder: Path, model: bytes = b"model", report: bytes = b"report") -> dict[str, Path]:
    return {MODEL_FILE: model_file(folder, model), "report.json": model_file(folder, report)}


def registry_of(store: Any, *, at: float = T0, signer: Signature | None = None) -> Registry:
    return Registry(store, signer=signer, clock=lambda: at)


def breaking(at: int) -> Callable[[int], None]:
    def interrupt(number: int) -> None:
        if number == at:
            raise Interrupted

    return interrupt


def whole(registry: Registry, folder: Path) -> None:
    """Every visible version holds the bytes that its manifest names, at the VersionIds that it names."""
    for version in registry.versions("fruit"):
        registry.download("fruit", version, to=folder)


@pytest.mark.parametrize(
    ("signer", "at", "visible"),
    [(None, 1, False), (None, 2, False), (None, 3, True)] + [(Signature(), at, at == 4) for at in (1, 2, 3, 4)],
)
def test_publishing_goes_on_where_it_was_interrupted(tmp_path: Path, signer: Signature | None, at: int, visible: bool) -> None:
    """After whichever write it ended: the same version, and nothing that is there already is sent again."""
    store = Watched()
    store.after = breaking(at)
    with pytest.raises(Interrupted):
        registry_of(store, signer=signer).publish(draft(), files(tmp_path))
    store.after = lambda _: None
    begun = store.writes[0].split("/")[3]
    assert registry_of(store).versions("fruit") == ([begun] if visible else [])
    there = set(store.objects)
    store.writes.clear()

    later = registry_of(store, at=T0 + HALF_A_DAY - 1, signer=signer)
    assert later.publish(draft(), files(tmp_path)).version == begun

    assert later.versions("fruit") == [begun]
    assert not there.intersection(key for key in store.writes if not key.endswith(".sig"))
    whole(later, tmp_path)


@pytest.mark.parametrize("signer", [None, Signature()], ids=["unsigned", "signed"])
@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("seconds", [0, 1])
def test_two_who_publish_the_same_get_one_version(tmp_path: Path, at: int, seconds: int, signer: Signature | None) -> None:
    """The second begins and ends before any of the first one's writes."""
    store, second = Watched(), []

    def meanwhile(number: int) -> None:
        if number == at:
            second.append(registry_of(store, at=T0 + seconds, signer=signer).publish(draft(), files(tmp_path)))

    store.before = meanwhile
    first = registry_of(store, signer=signer).publish(draft(), files(tmp_path))
    assert [first] == second
    assert registry_of(store).versions("fruit") == [first.version]
    whole(registry_of(store, signer=signer), tmp_path)


def test_two_whose_reports_differ_get_one_version_too(tmp_path: Path) -> None:
    """Two machines that trained the same model measured other times; the model served is the same."""
    store, second = Watched(), []

    def meanwhile(number: int) -> None:
        if number == 2:
            second.append(registry_of(store).publish(draft(), files(tmp_path, report=b"other")))

    store.before = meanwhile
    first = registry_of(store).publish(draft(), files(tmp_path))
    assert [first] == second
    assert registry_of(store).versions("fruit") == [first.version]


@pytest.mark.parametrize("file", [MODEL_FILE, "report.json"])
def test_other_bytes_in_the_place_of_a_file_make_another_version_and_stay(tmp_path: Path, file: str) -> None:
    store = Watched()
    store.after = breaking(2)
    with pytest.raises(Interrupted):
        registry_of(store).publish(draft(), files(tmp_path))
    store.after = lambda _: None
    (key,) = [key for key in store.objects if key.endswith(file)]
    foreign = bytes(reversed(store.objects[key][0]))  # as many
    store.objects[key] = [foreign]

    published = registry_of(store).publish(draft(), files(tmp_path))

    assert published.version != key.split("/")[3]
    assert store.objects[key] == [foreign]
    whole(registry_of(store), tmp_path)


def test_a_planted_signature_is_left_alone_and_its_version_not_taken_up(tmp_path: Path) -> None:
    store = Watched()
    store.after = breaking(2)
    with pytest.raises(Interrupted):
        registry_of(store).publish(draft(), files(tmp_path))
    store.after = lambda _: None
    planted = store.writes[0].replace(MODEL_FILE, "manifest.sig")
    store.objects[planted] = [b"theirs"]
    published = registry_of(store, signer=Signature()).publish(draft(), files(tmp_path))
    assert published.version not in planted
    assert store.objects[planted] == [b"theirs"]


@pytest.mark.parametrize(
    ("begun", "why"),
    [
        (T0 - HALF_A_DAY, "prune may be about to delete it"),
        (T0 - 60, "a newer version is visible, and what is published later sorts later"),
        (T0 + 3600, "nobody publishes in the future"),
    ],
    ids=["old", "overtaken", "ahead"],
)
def test_an_upload_that_cannot_be_taken_up_is_left_and_another_made(tmp_path: Path, begun: float, why: str) -> None:
    store = Watched()
    store.after = breaking(1)
    with pytest.raises(Interrupted):
        registry_of(store, at=begun).publish(draft(), files(tmp_path))
    store.after = lambda _: None
    left = store.writes[0].split("/")[3]
    if why.startswith("a newer"):
        registry_of(store, at=T0 - 30).publish(draft(), files(tmp_path, model=b"newer"))
    published = registry_of(store).publish(draft(), files(tmp_path))
    assert published.version != left, why
    assert published.version == registry_of(store).versions("fruit")[-1]


def test_a_version_is_created_at_the_second_that_it_is_named_after(tmp_path: Path) -> None:
    """So that a manifest written again after an interruption is the same, and so is its signature."""
    published = registry_of(MemoryStore()).publish(draft(), files(tmp_path))
    digits = "".join(filter(str.isdigit, published.created))
    assert published.version.startswith(f"{digits[:8]}T{digits[8:]}Z-")


def test_ctrl_c_in_a_part_keeps_the_files_that_were_done(s3: S3Client, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(bytes(11 * MIB))
    sent: list[int] = []

    def interrupt(size: int) -> None:
        sent.append(size)
        if len(sent) == 3:  # the small file, a part, and in the second
            raise KeyboardInterrupt

    some = {MODEL_FILE: model_file(tmp_path, b"model"), "model.tar.gz": large}
    with pytest.raises(KeyboardInterrupt):
        Registry(S3Store(s3, BUCKET, progress=interrupt, part_size=5 * MIB)).publish(draft(), some)
    (begun,) = S3Store(s3, BUCKET).list("models/fruit/versions/")
    assert s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
    before = s3.head_object(Bucket=BUCKET, Key=begun)["VersionId"]

    registry = Registry(S3Store(s3, BUCKET, part_size=5 * MIB))
    published = registry.publish(draft(), some)

    assert published.version == begun.split("/")[3]
    assert published.model_file.version_id == before
    assert len(s3.list_object_versions(Bucket=BUCKET, Prefix=begun)["Versions"]) == 1
    registry.download("fruit", published.version, to=tmp_path)


def test_bytes_are_proved_by_the_sha_256_that_s3_keeps(
    s3: S3Client, store: S3Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = store.put("a", model_file(tmp_path, b"model"))
    monkeypatch.setattr(s3, "get_object", lambda **_: pytest.fail("nothing has to be read"))
    assert store.verify("a", size=5, sha256=SHA256) == version


@pytest.mark.parametrize("body", [b"model", b"other", b"longer than it"])
def test_bytes_that_s3_keeps_no_sha_256_of_are_read(s3: S3Client, store: S3Store, body: bytes) -> None:
    version = s3.put_object(Bucket=BUCKET, Key="a", Body=body)["VersionId"]
    if body == b"model":
        assert store.verify("a", size=5, sha256=SHA256) == version
    else:
        with pytest.raises(UnverifiedModel, match=SHA256):
            store.verify("a", size=5, sha256=SHA256)


def test_nothing_is_not_verified(store: S3Store) -> None:
    with pytest.raises(ObjectNotFound):
        store.verify("a", size=5, sha256=SHA256)


def test_progress_tells_of_what_was_there_too(s3: S3Client, tmp_path: Path) -> None:
    store = S3Store(s3, BUCKET)
    store.put("a", model_file(tmp_path, b"model"))
    moved: list[int] = []
    S3Store(s3, BUCKET, progress=moved.append).verify("a", size=5, sha256=SHA256)
    assert sum(moved) == 5


def judged(metrics: tuple[str, ...] = (), gates: tuple[str, ...] = (), forced: str | None = None, *, value: float = 0.9) -> Manifest:
    results = tuple(GateResult(gate=gate, value=value, passed=forced is None) for gate in gates)
    return replace(draft(), metrics=dict.fromkeys(metrics, value), gates=results, lineage=Lineage(framework="x", forced=forced))


BETTER = {
    "scored": (judged(), judged(("f1",))),
    "scored, where an older release wrote no lineage": (draft(), judged(("f1",))),
    "with a gate": (judged(("f1",)), judged(("f1",), ("f1 >= 0.8",))),
    "with one gate more": (judged(("f1",), ("f1 >= 0.8",)), judged(("f1",), ("f1 >= 0.8", "f1 >= production"))),
    "by another bound": (judged(("f1",), ("f1 >= 0.9",)), judged(("f1",), ("f1 >= 0.8",))),
    "not forced": (judged(("f1",), ("f1 >= 0.8",), "a demo"), judged(("f1",), ("f1 >= 0.8",))),
}


@pytest.mark.parametrize("signer", [None, Signature()], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("worse", "better"), BETTER.values(), ids=BETTER)
def test_what_is_judged_better_is_another_version_of_the_same_bytes(
    tmp_path: Path, worse: Manifest, better: Manifest, signer: Signature | None
) -> None:
    """Or it could never be promoted: nothing of a version changes."""
    registry, files = registry_of(MemoryStore(), signer=signer), {MODEL_FILE: model_file(tmp_path, b"model")}
    first, second = (registry.publish(each, files) for each in (worse, better))
    assert registry.versions("fruit") == [first.version, second.version]
    found = registry.manifest("fruit", second.version)
    assert (found.metrics, found.gates, found.lineage) == (better.metrics, better.gates, better.lineage)
    assert registry.promote("fruit", second.version, alias="production", by="ann", reason="").version == second.version


@pytest.mark.parametrize(("worse", "better"), BETTER.values(), ids=BETTER)
def test_what_is_judged_worse_or_otherwise_is_the_version_that_is_there(tmp_path: Path, worse: Manifest, better: Manifest) -> None:
    registry, files = registry_of(MemoryStore()), {MODEL_FILE: model_file(tmp_path, b"model")}
    first = registry.publish(better, files)
    other = replace(better, metrics=dict.fromkeys(better.metrics, 0.5), description="as before", lineage=None)
    dropped = replace(worse, gates=better.gates[:1])
    assert {registry.publish(each, files).version for each in (better, other, dropped)} == {first.version}


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("signer", [None, Signature()], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("worse", "better"), BETTER.values(), ids=BETTER)
def test_of_two_publishers_at_once_the_one_judged_better_gets_a_version_with_its_judgement(
    tmp_path: Path, worse: Manifest, better: Manifest, signer: Signature | None, at: int
) -> None:
    """Whichever comes in the other's way: with the same files in the same second, only the manifests conflict."""
    some = {MODEL_FILE: model_file(tmp_path, b"model")}
    for mine, theirs in ((worse, better), (better, worse)):
        store = Watched()

        def meanwhile(number: int, store: Watched = store, theirs: Manifest = theirs) -> None:
            if number == at:
                registry_of(store, signer=signer).publish(theirs, some)

        store.before = meanwhile
        found = registry_of(store, signer=signer).publish(mine, some)
        store.before = lambda _: None
        assert found.holds(replace(mine, files=found.files))
        assert registry_of(store, signer=signer).publish(better, some).metrics == better.metrics
        assert 1 <= len(registry_of(store).versions("fruit")) <= 2


JUDGED = st.builds(
    judged,
    st.sampled_from([(), ("f1",), ("f1", "roc_auc")]),
    st.sampled_from([(), ("f1 >= 0.8",), ("f1 >= 0.9",), ("f1 >= 0.8", "f1 >= 0.9")]),
    st.sampled_from([None, "a demo", "no data"]),
    value=st.floats(0, 1),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(JUDGED, min_size=1, max_size=8))
def test_publishing_a_second_time_adds_no_version_whatever_was_published_between(tmp_path: Path, drafts: list[Manifest]) -> None:
    """So that `make run`, and a job that publishes each night, fill no store; and what is answered is never judged less."""
    registry, files = registry_of(MemoryStore()), {MODEL_FILE: model_file(tmp_path, b"model")}
    for each in drafts:
        found = registry.publish(each, files)
        assert found.holds(replace(each, files=found.files))
    there = registry.versions("fruit")
    for each in drafts:
        registry.publish(each, files)
    assert registry.versions("fruit") == there


class Publishing(RuleBasedStateMachine):
    """Publishers of a few models with a few reports, who end at any write, at any time, and somebody who puts objects in the way."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Watched()
        self.folder = tempfile.TemporaryDirectory()
        self.now = T0
        self.told: dict[tuple[str, tuple[str, ...]], str] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(
        model=st.sampled_from([b"1", b"2"]),
        report=st.sampled_from([b"r", b"s"]),
        metrics=st.sampled_from([(), ("f1",)]),
        ends=st.integers(1, 6),
        signed=st.booleans(),
    )
    def publish(self, model: bytes, report: bytes, metrics: tuple[str, ...], ends: int, signed: bool) -> None:
        self.store.writes.clear()
        self.store.after = breaking(ends)
        registry = registry_of(self.store, at=self.now, signer=Signature() if signed else None)
        before = registry.versions("fruit")
        try:
            published = registry.publish(judged(metrics), files(Path(self.folder.name), model, report))
        except Interrupted:
            return
        assert published.version in registry.versions("fruit")
        assert published.version in before or published.version >= max(before, default="")
        if not signed:  # with a signature the same content may be published once more, next to one that can't be signed
            content = published.model_file.sha256, metrics
            assert self.told.setdefault(content, published.version) <= published.version

    @rule(seconds=st.sampled_from([1, 60, HALF_A_DAY]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(choice=st.integers(0, 20))
    def a_foreign_object_comes_in_the_way(self, choice: int) -> None:
        """Only of what is not visible: a version's objects are written once."""
        visible = registry_of(self.store).versions("fruit")
        begun = sorted({key.rpartition("/")[0] for key in self.store.objects if key.split("/")[3] not in visible})
        if begun:
            self.store.objects.setdefault(f"{begun[choice % len(begun)]}/report.json", [b"foreign"])

    @invariant()
    def what_is_visible_is_whole(self) -> None:
        with tempfile.TemporaryDirectory() as into:
            whole(registry_of(self.store), Path(into))

    @invariant()
    def no_unsigned_content_is_visible_twice(self) -> None:
        registry = registry_of(self.store)
        signed = {key.split("/")[3] for key in self.store.objects if key.endswith(".sig")}
        plain: list[Manifest] = [registry.manifest("fruit", version) for version in registry.versions("fruit") if version not in signed]
        assert len({(manifest.model_file.sha256, bool(manifest.metrics)) for manifest in plain}) == len(plain)


TestPublishing = Publishing.TestCase
TestPublishing.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)


def test_of_two_versions_that_hold_a_model_the_newer_is_told(tmp_path: Path) -> None:
    """A scored version holds what is published unscored: whoever publishes that again is not sent back to the older one."""
    store = Watched()
    plain, scored = (registry_of(store, at=T0 + at).publish(judged(metrics), files(tmp_path)) for at, metrics in ((0, ()), (1, ("f1",))))
    assert plain.version < scored.version
    assert registry_of(store, at=T0 + 2).publish(judged(()), files(tmp_path)).version == scored.version


def test_a_publisher_is_told_when_no_name_is_free(tmp_path: Path) -> None:
    store = Watched()

    def refuse(_: int) -> None:
        raise PreconditionFailed("key")

    store.before = refuse
    with pytest.raises(Exception, match="being published by somebody else"):
        registry_of(store).publish(replace(draft(), description="x"), files(tmp_path))
