"""modelctl compress as a person types it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner, Result

from models.config import ModelConfig
from modelserve.manifest import Lineage
from modelserve.registry import Registry
from tests.unit.modelctl.compress.networks import TOML, TRAIN
from tests.unit.modelctl.compress.test_run import TRIED, worse
from tests.unit.modelctl.factories import MemoryStore, model_folder
from tools.modelctl import console, lifecycle, paths
from tools.modelctl.built import Built
from tools.modelctl.cli import app
from tools.modelctl.commands import origins
from tools.modelctl.commands.compressing import MethodName, _chosen
from tools.modelctl.compress import run as compressing
from tools.modelctl.compress.quantize import static_int8
from tools.modelctl.compress.subject import Subject
from tools.modelctl.errors import DeploymentNotFound


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a model, and one that nothing scores, whose builds are kept."""
    root = tmp_path_factory.mktemp("place")
    model_folder(root / "models", "small", toml=TOML, train=TRAIN)
    unscored = TRAIN.replace("return X, Network().predict(X)", "return X, None")
    model_folder(root / "models", "unscored", toml='task = "classification"\n', train=unscored)
    return root


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, place: Path, registry: Registry) -> Path:
    """That repository and an empty store, quick trials, and a terminal wide enough for every line."""
    monkeypatch.setattr(paths, "MODELS", place / "models")
    monkeypatch.setattr(paths, "BUILD", place / "build")
    monkeypatch.setattr(console.out, "width", 240)
    monkeypatch.setattr(console.err, "width", 240)
    for where in ("assess", "safety"):
        monkeypatch.setattr(f"tools.modelctl.{where}.attempt", lambda *_: TRIED)
    monkeypatch.setattr(compressing, "_SECONDS", 0.02)
    monkeypatch.setattr(origins, "find", lambda *_, **__: SimpleNamespace(name="dev", registry=lambda *_: registry))
    return place


@pytest.fixture
def registry() -> Registry:
    return Registry(MemoryStore())


@pytest.fixture
def parent(registry: Registry) -> str:
    """The version of `small` that is published."""
    return lifecycle.publish(registry, built("small")).version


def built(name: str) -> Built:
    return lifecycle.build(ModelConfig.load(paths.MODELS / name), models=paths.MODELS, output=paths.BUILD)


def run(*arguments: str, code: int = 0, deployment: str = "dev") -> Result:
    result = CliRunner().invoke(app, ["--deployment", deployment, "compress", *arguments])
    assert result.exit_code == code, result.output
    return result


def lineage(registry: Registry, version: str) -> Lineage:
    found = registry.manifest("small", version).lineage
    assert found is not None
    return found


def test_the_methods_are_those_that_there_are() -> None:
    assert [str(name) for name in MethodName] == [*compressing.METHODS, "auto"]


def test_the_latest_version_is_made_smaller_and_the_next_step_promotes_it(registry: Registry, parent: str, tmp_path: Path) -> None:
    result = run("small", "--method", "static-int8", "--max-drop", "0.05", "--output", str(tmp_path / "edge" / "small.onnx"))
    version = registry.versions("small")[-1]
    assert version != parent
    assert (lineage(registry, version).parent, lineage(registry, version).transform) == (parent, "static-int8")
    assert result.stdout.strip().splitlines()[-1] == f"Next: modelctl promote small {version} --deployment dev"
    assert "static-int8" in result.stdout
    assert "Note" not in result.stderr.replace("Note: static-int8: slower", "")
    onnx.checker.check_model(onnx.load(tmp_path / "edge" / "small.onnx"))


def test_what_fails_its_limit_publishes_nothing_unless_it_is_forced(
    registry: Registry, parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(compressing.METHODS, "static-int8", worse)
    edge = tmp_path / "small.onnx"
    result = run("small", "--method", "static-int8", "--output", str(edge), code=1)
    assert "accuracy is worse by" in result.stderr
    assert "Nothing was published" in result.stdout
    assert registry.versions("small") == [parent]
    assert not edge.exists()
    run("small", "--method", "static-int8", "--force", "for a test")
    assert lineage(registry, registry.versions("small")[-1]).forced == "for a test"


def a_little_worse(subject: Subject) -> onnx.ModelProto:
    """In 8 bits, and the first class is answered more seldom."""
    model = onnx.ModelProto()
    model.CopyFrom(subject.model)
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "bias1")
    values = numpy_helper.to_array(bias) - np.array([2.5, 0, 0, 0], np.float32)
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    return static_int8(Subject(config=subject.config, model=model, rows=subject.rows))


