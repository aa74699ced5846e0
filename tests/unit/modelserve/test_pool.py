"""Models by name in one process: which are kept, which answers, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelserve.aws import JsonService
from modelserve.errors import AliasNotFound, InvalidInput, ModelNotFound, ModelNotReady, VersionNotFound
from modelserve.fetch import LoadedModel
from modelserve.pool import Pool
from modelserve.s3 import S3Reader
from modelserve.settings import BatchSettings
from modelserve.tensors import Tensor

from .graphs import scaled
from .signers import ARN, LocalSigner
from .stores import MemoryStore, Publisher

NAMES = ("fruit", "sample", "tumour")


class Heard:
    """What an observer is told."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.counted: list[dict[str, float]] = []

    def log(self, level: str, message: str, *, location: str, **keys: Any) -> None:
        assert location == "pool"
        if message == "model loaded":
            self.loaded.append(keys["model"])

    def count(self, metrics: dict[str, float], *, model: str, version: str, by_service: bool = False) -> None:
        self.counted.append(metrics)


class World:
    """A store with a model of every name, each with a factor of its own, and who makes pools."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, signer: LocalSigner | None = None) -> None:
        self.store = MemoryStore()
        self.heard = Heard()
        self.publishers = {name: Publisher(self.store, folder, name=name, signer=signer) for name in NAMES}
        for factor, publisher in enumerate(self.publishers.values(), 1):
            publisher.release(scaled(factor))
        monkeypatch.setattr(S3Reader, "from_environ", lambda _bucket, _environ, **_: self.store)

    def pool(self, **settings: Any) -> Pool:
        return Pool(BatchSettings(model_names=NAMES, model_bucket="none", **settings), {}, self.heard)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


def factor(model: LoadedModel, number: float = 1.0) -> float:
    """What the model makes of it."""
    row = Tensor("x", "FP32", (1, 3), np.array([number] * 3, "<f4"))
    (answer,) = model.run([row], ["y"], seconds=5)
    return float(np.frombuffer(answer.data, "<f4")[0])


def test_each_name_is_answered_by_its_own_model(world):
    pool = world.pool()
    assert [factor(pool.model(name)) for name in NAMES] == [1, 2, 3]
    assert [pool.model(name).name for name in reversed(NAMES)] == list(reversed(NAMES))
    assert world.heard.loaded == list(NAMES)


def test_the_least_recently_asked_is_forgotten(world):
    pool = world.pool(max_loaded_models=2)
    for name in ("fruit", "sample", "fruit", "tumour", "fruit"):
        pool.model(name)
    assert world.heard.loaded == ["fruit", "sample", "tumour"]
    pool.model("sample")
    assert world.heard.loaded == ["fruit", "sample", "tumour", "sample"]


def test_a_name_that_is_not_served_is_refused_and_asks_nothing_of_the_store(world):
    pool = world.pool()
    world.store.calls.clear()
    with pytest.raises(ModelNotFound, match="no model 'other' is served here; served: fruit, sample, tumour"):
        pool.model("other")
    assert world.store.calls == []


def test_a_version_is_named_by_an_alias_or_by_itself(world):
    publisher = world.publishers["sample"]
    staged = publisher.release(scaled(7), "staging")
    old = publisher.publish(scaled(9))
    pool = world.pool()
    assert [factor(pool.model("sample", version)) for version in (None, "production", "staging", staged)] == [2, 2, 7, 7]
    with pytest.raises(VersionNotFound):
        pool.model("sample", old)


def test_a_promotion_is_seen_after_the_check(world):
    pool = world.pool(alias_check_seconds=0.0)
    assert factor(pool.model("sample")) == 2
    world.publishers["sample"].release(scaled(5))
    assert factor(pool.model("sample")) == 5


def test_a_model_without_a_promotion_says_what_to_do_and_disturbs_no_other(world):
    world.store.delete(["models/sample/aliases/production.json"])
    pool = world.pool()
    with pytest.raises(ModelNotReady, match="run: modelctl promote sample"):
        pool.model("sample")
    assert factor(pool.model("fruit")) == 1


def test_what_can_not_be_loaded_is_logged_and_counted_for_the_service(world):
    world.store.down = "HTTP 503 SlowDown"
    with pytest.raises(ModelNotReady, match="SlowDown"):
        world.pool().model("sample")
    assert world.heard.counted == [{"LoadFailure": 1, "StoreUnavailable": 1}]


def test_only_strict_models_refuse_nan(world):
    pool = world.pool(strict_models=("sample",))
    assert np.isnan(factor(pool.model("fruit"), np.nan))
    with pytest.raises(InvalidInput, match="holds NaN or infinity"):
        factor(pool.model("sample"), np.nan)


def test_a_manifest_must_be_signed_where_a_key_is_set(tmp_path, monkeypatch):
    signer = LocalSigner()
    (tmp_path / "signed").mkdir()
    signed, bare = World(tmp_path / "signed", monkeypatch, signer=signer), World(tmp_path, monkeypatch)
    monkeypatch.setattr(JsonService, "from_environ", lambda *_args, **_: signer)
    with pytest.raises(ModelNotReady, match="no signature"):
        bare.pool(signing_key_arn=ARN).model("sample")
    monkeypatch.setattr(S3Reader, "from_environ", lambda _bucket, _environ, **_: signed.store)
    assert factor(signed.pool(signing_key_arn=ARN).model("sample")) == 2


def test_what_is_pinned_answers_after_a_promotion(world):
    """Also once no alias names it any more."""
    pool = world.pool()
    pinned = pool.pin("fruit")
    world.publishers["fruit"].release(scaled(10))
    assert factor(pool.pinned(pinned)) == 1
    assert factor(pool.model("fruit")) == 10
    assert pool.pin("fruit") != pinned


def test_what_is_pinned_is_loaded_once_and_one_at_a_time(world):
    pool = world.pool()
    fruit, tumour = pool.pin("fruit"), pool.pin("tumour")
    assert [factor(pool.pinned(each)) for each in (fruit, fruit, tumour, fruit)] == [1, 1, 3, 1]
    assert world.heard.loaded == ["fruit", "tumour", "fruit"]


def test_the_manifest_of_what_is_pinned_loads_nothing(world):
    pool = world.pool()
    pinned = pool.pin("sample")
    assert pool.manifest(pinned).version == pinned.version
    assert world.heard.loaded == []


def test_only_a_model_of_the_pool_and_an_alias_that_is_set_can_be_pinned(world):
    pool = world.pool()
    with pytest.raises(ModelNotFound, match="no model 'pictures' is served here; served: fruit, sample, tumour"):
        pool.pin("pictures")
    with pytest.raises(AliasNotFound, match="no version of 'fruit' is promoted to 'staging'"):
        pool.pin("fruit", "staging")
