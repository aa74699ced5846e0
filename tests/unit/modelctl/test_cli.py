"""The commands as a person types them, on stacks that moto deployed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner, Result

from models.config import ModelConfig
from modelserve.registry import Registry
from tests.unit.modelctl.factories import TOML, TRAIN, model_folder
from tools.modelctl import console, lifecycle, lint, paths
from tools.modelctl.cli import app
from tools.modelctl.deployment import Deployment, find, stack_name
from tools.modelctl.errors import EndpointFailed


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty repository, and a terminal wide enough for every table."""
    monkeypatch.setattr(paths, "MODELS", tmp_path / "models")
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build")
    monkeypatch.setattr(paths, "LOCAL_DEPLOYMENT", tmp_path / "deployment.json")
    monkeypatch.setattr("tools.modelctl.deployment.LOCAL_DEPLOYMENT", tmp_path / "deployment.json")
    monkeypatch.setattr(console.out, "width", 240)
    return tmp_path


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        for name in ("dev", "prod"):
            deploy(name, "Store", {"ModelBucket": {"Ref": "Bucket"}})
        yield


def deploy(deployment: str, stack: str, outputs: dict[str, Any]) -> None:
    """What CDK's stack leaves, as far as modelctl looks."""
    template = {
        "Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"VersioningConfiguration": {"Status": "Enabled"}}}},
        "Outputs": {key: {"Value": value} for key, value in outputs.items()},
    }
    client: Any = boto3.client("cloudformation")
    client.create_stack(StackName=stack_name(deployment, stack), TemplateBody=json.dumps(template))


