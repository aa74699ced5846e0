"""A version made smaller: judged against the one that it was made from, and published only if it holds the limit."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from models.config import CompressConfig, ModelConfig
from modelserve import record
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, Manifest
from modelserve.registry import Registry
from tests.unit.modelctl.compress.networks import TOML, TRAIN
from tests.unit.modelctl.factories import model_folder
from tools.modelctl import lifecycle
from tools.modelctl.compress import run
from tools.modelctl.compress.optimize import optimize
from tools.modelctl.compress.quantize import static_int8
from tools.modelctl.compress.results import Comparison, Result
from tools.modelctl.compress.subject import Inapplicable, Subject
from tools.modelctl.data import split
from tools.modelctl.errors import BuildFailed, GateFailed
from tools.modelctl.latency import Batch, Measured
from tools.modelctl.origin import Origin
from tools.modelctl.parity import Answers
from tools.modelctl.source import Source
from tools.modelctl.trial import Trial

TRIED = Trial(load_seconds=0.1, run_seconds=0.1, peak_megabytes=100, answers_zeros=True)


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """No process of its own for each trial, and little time to measure."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.modelctl.assess.attempt", lambda *_: TRIED)
        patch.setattr(run, "_SECONDS", 0.02)
        yield


def compress(
    root: Path,
    *methods: str,
    origin: Origin | None = None,
    against: Origin | None = None,
    train: str = TRAIN,
    toml: str = TOML,
    limit: float = 0.05,
) -> Comparison:
    folder = model_folder(root / "models", "small", toml=toml, train=train)
    config = ModelConfig.load(folder).model_copy(update={"compress": CompressConfig(max_drop=limit)})
    source = Source.of(folder)
    if origin is None:
        built = lifecycle.build(config, models=root / "models", output=root / "build")
        origin = Origin(manifest=built.manifest, model=built.model, version="20261120T174100Z-1a2b3c4d")
    return run.compress(config, source, origin, split(config, *source.load()), methods, output=root / "build", against=against)


def worse(subject: Subject) -> onnx.ModelProto:
    """Small, and wrong."""
    model = onnx.ModelProto()
    model.CopyFrom(subject.model)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    return static_int8(Subject(config=subject.config, model=model, rows=subject.rows))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(run.METHODS, "worse", worse)
        return compress(tmp_path_factory.mktemp("compared"), "static-int8", "tree-prune", "worse", "optimize")


def test_a_result_has_all_that_a_version_holds_and_its_parent(compared: Comparison) -> None:
    result = compared.results[0]
    assert result.built is not None
    lineage = result.built.manifest.lineage
    assert lineage is not None
    assert (lineage.parent, lineage.transform, lineage.framework) == ("20261120T174100Z-1a2b3c4d", "static-int8", "numpy")
    assert result.built.folder.name == "small.static-int8"
    assert result.built.manifest.labels == tuple(map(str, range(4)))
    assert result.built.manifest.parity is not None
    assert result.built.manifest.parity.largest_difference > 0
    assert all(file.exists() for file in result.built.files.values())


def test_the_report_holds_what_was_measured_against_the_parent(compared: Comparison) -> None:
    result = compared.results[0]
    assert result.built is not None
    found = result.built.report["evaluation"]["compression"]
    assert found["parent"] == "20261120T174100Z-1a2b3c4d"
    assert (found["method"], found["metric"], found["limit"]) == ("static-int8", "accuracy", 0.05)
    assert found["drop"] == pytest.approx(1 - result.metric)
    assert found["size_ratio"] == pytest.approx(result.size / compared.parent.size)
    assert set(found["latency"]) == {"1", "32", "256"}
    assert [each["method"] for each in found["front"]] == ["parent", "static-int8", "worse", "optimize"]
    assert not found["front"][2]["on_front"]


def test_what_makes_nothing_says_why(compared: Comparison) -> None:
    assert list(compared.left_out) == ["tree-prune"]
    assert "tree" in compared.left_out["tree-prune"]


def timed(comparison: Comparison, method: str, times: float) -> tuple[Comparison, Result]:
    """As if the result of `method`, which is alone then, had taken so many times what the parent takes."""
    parent = comparison.parent.measured
    batches = tuple(Batch(batch.rows, times * batch.p50_us, times * batch.p90_us) for batch in parent.latency)
    (found,) = (result for result in comparison.results if result.method == method)
    found = replace(found, measured=Measured(parent.load_ms, batches))
    return replace(comparison, results=(found,)), found


def test_one_that_is_worse_than_the_limit_is_not_held(compared: Comparison) -> None:
    fine, bad, _ = compared.results
    assert compared.problems(fine) == []
    assert any("accuracy is worse by" in problem and "at most 0.05" in problem for problem in compared.problems(bad))
    assert "the gate accuracy >= 0.9 doesn't hold" in "; ".join(compared.problems(bad))
    assert fine in compared.held
    assert bad not in compared.held


