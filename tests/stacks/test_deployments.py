"""What deployments have in common, and where they differ."""

from __future__ import annotations

import pytest

import app
from stacks.settings import APPLICATION, DEV, PROD, DeploymentSettings
from stacks.zip_functions import LayerMissing
from tests.stacks.factories import a_heavy_model, a_model, properties, synthesize, text
from tools.modelctl.deployment import stack_name

pytestmark = pytest.mark.xdist_group("stacks")


@pytest.fixture(scope="module")
def prod(synthesized):
    return synthesized(PROD)


def test_stacks_of_production_can_not_be_deleted_by_mistake(prod, dev):
    """A queue takes the jobs with it that wait in it."""
    for templates, protected in ((prod, True), (dev, False)):
        of = templates.deployment
        assert {stack.termination_protection for stack in (of.store, of.batch, of.serving)} == {protected}


def test_what_costs_at_rest_can_always_be_deleted(prod):
    """The CLI deletes the stack of the endpoints when it is empty, which a protected one would refuse."""
    assert prod.deployment.gpu.termination_protection is False


def test_logs_of_production_are_kept_for_a_year(prod):
    assert {each["RetentionInDays"] for each in properties(prod.serving, "AWS::Logs::LogGroup")} == {365}


@pytest.mark.parametrize("stack", ["store", "batch", "serving", "gpu", "examples"])
def test_everything_is_tagged_with_its_deployment(prod, stack):
    """CloudFormation puts a stack's tags on each of its resources."""
    assert getattr(prod.deployment, stack).tags.tag_values() == {"Application": APPLICATION, "Deployment": "prod"}


def test_modelctl_looks_for_the_stacks_under_the_names_they_have(prod):
    assert prod.deployment.store.stack_name == stack_name("prod", "Store")
    assert prod.deployment.batch.stack_name == stack_name("prod", "Batch")
    assert prod.deployment.examples.stack_name == stack_name("prod", "Examples")
    assert prod.deployment.serving.stack_name == stack_name("prod", "Serving")
    assert prod.deployment.gpu.stack_name == stack_name("prod", "Gpu")


def test_the_store_is_deployed_first_and_what_runs_jobs_before_what_takes_them(dev):
    assert {stack.node.id for stack in dev.deployment.batch.dependencies} == {"Store"}
    assert {stack.node.id for stack in dev.deployment.serving.dependencies} == {"Store", "Batch"}


def test_endpoints_are_deployed_last(dev):
    """Their order among the rest is free, but for the store; what says how to make them is there first."""
    assert {"Store", "Serving"} <= {stack.node.id for stack in dev.deployment.gpu.dependencies}


@pytest.mark.parametrize("stack", ["store", "batch", "serving", "gpu", "examples"])
def test_no_account_is_asked_at_synth(dev, stack):
    assert getattr(dev.deployment, stack).environment == "aws://unknown-account/unknown-region"


def test_nothing_but_what_must_be_found_is_physically_named(dev):
    """What is named can't be replaced; the parameters are how stacks find the store. A model's function is what other services invoke."""
    names = ("BucketName", "TableName", "RoleName", "LogGroupName", "AliasName", "LayerName")
    everything = [each for template in dev.all for each in template.to_json().get("Resources", {}).values()]
    assert not [each for each in everything if each.get("Properties", {}).keys() & set(names)]
    functions = [each for template in dev.all for each in properties(template, "AWS::Lambda::Function")]
    assert [each["FunctionName"] for each in functions if "FunctionName" in each] == ["onnx-dev-fruit"]


def test_a_model_that_moves_to_an_endpoint_has_a_function_of_another_name(synthesized):
    """CloudFormation makes the new one, a zip instead of an image, before it deletes the old one."""
    on_lambda, on_endpoint = (synthesized(DEV, model) for model in (a_model("pictures"), a_heavy_model("pictures")))
    names = [
        [each["FunctionName"] for each in properties(templates.serving, "AWS::Lambda::Function") if "FunctionName" in each]
        for templates in (on_lambda, on_endpoint)
    ]
    assert names == [["onnx-dev-pictures"], ["onnx-dev-pictures-gpu"]]


