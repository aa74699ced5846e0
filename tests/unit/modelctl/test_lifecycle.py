"""Building and publishing one model, from its folder to its version."""

from pathlib import Path

import onnx
import orjson
import pytest

from models.config import ModelConfig, ModelConfigError
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE
from modelserve.registry import Registry
from modelserve.session import open_session
from tests.unit.modelctl.factories import TOML, TRAIN, model_folder
from tools.modelctl import assess, lifecycle, lint, parity, triton
from tools.modelctl.built import Built
from tools.modelctl.errors import BuildFailed, GateFailed, TrainFailed
from tools.modelctl.limits import Limits
from tools.modelctl.origin import Origin
from tools.modelctl.trial import Refused, Trial

GPU = TOML.replace("labels", 'target = "gpu"\nlabels')
FAILING = TOML.replace("accuracy >= 0.9", "accuracy >= 1.1")

TEXT_TOML = TOML.replace('"low", "high"', '"fruit", "tool"').replace("0.9", "0.99")
TEXT_TRAIN = """
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def load():
    texts = ["A ripe Lemon, and sweet", "sour LEMON juice; Äpfel don't", "the Hammer hits a nail", "a saw and a HAMMER"] * 20
    return pd.DataFrame({"text": texts, "price": np.linspace(1, 2, 80)}), np.repeat([["fruit", "fruit", "tool", "tool"]], 20, 0).ravel()

def train(X, y):
    columns = ColumnTransformer([("text", TfidfVectorizer(), "text"), ("price", "passthrough", ["price"])])
    return make_pipeline(columns, LogisticRegression()).fit(X, y)
"""


def build(root: Path, *, fresh: bool = False, toml: str = TOML, train: str = TRAIN) -> Built:
    config = ModelConfig.load(model_folder(root / "models", toml=toml, train=train))
    return lifecycle.build(config, models=root / "models", output=root / "build", fresh=fresh)


def test_a_built_model_has_all_that_a_manifest_needs(tmp_path: Path) -> None:
    built = build(tmp_path)
    assert [(spec.name, spec.datatype, spec.shape) for spec in built.manifest.inputs] == [("input", "FP32", (-1, 1))]
    assert [(spec.name, spec.datatype) for spec in built.manifest.outputs] == [("label", "INT64"), ("probabilities", "FP32")]
    assert built.manifest.metrics["accuracy"] >= 0.9
    assert built.manifest.parity is not None
    assert built.manifest.parity.rows == 20
    assert built.passed


def test_where_a_model_was_trained_goes_into_its_report_and_to_what_is_made_from_it(tmp_path: Path) -> None:
    """What opens a file answers something with `elsewhere`."""
    built = build(
        tmp_path, train=TRAIN + "\n_fit = train\ndef train(X, y):\n    found = _fit(X, y)\n    found.elsewhere = True\n    return found\n"
    )
    assert built.report["evaluation"]["data"]["elsewhere"]
    origin = Origin(manifest=built.manifest, model=built.model)
    assert origin.converted(onnx.ModelProto(), "prune", {}, None).elsewhere
    (tmp_path / "alone").mkdir()
    origin = Origin(manifest=built.manifest, model=tmp_path / "alone" / "model.onnx")
    assert not origin.converted(onnx.ModelProto(), "prune", {}, None).elsewhere


def test_an_unchanged_model_is_not_trained_again(tmp_path: Path) -> None:
    assert not build(tmp_path).cached
    again = build(tmp_path)
    assert again.cached
    assert again.manifest == build(tmp_path, fresh=True).manifest


@pytest.mark.parametrize(("toml", "train"), [(TOML + "# other", TRAIN), (TOML, TRAIN + "# other")], ids=["model.toml", "train.py"])
def test_a_change_of_any_of_its_files_trains_it_again(tmp_path: Path, toml: str, train: str) -> None:
    build(tmp_path)
    assert not build(tmp_path, toml=toml, train=train).cached


