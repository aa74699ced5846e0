"""What speaks against an alias for a version: its gates as they are now, and those against what production is now."""

from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from models.config import ModelConfigError
from modelserve.manifest import MODEL_FILE, GateResult, Lineage, Manifest
from modelserve.record import replace
from modelserve.registry import Registry
from tests.unit.modelctl.factories import MemoryStore, draft, model_file
from tools.modelctl import paths
from tools.modelctl.promotion import judge


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def registry(store: MemoryStore) -> Registry:
    return Registry(store)


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository without models: what counts are the gates that a version was published with."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    return tmp_path / "models"


def gated(models: Path, *gates: str) -> None:
    """Gates of model.toml as they are now."""
    (models / "fruit").mkdir(parents=True, exist_ok=True)
    (models / "fruit" / "model.toml").write_text(f'task = "classification"\ngates = {list(gates)!r}\n', "utf-8")


def published(
    registry: Registry,
    folder: Path,
    metrics: Mapping[str, float],
    *,
    gates: Mapping[str, float] | None = None,
    held_out: str | None = "same",
    recall: float | None = None,
    forced: str | None = None,
) -> Manifest:
    """A version with these metrics, and of the class `apple` this recall in its report."""
    content = orjson.dumps([metrics, held_out, recall])
    files = {MODEL_FILE: model_file(folder, content[:40])}
    if held_out:
        report = {"data": {"held_out_sha256": held_out}, "per_class": [{"name": "apple", "recall": recall}] if recall else []}
        files[paths.REPORT_FILE] = folder / paths.REPORT_FILE
        files[paths.REPORT_FILE].write_bytes(orjson.dumps({"evaluation": report}))
    results = tuple(GateResult(gate=gate, value=value, passed=True) for gate, value in (gates or {}).items())
    lineage = Lineage(framework="scikit-learn", forced=forced)
    return registry.publish(replace(draft(), metrics=metrics, gates=results, lineage=lineage), files)


def promoted(registry: Registry, manifest: Manifest) -> None:
    registry.promote("fruit", manifest.version, alias="production", by="me", reason="")


def test_a_version_whose_gates_hold_may_be_promoted(registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, {"f1": 0.95}, gates={"f1 >= 0.9": 0.95, "f1 >= production - 0.01": 0.95})
    assert judge(registry, version).failures == ()


def test_gates_of_model_toml_go_before_those_of_the_version(registry: Registry, tmp_path: Path, models: Path) -> None:
    version = published(registry, tmp_path, {"f1": 0.95}, gates={"f1 >= 0.9": 0.95})
    gated(models, "f1 >= 0.97")
    (failure,) = judge(registry, version).failures
    assert failure == 'the gate "f1 >= 0.97" doesn\'t hold: f1 is 0.95, and at least 0.97 is needed'
    gated(models)
    assert judge(registry, version).failures == ()


def test_a_broken_model_toml_is_told_as_everywhere(registry: Registry, tmp_path: Path, models: Path) -> None:
    gated(models, "f1 = 3")
    with pytest.raises(ModelConfigError):
        judge(registry, published(registry, tmp_path, {"f1": 0.95}))


def test_a_version_is_held_against_what_production_is_at_that_moment(registry: Registry, tmp_path: Path, models: Path) -> None:
    gated(models, "f1 >= production - 0.01")
    weak, strong = (published(registry, tmp_path, {"f1": f1}) for f1 in (0.90, 0.95))
    assert judge(registry, weak).failures == ()  # nothing is in production
    promoted(registry, strong)
    (failure,) = judge(registry, weak).failures
    assert f"f1 is 0.9, and at least 0.94 is needed (production, {strong.version}, has 0.95)" in failure
    assert judge(registry, strong).failures == ()
    promoted(registry, weak)
    assert judge(registry, strong).failures == ()


def test_less_is_better_of_errors(registry: Registry, tmp_path: Path) -> None:
    good, bad = (published(registry, tmp_path, {"mae": mae}, gates={"mae <= production + 1": mae}) for mae in (4.0, 5.5))
    promoted(registry, good)
    assert "mae is 5.5, and at most 5 is needed" in judge(registry, bad).failures[0]


