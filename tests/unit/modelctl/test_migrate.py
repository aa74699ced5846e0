"""Another version of ONNX gives the same answers, and each target's runtime is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import parser
from typer.testing import CliRunner, Result

from models.config import ModelConfig, ParityConfig
from modelserve.manifest import Lineage
from modelserve.registry import Registry
from tests.unit.modelctl.factories import model_folder
from tests.unit.modelserve.stores import MemoryStore
from tools.modelctl import console, lifecycle, parity, paths, targets
from tools.modelctl.built import Built
from tools.modelctl.cli import app
from tools.modelctl.commands import origins
from tools.modelctl.errors import BuildFailed, DeploymentNotFound, UsageFailed
from tools.modelctl.migrate import rewritten
from tools.modelctl.targets import Case, Outcome, without_kernel
from tools.modelctl.trial import Trial

MEAN = """<ir_version: 8, opset_import: ["" : 18], producer_name: "us", model_version: 3, doc_string: "said">
agraph (float[N,3] input) => (float[N,1] prediction) <int64[1] axes = {1}> { prediction = ReduceMean(input, axes) }"""
RESHAPE = """<ir_version: 8, opset_import: ["" : 18]>
agraph (float[N,3] input) => (float[N,3] prediction) <int64[2] sizes = {-1, 3}> { prediction = Reshape(input, sizes) }"""
TRILU = """<ir_version: 8, opset_import: ["" : 18]>
agraph (float[N,3] input) => (float[N,3] prediction) { prediction = Trilu(input) }"""
GELU = """<ir_version: 9, opset_import: ["" : 20]>
agraph (float[N,3] input) => (float[N,3] prediction) { prediction = Gelu(input) }"""
RELU = """<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 1]>
agraph (float[N,3] input) => (float[N,3] prediction) {
a = ai.onnx.ml.Scaler<offset = [0.0, 0.0, 1.0], scale = [2.0, 3.0, 4.0]>(input)  prediction = Relu(a) }"""
FUNCTION = """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
agraph (float[N,3] input) => (float[N,3] prediction) { a = own.twice(input)  prediction = Neg(a) }
<domain: "own", opset_import: ["" : 17]> twice (x) => (y) { y = Add(x, x) }"""
UPPER = """<ir_version: 9, opset_import: ["" : 20]>
agraph (string[N,1] text) => (string[N,1] loud) { loud = StringConcat(text, text)  }"""
DECODER = """<ir_version: 9, opset_import: ["" : 20]>
agraph (uint8[N] input) => (uint8[H,W,C] prediction) { prediction = ImageDecoder(input) }"""
TRIED = Trial(load_seconds=0.0, run_seconds=0.0, peak_megabytes=1, answers_zeros=True)
ROWS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def answers(folder: Path, model: onnx.ModelProto, rows: np.ndarray = ROWS) -> np.ndarray:
    file = folder / "model.onnx"
    file.write_bytes(model.SerializeToString())
    return parity.run(file, {"input": rows})["prediction"]


@pytest.mark.parametrize(
    ("text", "opset", "ir"),
    [(MEAN, 21, 10), (MEAN, 13, 8), (RELU, 25, 13), (RELU, 7, 8), (FUNCTION, 18, 8)],
    ids=["up", "down", "far up", "far down", "function"],
)
def test_another_operator_set_answers_the_same(tmp_path: Path, text: str, opset: int, ir: int) -> None:
    """The IR is the first that has the operator set, unless it is newer already."""
    model = parser.parse_model(text)
    changed = rewritten(model, opset=opset, ir=None)
    assert ({each.domain: each.version for each in changed.opset_import}[""], changed.ir_version) == (opset, ir)
    np.testing.assert_array_equal(answers(tmp_path, changed), answers(tmp_path, model))
    assert model == parser.parse_model(text)


def test_what_has_nothing_to_do_with_operator_sets_stays() -> None:
    model = parser.parse_model(MEAN)
    model.metadata_props.add(key="who", value="me")
    changed = rewritten(model, opset=21, ir=None)
    assert (changed.producer_name, changed.model_version, changed.doc_string) == ("us", 3, "said")
    assert [(entry.key, entry.value) for entry in changed.metadata_props] == [("who", "me")]
    assert changed.graph.name == "agraph"


def test_only_the_ir_may_change() -> None:
    changed = rewritten(parser.parse_model(RELU), opset=None, ir=11)
    assert changed.ir_version == 11
    assert {each.domain: each.version for each in changed.opset_import} == {"": 18, "ai.onnx.ml": 1}


@pytest.mark.parametrize(
    ("text", "opset", "told"),
    [
        (TRILU, 13, "Trilu stands in the way of operator set 13.*expected --opset 14 or later"),
        (RESHAPE, 11, "Reshape stands in the way of operator set 11: it changed between 14 and 13.*expected --opset 14 or later"),
        (GELU, 18, "Gelu stands in the way of operator set 18.*expected --opset 20 or later"),
    ],
)
def test_the_operator_that_stands_in_the_way_is_named(text: str, opset: int, told: str) -> None:
    with pytest.raises(BuildFailed, match=told):
        rewritten(parser.parse_model(text), opset=opset, ir=None)


@pytest.mark.parametrize(
    ("operator", "axis", "before", "after", "carried"),
    [
        ("Softmax", 1, 13, 12, False),
        ("Softmax", 2, 13, 12, True),
        ("LogSoftmax", -1, 13, 12, True),
        ("LogSoftmax", 0, 13, 11, False),
        ("Softmax", 1, 12, 13, True),
        ("Hardmax", None, 12, 13, False),
        ("Hardmax", 2, 12, 13, True),
    ],
)
def test_an_operator_that_the_converter_would_carry_over_wrongly_is_named(
    tmp_path: Path, operator: str, axis: int | None, before: int, after: int, *, carried: bool
) -> None:
    attribute = "" if axis is None else f"<axis = {axis}>"
    model = parser.parse_model(
        f"""<ir_version: 7, opset_import: ["" : {before}]>