@pytest.mark.parametrize("file", ["model.onnx", "example.json", "report.json"])
def test_a_build_that_was_damaged_is_made_again(tmp_path: Path, file: str) -> None:
    model = build(tmp_path).model.read_bytes()
    (tmp_path / "build" / "step" / file).write_bytes(b"{}")
    again = build(tmp_path)
    assert not again.cached
    assert again.model.read_bytes() == model


def test_the_example_is_a_request_for_one_row(tmp_path: Path) -> None:
    (tensor,) = orjson.loads(build(tmp_path).example.read_bytes())["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"], len(tensor["data"])) == ("input", "FP32", [1, 1], 1)


def test_labels_are_the_classes_when_model_toml_names_none(tmp_path: Path) -> None:
    toml = TOML.replace('labels = ["low", "high"]', "")
    assert build(tmp_path, toml=toml).manifest.labels == ("0", "1")


@pytest.mark.parametrize("labels", ['["low"]', '["low", "middle", "high"]'])
def test_labels_that_are_not_one_for_each_class_are_refused(tmp_path: Path, labels: str) -> None:
    with pytest.raises(ModelConfigError, match="a label for each of the 2 classes"):
        build(tmp_path, toml=TOML.replace('["low", "high"]', labels))


def test_named_classes_must_be_in_the_order_of_the_probabilities(tmp_path: Path) -> None:
    train = TRAIN.replace("(X.ravel() > 0).astype(int)", "np.where(X.ravel() > 0, 'low', 'high')")
    with pytest.raises(ModelConfigError, match="in the order"):
        build(tmp_path, train=train)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError in line 1"),
        ("x = 1", "expected the functions load"),
        ("def load(): return 1\ndef train(X, y): ...", "load\\(\\) answered a int"),
        ("def load(): return [[1]], [1, 2]\ndef train(X, y): ...", "tensors and y of .1, 2. rows"),
        (TRAIN.replace("return LogisticRegression", "LogisticRegression"), "did it forget `return`"),
        (TRAIN.replace("C=100", "C=-1"), "InvalidParameterError in line 10"),
        ("def load(:", "SyntaxError"),
    ],
)
def test_a_train_py_that_cannot_be_used_is_told_where(tmp_path: Path, train: str, message: str) -> None:
    with pytest.raises(TrainFailed, match=message):
        build(tmp_path, train=train)


def test_a_folder_without_train_py_is_told_what_writes_one(tmp_path: Path) -> None:
    (model_folder(tmp_path / "models") / "train.py").unlink()
    config = ModelConfig.load(tmp_path / "models" / "step")
    with pytest.raises(TrainFailed, match="modelctl new"):
        lifecycle.build(config, models=tmp_path / "models", output=tmp_path / "build")


def test_an_estimator_without_probabilities_is_told_what_to_wrap_it_in(tmp_path: Path) -> None:
    train = TRAIN.replace("LogisticRegression(C=100)", "RidgeClassifier()").replace("import LogisticRegression", "import RidgeClassifier")
    with pytest.raises(BuildFailed, match="CalibratedClassifierCV"):
        build(tmp_path, train=train)


def test_an_estimator_that_does_not_convert_is_named(tmp_path: Path) -> None:
    train = TRAIN.replace(
        "return LogisticRegression(C=100)",
        "from sklearn.pipeline import make_pipeline; from sklearn.preprocessing import SplineTransformer\n"
        "    return make_pipeline(SplineTransformer(), LogisticRegression())",
    )
    with pytest.raises(BuildFailed, match="can't be converted to ONNX"):
        build(tmp_path, train=train)