def test_one_that_is_not_smaller_has_to_be_faster(compared: Comparison) -> None:
    again, same = timed(compared, "optimize", 1.0)
    assert "it is not smaller than its parent by a hundredth and not faster" in again.note(same)
    again, faster = timed(compared, "optimize", 0.5)
    assert again.held == [faster]


def test_one_that_is_slower_is_said_to_be_so(compared: Comparison) -> None:
    again, slower = timed(compared, "static-int8", 2.0)
    assert again.note(slower) == (
        "slower on this CPU: 2.00 times as long at 1 row, 2.00 times as long at 32 rows, 2.00 times as long at 256 rows"
    )
    assert again.document(slower)["slower"]
    assert again.document(slower)["latency"] == {"1": 2.0, "32": 2.0, "256": 2.0}
    again, faster = timed(compared, "static-int8", 0.5)
    assert again.note(faster) == ""
    assert not again.document(faster)["slower"]


def test_one_that_is_slower_comes_after_those_that_are_not(compared: Comparison) -> None:
    _, slower = timed(compared, "static-int8", 2.0)
    _, other = timed(compared, "static-int8", 1.0)
    other = replace(other, method="larger", model=compared.parent.model.parent / "larger.onnx")
    other.model.write_bytes(slower.model.read_bytes() + bytes(100))
    assert [result.method for result in replace(compared, results=(slower, other)).held] == ["larger", "static-int8"]


def test_the_best_is_the_smallest_that_is_not_slower_at_any_batch(compared: Comparison) -> None:
    """Also where it is beaten in size and at one row by another one, or by one that may not be published."""
    _, small = timed(compared, "static-int8", 1.0)
    (one, *others) = small.measured.latency
    small = replace(small, measured=Measured(1.0, (one, *(Batch(each.rows, 2 * each.p50_us, 2 * each.p90_us) for each in others))))
    _, large = timed(compared, "static-int8", 1.0)
    large = replace(large, method="larger", model=compared.parent.model.parent / "larger.onnx")
    large.model.write_bytes(small.model.read_bytes() + bytes(100))
    assert [result.method for result in replace(compared, results=(small, large)).held] == ["larger", "static-int8"]
    refused = replace(small, measured=large.measured, built=compared.results[1].built)
    again = replace(compared, results=(refused, large))
    assert [result.method for result in again.held] == ["larger"]
    assert again.front == {"parent", "larger"}


def test_float_noise_is_no_drop(compared: Comparison) -> None:
    result = replace(compared.results[0], metric=0.97)
    near = replace(compared, reference=0.98, limit=0.01, results=(result,))
    assert near.drop(result) > near.limit
    assert near.problems(result) == []
    assert near.problems(replace(result, metric=0.9699)) != []


def test_drops_are_held_against_the_version_that_no_compression_made(tmp_path: Path, compared: Comparison) -> None:
    """Here one that answers otherwise, and was judged by other rows."""
    first, bad = compared.results[0].built, compared.results[1].built
    assert first is not None
    assert bad is not None
    shutil.copytree(bad.folder, tmp_path / "bad")
    report = tmp_path / "bad" / "report.json"
    report.write_text(re.sub(r'"held_out_sha256": "\w+"', '"held_out_sha256": "00"', report.read_text()))
    against = Origin(manifest=bad.manifest, model=tmp_path / "bad" / MODEL_FILE, version="20261119T174101Z-1a2b3c4d")
    found = compress(tmp_path, "optimize", origin=Origin(manifest=first.manifest, model=first.model, version="2"), against=against)
    (result,) = found.results
    assert (found.reference, found.parent.metric) == (compared.results[1].metric, compared.results[0].metric)
    assert found.drop(result) == pytest.approx(found.reference - result.metric)
    assert found.transform == "static-int8"
    document = found.document(result)
    assert document["origin"] == against.version
    assert document["note"].startswith("20261119T174101Z-1a2b3c4d was judged by other held-out rows")
    assert len(found.notes) == 1


def test_it_is_published_with_its_parent_which_stays_as_it_is(compared: Comparison, registry: Registry) -> None:
    manifest = run.publish(registry, compared.results[0])
    assert registry.versions("small") == [manifest.version]
    assert manifest.lineage is not None
    assert manifest.lineage.parent == "20261120T174100Z-1a2b3c4d"
    assert run.publish(registry, compared.results[0]).version == manifest.version