@pytest.mark.parametrize(
    ("held_out", "note"), [("same", None), ("other", "was judged on other"), (None, "may have been judged on other")], ids=str
)
def test_other_held_out_rows_are_noted(registry: Registry, tmp_path: Path, held_out: str | None, note: str | None) -> None:
    before = published(registry, tmp_path, {"f1": 0.91}, held_out=held_out)
    promoted(registry, before)
    judged = judge(registry, published(registry, tmp_path, {"f1": 0.95}, gates={"f1 >= production": 0.95}))
    assert judged.failures == ()
    assert [note in found for found in judged.notes] == [True] if note else judged.notes == ()


def test_a_class_is_looked_up_in_the_report(registry: Registry, tmp_path: Path, models: Path) -> None:
    gated(models, "recall[apple] >= production - 0.02")
    promoted(registry, published(registry, tmp_path, {"f1": 0.9}, recall=0.9))
    version = published(registry, tmp_path, {"f1": 0.9}, recall=0.87)
    assert "recall[apple] is 0.87, and at least 0.88 is needed" in judge(registry, version).failures[0]


@pytest.mark.parametrize("whose", ["version", "production"])
def test_a_metric_that_an_older_release_did_not_record_is_told(registry: Registry, tmp_path: Path, models: Path, whose: str) -> None:
    gated(models, "roc_auc >= production - 0.02")
    old = published(registry, tmp_path, {"f1": 0.9}, held_out=None)
    new = published(registry, tmp_path, {"f1": 0.91, "roc_auc": 0.95})
    promoted(registry, old if whose == "production" else new)
    (failure,) = judge(registry, new if whose == "production" else old).failures
    assert f"can't be held against {'production, ' if whose == 'production' else ''}{old.version}, which records no roc_auc" in failure
    assert "an older release published it" in failure


def test_a_version_that_was_forced_once_must_be_forced_again(registry: Registry, tmp_path: Path) -> None:
    (failure,) = judge(registry, published(registry, tmp_path, {"f1": 0.1}, forced="only a demo")).failures
    assert failure == "it did not pass when it was published, and was forced: only a demo"


@pytest.mark.parametrize("report", [b"", b"[]", b"{}", b'{"evaluation": 3}', b'{"evaluation": {"data": {}, "per_class": 7}}'])
def test_a_report_that_is_anything_is_none(registry: Registry, store: MemoryStore, tmp_path: Path, models: Path, report: bytes) -> None:
    gated(models, "recall[apple] >= 0.5", "f1 >= 0.5")
    version = published(registry, tmp_path, {"f1": 0.9}, recall=0.9)
    store.objects[f"models/fruit/versions/{version.version}/{paths.REPORT_FILE}"] = report
    (failure,) = judge(registry, version).failures
    assert "records no recall[apple]" in failure


def test_a_report_that_is_too_large_is_not_read(registry: Registry, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gated(models, "recall[apple] >= 0.5")
    version = published(registry, tmp_path, {"f1": 0.9}, recall=0.9)
    assert judge(registry, version).failures == ()
    monkeypatch.setattr("tools.modelctl.report.stored._MOST_BYTES", 10)
    assert "records no recall[apple]" in judge(registry, version).failures[0]


def test_a_gate_that_only_a_newer_release_can_read_holds_nothing_up_silently(registry: Registry, tmp_path: Path) -> None:
    version = published(registry, tmp_path, {"f1": 0.9}, gates={"f1 ~ staging": 0.9})
    assert "one of its gates can't be read" in judge(registry, version).failures[0]


GATED = ((0.95, "f1 >= production"), (0.9, "f1 >= production"), (0.8, "f1 >= 0.7"))


@pytest.mark.parametrize("what", ["aliases/production.json", "versions/{}/manifest.json"])
@pytest.mark.parametrize("damage", [b"{", b'{"schema": 99}', None], ids=["broken", "newer", "gone"])
def test_a_production_that_cannot_be_read_holds_up_what_is_gated_against_it(
    registry: Registry, store: MemoryStore, tmp_path: Path, what: str, damage: bytes | None
) -> None:
    """Whatever it was, this version may be worse; a person who knows it isn't repairs it with --force."""
    served, version, plain = (published(registry, tmp_path, {"f1": f1}, gates={gate: f1}) for f1, gate in GATED)
    promoted(registry, served)
    key = f"models/fruit/{what.format(served.version)}"
    if damage is None:
        del store.objects[key]
    else:
        store.objects[key] = damage
    assert judge(registry, plain).failures == ()
    if (what, damage) == ("aliases/production.json", None):  # nothing is in production
        assert judge(registry, version).failures == ()
        return
    (failure,) = judge(registry, version).failures
    assert failure.startswith("production can't be read, so that no gate can be held against it: ")