@pytest.mark.parametrize(
    "vectorizer", ["TfidfVectorizer()", "CountVectorizer(ngram_range=(1, 2))", "TfidfVectorizer(token_pattern='[a-z]+')"]
)
def test_a_text_model_converts_and_agrees(tmp_path: Path, vectorizer: str) -> None:
    """Words of one letter, of upper case and with umlauts are what differs most easily; the locale is one that every machine has."""
    built = build(tmp_path, toml=TEXT_TOML, train=TEXT_TRAIN.replace("TfidfVectorizer(),", f"{vectorizer},"))
    assert built.failures == ()
    assert [(spec.name, spec.datatype) for spec in built.manifest.inputs] == [("text", "BYTES"), ("price", "FP32")]
    locales = {item.s for node in onnx.load(built.model).graph.node for item in node.attribute if item.name == "locale"}
    assert locales == {b"C.UTF-8"}


def test_a_model_that_onnx_runtime_cannot_run_is_told_where_to_look(tmp_path: Path) -> None:
    model = tmp_path / "step" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(b"not ONNX")
    with pytest.raises(BuildFailed, match=r"step was converted.*docs/models\.md lists.*models/step/train\.py"):
        parity.run(model, {})


def test_too_few_rows_to_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match="load\\(\\) must answer more"):
        build(tmp_path, train=TRAIN.replace("-1, 1, 80", "-1, 1, 2"))


def test_a_build_that_fails_leaves_nothing_that_a_later_one_takes_for_its_own(tmp_path: Path) -> None:
    build(tmp_path)
    with pytest.raises(ModelConfigError):
        build(tmp_path, toml=TOML.replace('"low", "high"', '"low"'))
    assert not build(tmp_path, train=TRAIN.replace("C=100", "C=50")).cached


def test_a_model_that_fails_its_gate_is_built_but_not_published(tmp_path: Path, registry: Registry) -> None:
    built = build(tmp_path, toml=FAILING)
    with pytest.raises(GateFailed, match=r"accuracy >= 1\.1 doesn't hold, held-out rows gave"):
        lifecycle.publish(registry, built)
    assert registry.versions("step") == []


def test_a_model_that_differs_from_its_original_is_not_published(tmp_path: Path, registry: Registry) -> None:
    built = build(tmp_path, toml=TOML + "\n[parity]\ntolerance = 0\n")
    with pytest.raises(GateFailed, match="is not the one that was trained"):
        lifecycle.publish(registry, built)


def test_what_the_lint_finds_is_told_with_the_gates_and_kept_with_the_build(
    tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lint, "MAX_NODES", 1)
    for cached in (False, True):
        built = build(tmp_path, toml=FAILING)
        assert built.cached == cached
        with pytest.raises(GateFailed, match=r"accuracy >= 1\.1 doesn't hold.*at most 1 are served; make it smaller \[nodes\]"):
            lifecycle.publish(registry, built)


def test_a_model_that_its_function_could_not_run_is_not_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assess, "attempt", lambda *_, **__: Refused("needs more than it may have"))
    monkeypatch.setattr(parity, "run", pytest.fail)
    with pytest.raises(BuildFailed, match="step was converted, but the model needs more than it may have"):
        build(tmp_path)


def test_force_publishes_and_keeps_the_reason(tmp_path: Path, registry: Registry) -> None:
    version = lifecycle.publish(registry, build(tmp_path, toml=FAILING), forced="demo on Friday").version
    manifest = registry.manifest("step", version)
    assert manifest.lineage is not None
    assert manifest.lineage.forced == "demo on Friday"
    assert [gate.passed for gate in manifest.gates] == [False]


def test_force_is_not_recorded_where_it_was_not_needed(tmp_path: Path, registry: Registry) -> None:
    lineage = lifecycle.publish(registry, build(tmp_path), forced="just in case").lineage
    assert lineage is not None
    assert lineage.forced is None


def test_a_version_holds_the_model_its_report_and_its_example(tmp_path: Path, registry: Registry) -> None:
    manifest = lifecycle.publish(registry, build(tmp_path))
    assert sorted(file.path for file in manifest.files) == ["baseline.json", "example.json", "model.onnx", "report.html", "report.json"]