def run(*arguments: str, deployment: str = "dev", code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(app, ["--deployment", deployment, *arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result


def last_line(result: Result) -> str:
    return result.stdout.strip().splitlines()[-1]


def publish(workplace: Path, *, strength: int = 100, deployment: str = "dev") -> str:
    """A version of a model of which `strength` makes other bytes."""
    model_folder(workplace / "models", train=TRAIN.replace("C=100", f"C={strength}"))
    return str(json.loads(run("publish", "step", "--json", deployment=deployment).stdout)["version"])


def registry(deployment: str = "dev") -> Registry:
    return find(deployment).registry()


def test_new_train_publish_promote_lead_from_one_to_the_next(workplace: Path, aws: None) -> None:
    """Each command's last line is the next one to type, up to a model that is served."""
    (workplace / "models").mkdir()
    step = "modelctl new iris"
    for begin in ("modelctl train iris", "modelctl publish iris", "modelctl promote iris 2", "modelctl predict iris"):
        result = run(*step.removeprefix("modelctl ").removesuffix(" --deployment dev").split())
        step = last_line(result).removeprefix("Next: ")
        assert step.startswith(begin)
    assert registry().alias("iris", "production").version == registry().versions("iris")[0]


def test_a_new_model_meets_its_gates_as_it_is(workplace: Path) -> None:
    (workplace / "models").mkdir()
    run("new", "iris")
    config = ModelConfig.load(workplace / "models" / "iris")
    assert lifecycle.build(config, models=workplace / "models", output=workplace / "build").passed


def test_new_does_not_touch_a_folder_that_is_there(workplace: Path) -> None:
    folder = model_folder(workplace / "models")
    assert "is there already" in run("new", "step", code=1).stderr
    assert (folder / "train.py").read_text() == TRAIN


@pytest.mark.parametrize("name", ["Iris", "1st", "../up", "a-b"])
def test_new_refuses_a_name_that_cannot_be_deployed(workplace: Path, name: str) -> None:
    assert "lower-case letter" in run("new", name, code=1).stderr


def test_a_broken_model_toml_is_told_key_by_key_and_without_a_traceback(workplace: Path) -> None:
    model_folder(workplace / "models", toml='task = "guessing"\nmemory = 5')
    result = run("train", "step", code=1)
    assert "task: found 'guessing'" in result.stderr
    assert "memory: found 5" in result.stderr
    assert "Traceback" not in result.output


def test_train_prints_json_alone_on_stdout(workplace: Path) -> None:
    model_folder(workplace / "models")
    report = json.loads(run("train", "step", "--json").stdout)
    assert report["passed"]
    assert report["parity"]["rows"] == 20
    assert Path(report["model"]).is_file()


def test_evaluate_exits_1_when_a_gate_fails(workplace: Path) -> None:
    model_folder(workplace / "models", toml=TOML.replace(">= 0.9", ">= 1.1"))
    result = run("evaluate", "step", code=1)
    assert "accuracy >= 1.1 doesn't hold" in result.stderr


def test_evaluate_cross_validates_when_asked(workplace: Path) -> None:
    model_folder(workplace / "models")
    found = json.loads(run("evaluate", "step", "--folds", "4", "--json").stdout)["cross_validation"]["accuracy"]
    assert 0.8 < found["mean"] <= 1
    assert found["deviation"] >= 0


def test_evaluate_shows_intervals_and_classes_and_keeps_what_folds_found(workplace: Path) -> None:
    gates = '0.9", "recall[low] >= 0.5", "f1 >= production - 0.1"]'
    model_folder(workplace / "models", toml=TOML.replace('0.9"]', gates))
    shown = run("evaluate", "step", "--folds", "3").stdout
    assert all(text in shown for text in ("20 of 80 rows held out", "95% interval", "recall[low]", "at promote", "Classes", "Confusion"))
    assert "mean of 3 folds" in shown
    report = json.loads((workplace / "build" / "step" / "report.json").read_text())
    assert report["evaluation"]["cross_validation"]["folds"] == 3
    assert "mean of 3 folds" in run("evaluate", "step").stdout


@pytest.mark.parametrize(("folds", "message"), [("1", "expected --folds 2 or more"), ("200", "can't be split into 200 folds")])
def test_evaluate_refuses_folds_that_leave_no_rows(workplace: Path, folds: str, message: str) -> None:
    model_folder(workplace / "models")
    assert message in run("evaluate", "step", "--folds", folds, code=1).stderr


def test_publish_twice_says_so_and_gives_the_same_version(workplace: Path, aws: None) -> None:
    version = publish(workplace)
    assert f"is published already as {version}" in run("publish", "step").stdout


def test_publish_of_what_is_not_the_newest_version_says_so(workplace: Path, aws: None) -> None:
    """`promote latest` would take another one."""
    version = publish(workplace)
    newer = publish(workplace, strength=1)
    model_folder(workplace / "models", train=TRAIN)
    again = run("publish", "step")
    assert f"is published already as {version}" in again.stdout
    assert f"Note: {newer} is newer, and what `latest` means" in again.stderr
    assert f"Next: modelctl promote step {version}" in again.stdout


def test_publish_of_a_failing_model_names_the_way_around_which_is_recorded(workplace: Path, aws: None) -> None:
    model_folder(workplace / "models", toml=TOML.replace(">= 0.9", ">= 1.1"))
    assert 'modelctl publish step --force "REASON"' in run("publish", "step", code=1).stderr
    run("publish", "step", "--force", "only a demo")
    assert "only a demo" in run("show", "step", "latest").stdout
    assert "was forced: only a demo" in run("promote", "step", "latest", code=1).stderr
    assert "was forced: only a demo" in run("promote", "step", "latest", "--force", "the demo is today").stderr
    assert registry().history("step")[-1].reason == "forced: the demo is today"


def test_promote_records_the_callers_arn_and_the_reason(workplace: Path, aws: None) -> None:
    version = publish(workplace)
    run("promote", "step", version[-8:], "--reason", "first one")
    (event,) = registry().history("step")
    assert event.to_version == version
    assert event.by.startswith("arn:aws:")
    assert event.reason == "first one"


def test_promote_is_refused_where_production_is_better_unless_a_reason_is_given(
    workplace: Path, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One reason for all that speaks against it, gates and safety alike; going back needs none. Nobody else's move is written over."""
    toml = TOML.replace('0.9"]', '0.9", "log_loss <= production + 0.01"]')
    for strength in (100, 1):
        model_folder(workplace / "models", toml=toml, train=TRAIN.replace("C=100", f"C={strength}"))
        run("publish", "step")
    strong, weak = registry().versions("step")
    with monkeypatch.context() as patch:  # who promotes is asked last, when all is judged
        patch.setattr(Deployment, "caller", lambda _: registry().promote("step", weak, alias="production", by="bob", reason="bob's").alias)
        assert "moved by somebody else at the same time" in run("promote", "step", strong, code=1).stderr
    assert registry().alias("step", "production").version == weak
    run("promote", "step", strong)
    refused = run("promote", "step", weak, "--alias", "candidate", code=1).stderr
    assert f"step was not promoted to {weak}" in refused
    assert f"is needed (production, {strong}, has" in refused
    assert f'modelctl promote step {weak} --alias candidate --force "REASON"' in refused
    monkeypatch.setattr(lint, "MAX_NODES", 1)
    forced = run("promote", "step", weak, "--force", "we know", "--reason", "Friday").stderr
    assert "at most 1 are served" in forced
    assert "is needed (production" in forced
    run("rollback", "step")
    assert [event.reason for event in registry().history("step")] == ["bob's", "", "Friday; forced: we know", ""]
    assert registry().alias("step", "production").version == strong


@pytest.mark.parametrize("reason", ["[/]", "[red]", "a\nb", "{}%s", "ü \u200b 🍋"])
def test_any_text_can_be_a_reason(workplace: Path, aws: None, reason: str) -> None:
    """None of it is taken for a style, or breaks the table."""
    publish(workplace)
    run("promote", "step", "latest", "--reason", reason)
    assert json.loads(run("history", "step", "--json").stdout)[0]["reason"] == reason
    assert reason.split("\n", maxsplit=1)[0] in run("history", "step").stdout


def test_promote_of_what_is_promoted_already_moves_nothing(workplace: Path, aws: None) -> None:
    publish(workplace)
    run("promote", "step", "latest")
    assert "already" in run("promote", "step", "latest").stdout
    assert len(registry().history("step")) == 1


def test_promote_of_nothing_that_exists_says_what_exists(workplace: Path, aws: None) -> None:
    publish(workplace)
    assert "fits none of step's versions" in run("promote", "step", "cafe", code=1).stderr


def spoil(*, alias: str = "production", body: bytes | None = None, **changes: object) -> None:
    """Writes `body` over an alias of dev, or the alias with `changes` to its file."""
    bucket, client = find("dev").bucket, boto3.client("s3")
    key = f"models/step/aliases/{alias}.json"
    document = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    document["model"] |= changes
    client.put_object(Bucket=bucket, Key=key, Body=body or json.dumps(document).encode())


DAMAGES: dict[str, dict[str, Any]] = {"that cannot be read": {"body": b"{"}, "with another SHA-256": {"sha256": "0" * 64}}
REPAIR = "modelctl promote step VERSION --alias production"


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES)
def test_promote_of_what_is_promoted_already_repairs_an_alias(workplace: Path, aws: None, how: dict[str, Any]) -> None:
    version = publish(workplace)
    run("promote", "step", "latest")
    spoil(**how)
    assert f"production of step is now {version}" in run("promote", "step", "latest").stdout
    assert registry().damaged("step") == {}
    assert "already" in run("promote", "step", "latest").stdout


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("command", ["list", "show", "history"])
def test_a_damaged_alias_is_shown_with_what_repairs_it(workplace: Path, aws: None, command: str, how: dict[str, Any]) -> None:
    publish(workplace)
    run("promote", "step", "latest")
    name = [] if command == "list" else ["step"]
    assert run(command, *name).stderr == ""
    spoil(**how)
    result = run(command, *name)
    assert "alias production of step is damaged" in result.stderr
    assert REPAIR in result.stderr
    if command == "list":
        assert "production damaged" in result.stdout
        assert REPAIR in json.loads(run("list", "--json").stdout)[0]["damaged"]["production"]


@pytest.mark.parametrize("how", DAMAGES.values(), ids=DAMAGES)
def test_doctor_names_the_command_that_repairs_a_damaged_alias(workplace: Path, aws: None, how: dict[str, Any]) -> None:
    publish(workplace)
    run("promote", "step", "latest")
    spoil(**how)
    found = run("doctor", "--json", code=1).stdout
    (check,) = [check for check in json.loads(found) if check["what"] == "model step, production"]
    assert check["state"] == "fail"
    assert check["fix"] == f"{REPAIR} --deployment dev"
    assert not [check for check in json.loads(found) if check["what"] == "model step"]


def test_naming_a_version_by_an_alias_that_cannot_be_read_says_what_repairs_it(workplace: Path, aws: None) -> None:
    publish(workplace)
    run("promote", "step", "latest")
    spoil(body=b"{")
    assert REPAIR in run("show", "step", "production", code=1).stderr


def test_rollback_returns_to_what_was_before(workplace: Path, aws: None) -> None:
    first = publish(workplace)
    run("promote", "step", "latest")
    second = publish(workplace, strength=1)
    run("promote", "step", "latest")
    assert registry().alias("step", "production").version == second
    assert first in run("rollback", "step", "--reason", "worse").stdout
    assert registry().alias("step", "production").version == first
    assert "named no version before" in run("rollback", "step", code=1).stderr


def test_copy_brings_a_version_to_another_deployment(workplace: Path, aws: None) -> None:
    version = publish(workplace)
    result = run("copy", "step", "latest", "--from", "dev", "--to", "prod")
    (copied,) = registry("prod").versions("step")
    assert copied[-8:] == version[-8:]
    assert last_line(result) == f"Next: modelctl promote step {copied} --deployment prod"


def test_what_moves_prints_json_for_a_program(workplace: Path, aws: None) -> None:
    """The alias as it is now, moved or not, and the version that a copy has in its new place."""
    first, second = publish(workplace), publish(workplace, strength=1)
    commands = (("promote", "step", first), ("promote", "step", second), ("promote", "step", second), ("rollback", "step"))
    moved = [json.loads(run(*command, "--json").stdout) for command in commands]
    assert [(alias["alias"], alias["version"]) for alias in moved] == [
        ("production", version) for version in (first, second, second, first)
    ]
    copied = json.loads(run("copy", "step", first, "--from", "dev", "--to", "prod", "--json").stdout)
    assert [copied["version"]] == registry("prod").versions("step")


def test_copy_to_itself_is_refused(aws: None) -> None:
    assert "expected two deployments" in run("copy", "step", "latest", "--from", "dev", "--to", "dev", code=1).stderr


def test_prune_tells_what_it_deleted(workplace: Path, aws: None) -> None:
    first, second = publish(workplace), publish(workplace, strength=1)
    assert json.loads(run("prune", "step", "--keep", "1", "--json").stdout)["deleted"] == [first]
    assert registry().versions("step") == [second]


def test_list_shows_what_is_published_and_what_is_not(workplace: Path, aws: None) -> None:
    version = publish(workplace)
    run("promote", "step", "latest")
    model_folder(workplace / "models", "other")
    models = {model["name"]: model for model in json.loads(run("list", "--json").stdout)}
    assert models["step"]["aliases"] == {"production": version}
    assert models["other"]["versions"] == []
    shown = run("list")
    assert f"production → {version[-8:]}" in shown.stdout
    assert last_line(shown) == "Next: modelctl publish other --deployment dev"


def test_show_lists_versions_and_shows_one(workplace: Path, aws: None) -> None:
    version = publish(workplace)
    assert version in run("show", "step").stdout
    one = run("show", "step", "latest").stdout
    assert all(text in one for text in ("accuracy >= 0.9", "probabilities", "[-1, 2]", "scikit-learn", "model.onnx"))
    assert json.loads(run("show", "step", "latest", "--json").stdout)["version"] == version


@pytest.mark.parametrize("command", [("show", "step"), ("show", "step", "latest"), ("promote", "step", "latest"), ("prune", "step")])
def test_an_empty_store_is_no_traceback(aws: None, command: tuple[str, ...]) -> None:
    result = run(*command, code=1)
    assert "Traceback" not in result.output
    assert ("modelctl list" if command[0] == "prune" else "modelctl publish step") in result.stderr


def test_history_tells_each_move(workplace: Path, aws: None) -> None:
    version = publish(workplace)
    assert "modelctl promote step latest" in run("history", "step", code=1).stderr
    run("promote", "step", "latest", "--reason", "first one")
    assert all(text in run("history", "step").stdout for text in ("promote", version[-8:], "first one"))
    (event,) = json.loads(run("history", "step", "--json").stdout)
    assert event["to_version"] == version


def test_a_deployment_that_is_not_there_names_the_command_that_makes_it(workplace: Path) -> None:
    with mock_aws():
        assert "cdk deploy 'prod/*'" in run("list", deployment="prod", code=1).stderr


def test_the_deployment_may_be_named_by_the_environment_and_overruled(monkeypatch: pytest.MonkeyPatch, workplace: Path, aws: None) -> None:
    publish(workplace, deployment="prod")
    monkeypatch.setenv("MODELCTL_DEPLOYMENT", "prod")
    assert "Models of prod" in CliRunner().invoke(app, ["list"]).stdout
    assert "Models of dev" in CliRunner().invoke(app, ["list", "--deployment", "dev"]).stdout


def test_without_a_region_the_variable_to_set_is_named(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "export AWS_REGION=" in run("list", code=1).stderr


def test_an_unknown_profile_is_told_in_a_sentence(workplace: Path) -> None:
    result = run("list", "--profile", "nobody", code=1)
    assert "nobody" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("content", [None, "", "{}", '{"pid": 0}', '{"pid": 4194304, "region": "us-east-1"}'])
def test_without_make_run_the_local_deployment_is_not_there(workplace: Path, content: str | None) -> None:
    if content is not None:
        (workplace / "deployment.json").write_text(content)
    assert "make run" in run("list", deployment="local", code=1).stderr


@pytest.mark.parametrize(
    "command", sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)
)
def test_the_help_of_each_command_shows_an_example(command: str) -> None:
    name = command.removesuffix("_models")
    text = run(name, "--help").stdout
    assert "Example" in text
    assert f"modelctl {name}" in text


HEAVY = TOML.replace("labels", 'target = "gpu"\nlabels')


def publish_heavy(workplace: Path, *, strength: int = 100, gpu: str = "") -> str:
    model_folder(workplace / "models", toml=f"{HEAVY}\n[gpu]\n{gpu}\n", train=TRAIN.replace("C=100", f"C={strength}"))
    return str(json.loads(run("publish", "step", "--json").stdout)["version"])


def test_a_heavy_model_is_shown_copied_and_pruned_with_its_archive(workplace: Path, aws: None) -> None:
    version = publish_heavy(workplace)
    shown = run("show", "step", "latest").stdout
    assert "model.tar.gz" in shown
    assert "up to 32 rows at once" in shown
    copied = json.loads(run("copy", "step", "latest", "--from", "dev", "--to", "prod", "--json").stdout)
    assert (copied["max_batch"], {file["path"] for file in copied["files"]} >= {"model.tar.gz", "model.onnx"}) == (32, True)
    publish_heavy(workplace, strength=1)
    run("prune", "step", "--keep", "1")
    bucket = find("dev").bucket
    keys = [item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket=bucket, Prefix="models/step/versions/")["Contents"]]
    assert not [key for key in keys if version in key]
    assert len([key for key in keys if key.endswith("model.tar.gz")]) == 1


def test_promote_and_rollback_make_the_endpoint_ready_before_the_alias_moves(
    workplace: Path, aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [publish_heavy(workplace, strength=strength) for strength in (100, 1)]
    prepared: list[tuple[str, float, str | None]] = []

    def prepare(_: Any, manifest: Any, *, alias: str, wait: float, force: bool, **__: Any) -> bool:
        named = registry().aliases("step").get(alias)
        prepared.append((manifest.version, wait, named.version if named else None))
        return force

    monkeypatch.setattr("tools.modelctl.commands.releasing.prepare", prepare)
    run("promote", "step", versions[0], "--wait", "9")
    run("promote", "step", versions[1], "--force", "no time", "--reason", "Friday")
    run("promote", "step", versions[1])
    run("rollback", "step", "--wait", "7")
    first, second = versions
    assert prepared == [(first, 9, None), (second, 600, first), (second, 600, second), (first, 7, second)]
    assert [event.reason for event in registry().history("step")] == ["", "Friday; forced: no time", ""]


def test_a_promotion_of_an_async_model_updates_its_endpoint_and_is_kept_in_the_history(workplace: Path, aws: None) -> None:
    found = {"step": {"endpoint": "serverless-onnx-dev-step", "parameter": "StepVersion"}}
    template = {
        "Parameters": {"StepVersion": {"Type": "String", "Default": "none"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "StepVersion"}}}},
        "Outputs": {"AsyncEndpoints": {"Value": json.dumps(found)}},
    }
    client: Any = boto3.client("cloudformation")
    client.create_stack(StackName=stack_name("dev", "Gpu"), TemplateBody=json.dumps(template))

    def runs() -> str:
        (parameter,) = client.describe_stacks(StackName=stack_name("dev", "Gpu"))["Stacks"][0]["Parameters"]
        return str(parameter["ParameterValue"])

    versions = [publish_heavy(workplace, strength=strength, gpu='mode = "async"') for strength in (100, 1)]
    for version in versions:
        run("promote", "step", version)
        assert runs() == version
    run("rollback", "step")
    assert runs() == versions[0]
    moves = [(event.event, event.to_version) for event in registry().history("step")]
    assert moves == [("promote", versions[0]), ("promote", versions[1]), ("rollback", versions[0])]


@pytest.mark.parametrize("command", [("promote", "step", "latest"), ("rollback", "step")])
def test_an_endpoint_that_fails_leaves_the_alias(
    workplace: Path, aws: None, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    first = publish_heavy(workplace)
    run("promote", "step", first)
    second = publish_heavy(workplace, strength=1)
    if command[0] == "rollback":
        run("promote", "step", second)
    before = registry().alias("step", "production")

    def prepare(*_: Any, **__: Any) -> bool:
        raise EndpointFailed("step", "v", "it did not load", "Publish it again")

    monkeypatch.setattr("tools.modelctl.commands.releasing.prepare", prepare)
    assert "step was not promoted to v: it did not load. Publish it again" in run(*command, code=1).stderr
    assert registry().alias("step", "production") == before
