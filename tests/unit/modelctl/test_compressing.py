"""modelctl compress as a person types it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import onnx
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from modelserve.registry import Registry
from tests.unit.modelctl.compress.networks import TOML, TRAIN
from tests.unit.modelctl.compress.test_run import TRIED, worse
from tests.unit.modelctl.factories import model_folder
from tools.modelctl import console, paths
from tools.modelctl.cli import app
from tools.modelctl.commands.compressing import MethodName
from tools.modelctl.compress import run as compressing
from tools.modelctl.deployment import find, stack_name


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository with one model, quick trials, and a terminal wide enough for every table."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr("tools.modelctl.deployment.LOCAL_DEPLOYMENT", tmp_path / "deployment.json")
    monkeypatch.setattr(console.out, "width", 240)
    monkeypatch.setattr("tools.modelctl.assess.attempt", lambda *_: TRIED)
    monkeypatch.setattr("tools.modelctl.safety.attempt", lambda *_: TRIED)
    monkeypatch.setattr("tools.modelctl.assess._MEASURED_FOR", 0.001)
    monkeypatch.setattr(compressing, "_SECONDS", 0.02)
    model_folder(tmp_path / "models", "small", toml=TOML, train=TRAIN)
    return tmp_path


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        bucket = {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}}
        template = {"Resources": {"Bucket": bucket}, "Outputs": {"ModelBucket": {"Value": {"Ref": "Bucket"}}}}
        client: Any = boto3.client("cloudformation")
        client.create_stack(StackName=stack_name("dev", "Store"), TemplateBody=json.dumps(template))
        yield


def run(*arguments: str, code: int = 0, deployment: str = "dev") -> Result:
    result = CliRunner().invoke(app, ["--deployment", deployment, *arguments])
    assert result.exit_code == code, result.output
    return result


def registry() -> Registry:
    return find("dev").registry()


def test_the_methods_are_those_that_there_are() -> None:
    assert [str(name) for name in MethodName] == [*compressing.METHODS, "auto"]


def test_the_latest_version_is_made_smaller_and_the_next_step_promotes_it(aws: None, workplace: Path) -> None:
    parent = json.loads(run("publish", "small", "--json").stdout)["version"]
    result = run("compress", "small", "--method", "static-int8", "--max-drop", "0.05", "--output", str(workplace / "edge" / "small.onnx"))
    version = registry().versions("small")[-1]
    assert version != parent
    lineage = registry().manifest("small", version).lineage
    assert lineage is not None
    assert (lineage.parent, lineage.transform) == (parent, "static-int8")
    assert result.stdout.strip().splitlines()[-1] == f"Next: modelctl promote small {version} --deployment dev"
    assert "static-int8" in result.stdout
    onnx.checker.check_model(onnx.load(workplace / "edge" / "small.onnx"))


def test_what_fails_its_limit_publishes_nothing_unless_it_is_forced(aws: None, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("publish", "small")
    monkeypatch.setitem(compressing.METHODS, "static-int8", worse)
    edge = workplace / "small.onnx"
    result = run("compress", "small", "--method", "static-int8", "--output", str(edge), code=1)
    assert "accuracy is worse by" in result.stderr
    assert "Nothing was published" in result.stdout
    assert len(registry().versions("small")) == 1
    assert not edge.exists()
    run("compress", "small", "--method", "static-int8", "--force", "for a test")
    lineage = registry().manifest("small", registry().versions("small")[-1]).lineage
    assert lineage is not None
    assert lineage.forced == "for a test"


def test_what_is_interrupted_publishes_nothing(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the second method works, when the first has made something already."""
    run("publish", "small")
    for method in ("dynamic-int8", "fp16", "prune", "tree-prune", "distill"):
        monkeypatch.delitem(compressing.METHODS, method)

    def interrupt(_: object) -> onnx.ModelProto:
        raise KeyboardInterrupt

    monkeypatch.setitem(compressing.METHODS, "optimize", interrupt)
    run("compress", "small", "--method", "auto", "--max-drop", "0.05", code=130)
    assert len(registry().versions("small")) == 1


def test_auto_publishes_the_best_or_all_of_the_front_and_the_best_last(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run("publish", "small")
    for method in ("dynamic-int8", "prune", "distill", "optimize"):
        monkeypatch.delitem(compressing.METHODS, method)
    result = run("compress", "small", "--method", "auto", "--max-drop", "0.05")
    assert "tree-prune was left out: " in result.stdout
    assert "● on the front" in result.stdout
    parent, version = registry().versions("small")
    assert result.stdout.strip().splitlines()[-1].startswith(f"Next: modelctl promote small {version}")
    options = ("--parent", parent, "--method", "auto", "--max-drop", "0.05", "--all", "--json")
    found = json.loads(run("compress", "small", *options).stdout)["results"]
    good = {point["method"] for point in found[0]["front"] if point["on_front"]} - {each["method"] for each in found if each["problems"]}
    assert {each["method"] for each in found if each["published"]} == good - {"parent"}


def test_a_dry_run_needs_no_deployment(workplace: Path) -> None:
    found = json.loads(run("compress", "small", "--method", "fp16", "--dry-run", "--json", deployment="local").stdout)
    assert found["parent"] is None
    (result,) = found["results"]
    assert (result["method"], result["published"], result["problems"]) == ("fp16", None, [])
    assert result["size_ratio"] < 0.7
    assert "there is no deployment 'local'" in run("compress", "small", "--method", "fp16", deployment="local", code=1).stderr


def test_force_is_about_one_method() -> None:
    assert "--force needs one method" in run("compress", "small", "--method", "auto", "--force", "why", code=1).stderr