def test_a_heavy_models_version_holds_what_triton_loads_too(tmp_path: Path, registry: Registry) -> None:
    built = build(tmp_path, toml=GPU)
    manifest = lifecycle.publish(registry, built)
    files = sorted(file.path for file in manifest.files)
    assert files == ["baseline.json", "example.json", "model.onnx", "model.tar.gz", "report.html", "report.json"]
    assert manifest.max_batch == triton.MAX_BATCH
    assert (built.folder / ARCHIVE_FILE).read_bytes().count(b"onnxruntime_onnx") == 1


def test_a_heavy_models_version_runs_on_lambda_as_well(tmp_path: Path, registry: Registry) -> None:
    """One line of model.toml moves it back; nothing of the version is in the way."""
    version = lifecycle.publish(registry, build(tmp_path, toml=GPU)).version
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    manifest = registry.download("step", version, to=scratch)
    session = open_session(str(scratch / MODEL_FILE), name="step", threads=1)
    assert (tuple(session.inputs), tuple(session.outputs)) == (manifest.inputs, manifest.outputs)
    assert registry.promote("step", version, alias="production", by="ann", reason="").model == manifest.model_object


def test_another_configuration_is_another_version_and_the_same_one_is_not(tmp_path: Path, registry: Registry) -> None:
    def published(gpu: str) -> str:
        return lifecycle.publish(registry, build(tmp_path, toml=f"{GPU}\n[gpu]\n{gpu}")).version

    first = published("max_batch = 8")
    assert published("max_batch = 16") != first
    assert published("max_batch = 8\nqueue_delay = 900") != first
    assert published('mode = "async"') != first
    assert published("max_batch = 8") == first
    assert published("max_batch = 8\n# a remark") == first


def test_a_model_that_moves_to_a_gpu_gets_a_version_with_an_archive(tmp_path: Path, registry: Registry) -> None:
    before, after = (lifecycle.publish(registry, build(tmp_path, toml=toml)) for toml in (TOML, GPU))
    assert (before.max_batch, after.version > before.version) == (None, True)
    assert before.model_file.sha256 == after.model_file.sha256
    assert lifecycle.publish(registry, build(tmp_path)).version == before.version


def test_a_heavy_model_is_unchanged_only_with_its_archive(tmp_path: Path) -> None:
    archive = build(tmp_path, toml=GPU).folder / ARCHIVE_FILE
    assert build(tmp_path, toml=GPU).cached
    body = archive.read_bytes()
    archive.write_bytes(b"")
    assert not build(tmp_path, toml=GPU).cached
    assert archive.read_bytes() == body


@pytest.mark.parametrize("answers", [True, False])
def test_it_is_warmed_up_with_zeros_where_the_trial_has_seen_it_answer_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    trial = Trial(load_seconds=1, run_seconds=1, peak_megabytes=1, answers_zeros=answers)
    monkeypatch.setattr(assess, "attempt", lambda *_: trial)
    assert (b"model_warmup" in (build(tmp_path, toml=GPU).folder / ARCHIVE_FILE).read_bytes()) == answers


def test_a_heavy_model_is_tried_as_on_an_instance_and_not_as_in_its_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Limits] = []

    def refuse(model: Path, example: Path, limits: Limits) -> Refused:
        asked.append(limits)
        return Refused(limits.too_large)

    monkeypatch.setattr(assess, "attempt", refuse)
    monkeypatch.setattr("tools.modelctl.limits._machine", lambda: 8000)
    with pytest.raises(BuildFailed, match=r"needs more than the 8,000 MB of this machine, which tries it before"):
        build(tmp_path, toml=GPU)
    monkeypatch.setattr("tools.modelctl.limits._machine", lambda: 10**6)
    with pytest.raises(BuildFailed, match=r"needs more than the 16,384 MB of an instance with a GPU"):
        build(tmp_path, toml=GPU)
    assert [limits.seconds for limits in asked] == [60, 60]