def test_a_deployment_without_models_can_be_made(tmp_path):
    """The first deploy of a fork that has removed the sample models."""
    templates = synthesize(DEV, (), folder=tmp_path)
    assert "Resources" not in templates.batch.to_json()
    assert len(properties(templates.serving, "AWS::Lambda::Function")) == 3
    assert "/dev/v2" in text(templates.serving.to_json()["Outputs"]["Curl"]["Value"])


@pytest.mark.parametrize(
    ("broken", "told"),
    [("memory = 64\n", r"function\.memory: found 64; expected"), ("memroy = 512\n", r"function\.memroy: found 512; expected: no such key")],
)
def test_a_broken_model_toml_is_refused_with_key_found_and_expected(tmp_path, broken, told):
    (tmp_path / "fruit").mkdir()
    (tmp_path / "fruit" / "model.toml").write_text(f'task = "classification"\n[function]\n{broken}')
    with pytest.raises(SystemExit, match=told):
        app.main(tmp_path)


def test_settings_that_exclude_each_other_are_refused(tmp_path):
    (tmp_path / "fruit").mkdir()
    (tmp_path / "fruit" / "model.toml").write_text('task = "classification"\n[function]\nsnap_start = true\nprovisioned_concurrency = 1\n')
    with pytest.raises(SystemExit, match="not both"):
        app.main(tmp_path)


def test_a_missing_layer_names_the_command_that_makes_it(monkeypatch, tmp_path):
    monkeypatch.setattr("stacks.zip_functions.DEPENDENCIES", tmp_path / "nothing")
    with pytest.raises(LayerMissing, match=r"python -m tools\.layers"):
        synthesize(DEV, (), folder=tmp_path / "cdk.out")


@pytest.fixture
def heavy_folder(tmp_path):
    """One heavy model, and the deployments that main() made of it."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "model.toml").write_text('task = "classification"\ntarget = "gpu"\n')
    return tmp_path


@pytest.mark.parametrize(("context", "gpu"), [({}, [False, True]), ({"gpu": "on"}, [True, True]), ({"gpu": "off"}, [False, False])])
def test_context_decides_over_the_settings(heavy_folder, monkeypatch, context, gpu):
    made = []
    monkeypatch.setattr(app, "Deployment", lambda *_, settings, **__: made.append(settings.gpu))
    app.main(heavy_folder, context)
    assert made == gpu


def test_another_context_is_refused(heavy_folder):
    with pytest.raises(SystemExit, match=r"the context gpu is 'maybe'; expected on or off: cdk deploy 'dev/\*' -c gpu=on"):
        app.main(heavy_folder, {"gpu": "maybe"})


def test_a_name_that_no_endpoint_can_have_ends_synth_with_a_sentence(heavy_folder, monkeypatch):
    (heavy_folder / "pictures" / "model.toml").write_text('task = "classification"\ntarget = "gpu"\n[gpu]\nmode = "async"\n')
    (heavy_folder / "pictures").rename(heavy_folder / ("m" * 48))
    monkeypatch.setattr(app, "Deployment", lambda *_, settings, models: [settings.endpoint_name(model) for model in models])
    with pytest.raises(SystemExit, match=r"the endpoint of m+ would be named serverless-onnx-dev-m+, which SageMaker refuses"):
        app.main(heavy_folder)


def test_a_name_that_no_function_can_have_ends_synth_with_a_sentence(heavy_folder, monkeypatch):
    (heavy_folder / "pictures").rename(heavy_folder / ("m" * 48))
    monkeypatch.setattr(app, "DEV", DeploymentSettings(name="a-long-name"))
    monkeypatch.setattr(app, "Deployment", lambda *_, settings, models: [settings.function_name(model) for model in models])
    with pytest.raises(SystemExit, match=r"the function of m+ would be named onnx-a-long-name-m+-gpu, and a name has at most 64"):
        app.main(heavy_folder)
