"""How the functions are made from model.toml."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aws_cdk import FileSystem, IgnoreMode
from aws_cdk.assertions import Match

from modelserve.settings import AuthorizerSettings, CatalogSettings, JobsSettings, PredictSettings
from stacks.functions import BUILD_CONTEXT
from stacks.settings import DEV
from tests.stacks.factories import ROOT, Templates, a_model, properties, text

pytestmark = pytest.mark.xdist_group("stacks")


def predict(templates: Templates, name: str = "fruit") -> dict[str, Any]:
    (found,) = properties(templates.serving, "AWS::Lambda::Function", with_={"Description": Match.string_like_regexp(f"^{name}: ")})
    return found


def environment(function: dict[str, Any]) -> dict[str, str]:
    return {name: text(value) for name, value in function["Environment"]["Variables"].items()}


def test_predicts_environment_is_what_its_settings_write(dev):
    variables = environment(predict(dev))
    read = PredictSettings.from_env(variables)
    assert read == PredictSettings(
        model_name="fruit",
        model_bucket=variables["MODEL_BUCKET"],
        deadline_seconds=27,
        max_body_bytes=read.max_body_bytes,
        job_bucket=variables["JOB_BUCKET"],
        job_table=variables["JOB_TABLE"],
        high_queue_url="https://sqs.<AWS::Region>.<AWS::URLSuffix>/<AWS::AccountId>/onnx-dev-jobs-high",
        low_queue_url="https://sqs.<AWS::Region>.<AWS::URLSuffix>/<AWS::AccountId>/onnx-dev-jobs-low",
        high_plans=("premium",),
        service="serverless-onnx-dev",
    )
    assert read.to_env() == variables


def test_jobs_are_kept_for_as_long_as_the_deployment_says(changed):
    read = PredictSettings.from_env(environment(predict(changed)))
    assert (read.job_days, read.upload_megabytes) == (3, 64)


@pytest.mark.parametrize(("name", "memory"), [("smallest", 512), ("core", 1769), ("largest", 10_240)])
def test_the_largest_body_fits_the_memory_as_json(changed, name, memory):
    """Reading JSON takes up to 37 times its size; as much again is the model's and the runtime's."""
    limit = PredictSettings.from_env(environment(predict(changed, name))).max_body_bytes
    assert memory * 2**20 / 4 < 37 * limit < memory * 2**20 / 2


def test_the_catalogs_environment_is_what_its_settings_write(synthesized):
    templates = synthesized(DEV, a_model("fruit"), a_model("tumour"))
    variables = environment(predict(templates, "catalog"))
    read = CatalogSettings.from_env(variables)
    assert read == CatalogSettings(model_names=("fruit", "tumour"), model_bucket=variables["MODEL_BUCKET"], service="serverless-onnx-dev")
    assert read.to_env() == variables


def test_the_authorizers_environment_is_what_its_settings_write(dev):
    variables = environment(predict(dev, "authorizer"))
    read = AuthorizerSettings.from_env(variables)
    assert read == AuthorizerSettings(client_table=variables["CLIENT_TABLE"], service="serverless-onnx-dev")
    assert read.to_env() == variables


def test_the_environment_of_the_function_of_jobs_is_what_its_settings_write(changed):
    variables = environment(predict(changed, "jobs"))
    read = JobsSettings.from_env(variables)
    assert read == JobsSettings(
        job_bucket=variables["JOB_BUCKET"],
        job_table=variables["JOB_TABLE"],
        upload_megabytes=64,
        job_days=3,
        cors_origin="https://example.org",
        service="serverless-onnx-dev",
    )
    assert read.to_env() == variables


@pytest.mark.parametrize(
    ("function", "variable", "name"),
    [
        ("fruit", "MODEL_BUCKET", "bucket"),
        ("fruit", "JOB_BUCKET", "jobs"),
        ("fruit", "JOB_TABLE", "job-table"),
        ("authorizer", "CLIENT_TABLE", "clients"),
        ("jobs", "JOB_BUCKET", "jobs"),
        ("jobs", "JOB_TABLE", "job-table"),
    ],
)
def test_bucket_and_table_are_the_stores(dev, function, variable, name):
    parameter = environment(predict(dev, function))[variable].strip("<>")
    assert dev.serving.to_json()["Parameters"][parameter] == {
        "Type": "AWS::SSM::Parameter::Value<String>",
        "Default": f"/serverless-onnx/dev/store/{name}",
    }
    dev.store.has_resource_properties("AWS::SSM::Parameter", {"Name": f"/serverless-onnx/dev/store/{name}"})


def test_model_toml_decides_the_size(changed):
    function = predict(changed, "quick")
    assert (function["MemorySize"], function["Timeout"], function["EphemeralStorage"]) == (3008, 10, {"Size": 2048})
    assert PredictSettings.from_env(environment(function)).deadline_seconds == 8


def test_concurrency_is_reserved_only_when_asked(changed):
    assert "ReservedConcurrentExecutions" not in predict(changed)
    assert predict(changed, "quick")["ReservedConcurrentExecutions"] == 5


def test_provisioned_concurrency_belongs_to_the_version_that_routes_call(synthesized):
    templates = synthesized(DEV, a_model(provisioned_concurrency=2))
    (version,) = templates.serving.find_resources(
        "AWS::Lambda::Version", {"Properties": {"ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 2}}}
    )
    assert f"functions/<{version}>/invocations" in uris(templates)
    assert version in str(properties(templates.serving, "AWS::Lambda::Permission"))


def test_snap_start_belongs_to_the_version_that_routes_call(synthesized):
    templates = synthesized(DEV, a_model(snap_start=True))
    function = predict(templates)
    assert (function["PackageType"], function["SnapStart"]) == ("Image", {"ApplyOn": "PublishedVersions"})
    (version,) = templates.serving.find_resources("AWS::Lambda::Version")
    assert f"functions/<{version}>/invocations" in uris(templates)


def test_the_image_is_based_on_one_whose_snapshots_lambda_coordinates():
    """AWS's own for Python 3.12 or later; any other needs a label too, or the version can't be published."""
    (base,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "functions/predict/Dockerfile").read_text("utf-8"), re.MULTILINE)
    name, _, version = base.partition(":")
    assert name == "public.ecr.aws/lambda/python"
    assert tuple(map(int, version.split("."))) >= (3, 12)


@pytest.mark.parametrize("warm", [{"snap_start": True}, {"provisioned_concurrency": 1}])
def test_a_version_goes_when_another_takes_its_place(synthesized, warm):
    """It would go on costing what keeps it warm."""
    synthesized(DEV, a_model(**warm)).serving.all_resources("AWS::Lambda::Version", {"DeletionPolicy": "Delete"})


def test_without_either_routes_call_the_function(dev):
    dev.serving.resource_count_is("AWS::Lambda::Version", 0)
    assert re.search(r"functions/<fruit\w+\.Arn>/invocations", uris(dev))


def uris(templates: Templates) -> str:
    return "\n".join(text(method["Integration"]["Uri"]) for method in properties(templates.serving, "AWS::ApiGateway::Method"))


def test_all_models_of_an_architecture_share_one_image(synthesized):
    templates = synthesized(DEV, a_model("fruit"), a_model("tumour"), a_model("digits", architecture="arm64"))
    images = {name: str(predict(templates, name)["Code"]["ImageUri"]) for name in ("fruit", "tumour", "digits")}
    assert images["fruit"] == images["tumour"] != images["digits"]
    assert [predict(templates, name)["Architectures"] for name in ("fruit", "digits")] == [["x86_64"], ["arm64"]]


def test_the_image_is_told_which_handler_to_run(dev):
    assert predict(dev)["ImageConfig"] == {"Command": ["functions.predict.handler.handler"]}


def test_every_function_is_traced(dev):
    assert all(each["TracingConfig"] == {"Mode": "Active"} for each in properties(dev.serving, "AWS::Lambda::Function"))


def test_every_function_logs_to_a_group_that_forgets(dev):
    groups = dev.serving.find_resources("AWS::Logs::LogGroup", {"Properties": {"RetentionInDays": 30}})
    used = [each["LoggingConfig"]["LogGroup"]["Ref"] for each in properties(dev.serving, "AWS::Lambda::Function")]
    assert len(set(used)) == len(used) == 4
    assert set(used) <= set(groups)
    assert len(groups) == len(properties(dev.serving, "AWS::Logs::LogGroup"))


def fingerprint(folder) -> str:
    return FileSystem.fingerprint(str(folder), exclude=BUILD_CONTEXT, ignore_mode=IgnoreMode.DOCKER)


@pytest.fixture
def repository(tmp_path):
    """The files that the image could be made of."""
    for name in ("functions/predict/handler.py", "functions/catalog/handler.py", "layers/modelserve/python/modelserve/s3.py", "README.md"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "unrelated",
    [
        "README.md",
        "functions/catalog/handler.py",
        "models/fruit/train.py",
        "layers/other/python/other.py",
        "layers/modelserve/python/modelserve/__pycache__/s3.cpython-313.pyc",
        "functions/predict/__pycache__/handler.cpython-313.pyc",
    ],
)
def test_an_unrelated_file_leaves_the_image_as_it_is(repository, unrelated):
    before = fingerprint(repository)
    (repository / unrelated).parent.mkdir(parents=True, exist_ok=True)
    (repository / unrelated).write_text("edited")
    assert fingerprint(repository) == before


@pytest.mark.parametrize(
    "related", ["functions/predict/handler.py", "layers/modelserve/python/modelserve/s3.py", "functions/predict/new.py"]
)
def test_a_file_of_the_function_changes_the_image(repository, related):
    before = fingerprint(repository)
    (repository / related).write_text("edited")
    assert fingerprint(repository) != before


def test_the_dockerfile_copies_only_what_is_in_the_build_context():
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "functions/predict/Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    copied = [source for line in lines for source in line.split()]
    assert "functions/trim.py" in copied
    assert all(source.startswith(("functions/trim.py", "functions/predict/", "layers/modelserve/")) for source in copied)