def test_one_after_the_other_may_lose_no_more_than_one(registry: Registry, parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second changes nothing, and what the first has lost is held against it."""
    monkeypatch.setitem(compressing.METHODS, "static-int8", a_little_worse)
    (first,) = json.loads(run("small", "--method", "static-int8", "--max-drop", "0.08", "--json").stdout)["results"]
    assert 0.03 < first["drop"] <= 0.08
    result = run("small", "--method", "optimize", "--max-drop", "0.03", code=1)
    assert f"accuracy is worse by {first['drop']:.4g} than that of {parent}, which no compression made" in result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows[2:6]] == ["parent", registry.versions("small")[-1][-8:], "static-int8", "optimize"]
    assert rows[2][3] == rows[5][4] == f"{first['drop']:.4g}"


def test_what_is_interrupted_publishes_nothing(registry: Registry, parent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the second method works, when the first has made something already."""
    for method in ("dynamic-int8", "fp16", "prune", "tree-prune", "distill"):
        monkeypatch.delitem(compressing.METHODS, method)

    def interrupt(_: object) -> onnx.ModelProto:
        raise KeyboardInterrupt

    monkeypatch.setitem(compressing.METHODS, "optimize", interrupt)
    run("small", "--method", "auto", "--max-drop", "0.05", code=130)
    assert registry.versions("small") == [parent]


def test_auto_publishes_the_best_or_all_of_the_front_and_the_best_last(
    registry: Registry, parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for method in ("dynamic-int8", "prune", "distill", "optimize"):
        monkeypatch.delitem(compressing.METHODS, method)
    result = run("small", "--method", "auto", "--max-drop", "0.05")
    assert "tree-prune was left out: " in result.stdout
    assert "● on the front" in result.stdout
    version = registry.versions("small")[-1]
    assert result.stdout.strip().splitlines()[-1].startswith(f"Next: modelctl promote small {version}")
    options = ("--parent", parent, "--method", "auto", "--max-drop", "0.05", "--all", "--json")
    found = json.loads(run("small", *options).stdout)["results"]
    front = {point["method"] for point in found[0]["front"] if point["on_front"]}
    assert front & {each["method"] for each in found if each["problems"]} == set()
    assert {each["method"] for each in found if each["published"]} == front - {"parent"}


def test_all_are_those_of_the_front() -> None:
    best, beaten, last = (SimpleNamespace(method=name) for name in ("best", "beaten", "last"))
    comparison: Any = SimpleNamespace(held=[best, beaten, last], front={"parent", "best", "last"})
    assert _chosen(comparison, MethodName.AUTO, every=True, forced=False) == [last, best]
    assert _chosen(comparison, MethodName.AUTO, every=False, forced=False) == [best]


def test_a_dry_run_needs_no_deployment_nor_anything_published(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ("small", "--method", "fp16", "--dry-run", "--json")
    result = run(*options)
    assert "no version of small is published in dev, so this is about the local build" in result.stderr
    assert registry.versions("small") == []

    def nowhere(*_: object, **__: object) -> None:
        raise DeploymentNotFound("local", "nothing runs", "make run")

    monkeypatch.setattr(origins, "find", nowhere)
    for found in (json.loads(result.stdout), json.loads(run(*options, deployment="local").stdout)):
        assert found["parent"] is None
        (made,) = found["results"]
        assert (made["method"], made["published"], made["problems"]) == ("fp16", None, [])
        assert made["size_ratio"] < 0.7
    assert "there is no deployment 'local'" in run("small", "--method", "fp16", deployment="local", code=1).stderr


def test_what_nothing_scores_is_published_only_with_a_reason(registry: Registry) -> None:
    lifecycle.publish(registry, built("unscored"))
    options = ("unscored", "--method", "static-int8", "--max-drop", "0.5")
    result = run(*options, code=1)
    assert "judged by 100 rows that load() of train.py gives no y for" in result.stderr
    assert '--force "' in result.stdout.strip().splitlines()[-1]
    assert len(registry.versions("unscored")) == 1
    assert '--force "' in run(*options, "--dry-run").stdout.strip().splitlines()[-1]
    run(*options, "--force", "these rows are real")
    assert len(registry.versions("unscored")) == 2


def test_force_is_about_one_method() -> None:
    assert "--force needs one method" in run("small", "--method", "auto", "--force", "why", code=1).stderr