def test_how_a_result_is_opened_is_measured_when_it_is_to_be_published(
    compared: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes a minute each of large models, and most of them are only compared."""
    monkeypatch.setattr("tools.modelctl.assess.prepare", None)
    first = compared.results[0].built
    assert first is not None
    folder = model_folder(tmp_path / "models", "small", toml=TOML, train=TRAIN)
    (result,) = compress(tmp_path, "optimize", origin=Origin(manifest=first.manifest, model=first.model, version="2")).results

    def measured(_: ModelConfig, folder: Path, draft: Manifest, inputs: Answers, *, tell: object) -> Manifest:
        assert (folder / MODEL_FILE).exists()
        assert len(next(iter(inputs.values()))) == 100
        return record.replace(draft, load_figures={"onnx": {"load_ms": 1.0}}, schema=LOAD_SCHEMA)

    monkeypatch.setattr("tools.modelctl.assess.prepare", measured)
    config = ModelConfig.load(folder)
    built = run.opened(config, result, split(config, *Source.of(folder).load())).built
    assert built is not None
    assert built.manifest.load_figures == {"onnx": {"load_ms": 1.0}}
    assert built.report["manifest"]["load_figures"] == {"onnx": {"load_ms": 1.0}}
    assert built.report["evaluation"]["compression"]


def test_one_that_fails_is_published_only_with_a_reason_that_is_kept(compared: Comparison, registry: Registry) -> None:
    _, bad, same = compared.results
    with pytest.raises(GateFailed):
        run.publish(registry, bad)
    assert registry.versions("small") == []
    for result in (bad, same):
        lineage = run.publish(registry, result, forced="for a test").lineage
        assert lineage is not None
        assert lineage.forced == "for a test"


def test_the_bytes_are_the_same_each_time(compared: Comparison, tmp_path: Path) -> None:
    result = compress(tmp_path, "static-int8").results[0]
    assert result.built is not None
    assert (result.built.folder / MODEL_FILE).read_bytes() == compared.results[0].model.read_bytes()


def test_without_y_the_share_of_labels_that_differ_is_held(tmp_path: Path) -> None:
    train = TRAIN.replace("return X, Network().predict(X)", "return X, None")
    found = compress(tmp_path, "static-int8", train=train, toml='task = "classification"\n')
    assert (found.metric, found.parent.metric) == ("disagreement", 0.0)
    assert found.drop(found.results[0]) == found.results[0].metric < 0.2
    assert not found.scored
    assert "judged by 100 rows that load() of train.py gives no y for" in found.document(found.results[0])["note"]


def test_one_method_alone_that_makes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Inapplicable, match="tree"):
        compress(tmp_path, "tree-prune")


def test_a_metric_that_is_not_defined_is_told(tmp_path: Path) -> None:
    config = CompressConfig(metric="nothing")
    folder = model_folder(tmp_path / "models", "small", toml=TOML, train=TRAIN)
    loaded = ModelConfig.load(folder)
    built = lifecycle.build(loaded, models=tmp_path / "models", output=tmp_path / "build")
    source = Source.of(folder)
    origin = Origin(manifest=built.manifest, model=built.model)
    rows = split(loaded, *source.load())
    with pytest.raises(BuildFailed, match=r"nothing is not defined.*expected one of accuracy"):
        run.compress(loaded.model_copy(update={"compress": config}), source, origin, rows, ["optimize"], output=tmp_path)


def test_clusters_are_judged_where_the_pipeline_sees_them(tmp_path: Path) -> None:
    """Unscaled, the second column would decide alone."""
    train = """
import numpy as np
from sklearn.cluster import KMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def load():
    random = np.random.default_rng(0)
    X = np.concatenate([random.normal(size=(40, 2)) * [1, 1000], random.normal(size=(40, 2)) * [1, 1000] + [9, 0]])
    return X.astype(np.float32), None

def train(X, y):
    return make_pipeline(StandardScaler(), KMeans(2, n_init=1, random_state=0)).fit(X)
"""
    found = compress(tmp_path, "optimize", train=train, toml='task = "clustering"\ngates = ["silhouette >= 0.4"]\n')
    assert found.metric == "silhouette"
    assert found.parent.metric > 0.4
    assert found.results[0].metric == found.parent.metric


def test_methods_are_tried_on_the_parent_that_was_given(tmp_path: Path, compared: Comparison) -> None:
    """A version that was quantized before has nothing left to quantize, but answers for its own parity."""
    first = compared.results[0].built
    assert first is not None
    origin = Origin(manifest=first.manifest, model=first.model, version="20261120T174101Z-1a2b3c4d")
    found = compress(tmp_path, "static-int8", "optimize", origin=origin)
    assert "512 FP32 weights" in found.left_out["static-int8"]
    built = found.results[0].built
    assert built is not None
    assert built.manifest.parity is not None
    assert built.manifest.parity.disagreement == 0
    assert optimize is run.METHODS["optimize"]
    assert np.isfinite(found.results[0].metric)