agraph (float[N,3,2] input) => (float[N,3,2] prediction) {{ prediction = {operator}{attribute}(input) }}"""
    )
    if carried:
        cube = ROWS.reshape(2, 3, 2)
        changed = rewritten(model, opset=after, ir=None)
        np.testing.assert_allclose(answers(tmp_path, changed, cube), answers(tmp_path, model, cube), rtol=1e-6)
    else:
        with pytest.raises(BuildFailed, match=f"{operator} stands in the way of operator set {after}: it changed between 1[23] and 1[23]"):
            rewritten(model, opset=after, ir=None)


@pytest.mark.parametrize(
    ("opset", "ir", "told"),
    [
        (26, None, "--opset 26 is not one that every tier runs; expected 7 to 25"),
        (None, 14, "--ir 14 is not one that every tier runs; expected 3 to 13"),
        (18, 8, "has operator set 18 and IR 8 already"),
        (21, 8, "operator set 21 needs IR 10 or later"),
    ],
)
def test_versions_that_cannot_be_had_are_refused(opset: int | None, ir: int | None, told: str) -> None:
    with pytest.raises(UsageFailed, match=told):
        rewritten(parser.parse_model(RELU), opset=opset, ir=ir)


def test_an_operator_without_a_kernel_is_named() -> None:
    assert without_kernel(parser.parse_model(DECODER)) == ["ImageDecoder 20"]
    assert without_kernel(parser.parse_model(RELU)) == []
    assert without_kernel(parser.parse_model(GELU)) == []
    assert without_kernel(parser.parse_model(FUNCTION), "another provider") == ["Add 14", "Neg 13"]


def case(folder: Path, text: str = RELU, *, inputs: dict[str, Any] | None = None, expected: dict[str, Any] | None = None) -> Case:
    file = folder / "model.onnx"
    file.write_bytes(parser.parse_model(text).SerializeToString())
    inputs = inputs or {"input": ROWS}
    return Case(model=file, inputs=inputs, expected=expected or parity.run(file, inputs), allowed=ParityConfig(), memory=512)


def of(outcomes: list[Outcome], name: str) -> Outcome:
    return next(outcome for outcome in outcomes if outcome.name == name)


def test_tritons_runtime_runs_in_a_process_of_its_own_text_included(tmp_path: Path) -> None:
    text = {"text": np.array([["grün"], ["b"]], dtype=object)}
    outcome = of(targets.check(case(tmp_path, UPPER, inputs=text), triton=[sys.executable]), "triton")
    assert outcome.ok
    assert "2 rows" in outcome.found


def test_a_model_that_tritons_runtime_refuses_fails_there(tmp_path: Path) -> None:
    broken = case(tmp_path, DECODER, inputs={"input": np.zeros(3, np.uint8)}, expected={"prediction": np.zeros((1, 1, 3), np.uint8)})
    outcomes = targets.check(broken, triton=[sys.executable])
    assert [outcome.ok for outcome in outcomes[:2]] == [False, False]
    assert "has no kernel for ImageDecoder 20" in of(outcomes, "lambda").found
    assert "ImageDecoder" in of(outcomes, "triton").found


def test_other_answers_fail(tmp_path: Path) -> None:
    outcomes = targets.check(case(tmp_path, expected={"prediction": ROWS + 1}), triton=None)
    assert not of(outcomes, "lambda").ok


@pytest.mark.parametrize("runtime", [None, ["/nowhere/python"], ["/bin/false"]], ids=["no uv", "no program", "no network"])
def test_without_tritons_runtime_the_tables_are_asked_and_that_is_said(tmp_path: Path, runtime: list[str] | None) -> None:
    outcome = of(targets.check(case(tmp_path), triton=runtime), "triton")
    assert outcome.ok is None
    assert "not run: onnxruntime 1.24 can't be had here; by the tables" in outcome.found
    newer = parser.parse_model(RELU.replace('"" : 18', '"" : 26'))
    file = tmp_path / "newer.onnx"
    file.write_bytes(newer.SerializeToString())
    refused = of(targets.check(Case(**{**vars(case(tmp_path)), "model": file}), triton=None), "triton")
    assert (refused.ok, "operator set ai.onnx 26" in refused.found) == (False, True)


def test_a_gpu_that_is_not_there_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    outcome = of(targets.check(case(tmp_path), triton=None), "cuda")
    assert (outcome.ok, "not tried" in outcome.found) == (None, True)


class OnGpu:
    """A session of a machine with a GPU; it answers what `factor` times the rows are."""

    def __init__(self, providers: list[str], factor: float) -> None:
        self.get_providers = lambda: providers
        self.factor = factor

    def get_outputs(self) -> list[Any]:
        return [SimpleNamespace(name="prediction")]

    def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [inputs["input"] * np.float32(self.factor)]


@pytest.mark.parametrize(
    ("providers", "factor", "ok", "told"),
    [
        (["CUDAExecutionProvider", "CPUExecutionProvider"], 1.0, True, "on CUDA, but for"),
        (["CUDAExecutionProvider", "CPUExecutionProvider"], 1.1, False, "numbers differ by up to 0.1"),
        (["CPUExecutionProvider"], 1.0, None, "could not start CUDA"),
    ],
    ids=["the same answers", "others", "not started"],
)
def test_cuda_counts_only_where_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, providers: list[str], factor: float, ok: bool | None, told: str
) -> None:
    """A session that quietly went on without it would prove nothing."""
    there = case(tmp_path, expected={"prediction": ROWS})
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [targets.CUDA, targets.CPU])
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: OnGpu(providers, factor))
    outcome = targets._on_cuda(there)
    assert (outcome.ok, told in outcome.found) == (ok, True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The model `step`."""
    folder = model_folder(tmp_path_factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tools.modelctl.assess.attempt", lambda *_: TRIED)
        return lifecycle.build(ModelConfig.load(folder), models=folder.parent, output=folder.parent / "build")


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, registry: Registry, built: Built) -> Path:
    """A repository with that model, published; whatever is tried answers, and Triton's runtime can't be had."""
    monkeypatch.setattr(paths, "MODELS", built.folder.parents[1])
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(console.out, "width", 240)
    for where in ("assess", "safety"):
        monkeypatch.setattr(f"tools.modelctl.{where}.attempt", lambda *_: TRIED)
    monkeypatch.setattr(targets, "fetched", lambda: None)
    monkeypatch.setattr(origins, "build", lambda _: built)
    lifecycle.publish(registry, built)
    monkeypatch.setattr(origins, "find", lambda *_, **__: SimpleNamespace(name="local", registry=lambda *_: registry))
    return tmp_path


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["migrate", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_a_version_in_another_operator_set_names_its_parent_and_how_it_was_made(place: Path, registry: Registry) -> None:
    (parent,) = registry.versions("step")
    result = run("step", "--opset", "21", "--check-targets")
    _, version = registry.versions("step")
    manifest = registry.manifest("step", version)
    assert isinstance(manifest.lineage, Lineage)
    assert (manifest.lineage.parent, manifest.lineage.transform) == (parent, "opset 21")
    assert (manifest.opset[""], manifest.ir) == (21, 10)
    assert manifest.parity is not None
    assert manifest.parity.passed
    into = place / "into"
    into.mkdir()
    registry.download("step", version, to=into)
    migration = json.loads((into / "report.json").read_bytes())["evaluation"]["migration"]
    assert (migration["parent"], migration["opset"][1], migration["ir"][1]) == (parent, 21, 10)
    assert [(target["name"], target["ok"]) for target in migration["targets"]] == [("lambda", True), ("triton", None), ("cuda", None)]
    assert "it was not run on triton and cuda, of which nothing is proven" in result.stderr
    assert f"modelctl promote step {version}" in result.stdout


def test_a_dry_run_publishes_nothing_and_needs_no_deployment(place: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise DeploymentNotFound("local", "nothing runs", "make run")

    run("step", "--opset", "21", "--dry-run")
    monkeypatch.setattr(origins, "find", nowhere)
    document = json.loads(run("step", "--ir", "11", "--dry-run", "--json").stdout)
    assert (document["version"], document["parent"], document["ir"][1]) == (None, None, 11)
    assert len(registry.versions("step")) == 1
    run("step", "--opset", "21", code=1)


def test_a_dry_run_takes_the_local_build_where_nothing_is_published_and_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = SimpleNamespace(name="local", registry=lambda *_: Registry(MemoryStore()))
    monkeypatch.setattr(origins, "find", lambda *_, **__: empty)
    result = run("step", "--ir", "11", "--dry-run", "--json")
    assert json.loads(result.stdout)["parent"] is None
    assert "no version of step is published in local, so this is about the local build" in result.stderr
    assert "run: modelctl publish step" in " ".join(run("step", "--ir", "11", code=1).output.split())


def test_a_target_that_fails_ends_with_1_and_nothing_is_published(place: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_on_triton", lambda *_: Outcome(name="triton", ok=False, found="it can't"))
    result = run("step", "--opset", "21", "--check-targets", code=1)
    assert "it can't" in result.stdout
    assert len(registry.versions("step")) == 1


def test_the_version_as_it_is_can_be_checked_alone(place: Path, registry: Registry) -> None:
    result = run("step", "--check-targets")
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [["lambda", "yes"], ["triton", "not"], ["cuda", "not"]]
    assert "nothing is proven" in result.stderr
    assert len(registry.versions("step")) == 1


def test_a_version_that_answers_otherwise_is_not_published(place: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def other(model: onnx.ModelProto, **versions: int | None) -> onnx.ModelProto:
        changed = rewritten(model, **versions)
        for node in changed.graph.node:
            for attribute in node.attribute:
                if attribute.name == "coefficients":
                    attribute.floats[:] = [-value for value in attribute.floats]
        return changed

    monkeypatch.setattr("tools.modelctl.migrate.rewritten", other)
    result = run("step", "--opset", "21", code=1)
    assert "was not published in another version of ONNX" in " ".join(result.output.split())
    assert len(registry.versions("step")) == 1


def test_nothing_to_do_is_told(place: Path) -> None:
    assert "expected --opset N, --ir N or --check-targets" in " ".join(run("step", code=1).output.split())
