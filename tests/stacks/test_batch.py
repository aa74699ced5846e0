"""The function that runs jobs: how it is made, and that it may do no more than it needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from aws_cdk import FileSystem, IgnoreMode
from aws_cdk.assertions import Match

from models.config import ModelConfig
from modelserve.settings import BatchSettings
from stacks.batch_functions import BUILD_CONTEXT
from stacks.settings import DEV
from tests.stacks.factories import ROOT, Templates, a_heavy_model, a_model, properties, statements, text
from tests.stacks.test_queues import logical_id, worker

pytestmark = pytest.mark.xdist_group("stacks")

STORE = "/serverless-onnx/dev/store/"


def a_strict_model(name: str) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "task": "regression", "serving": {"nan": "refuse"}})


@pytest.fixture(scope="module")
def mixed(synthesized) -> Templates:
    """Two models on Lambda, the second a strict one, and a heavy one."""
    found: Templates = synthesized(DEV, a_model("fruit"), a_strict_model("tumour"), a_heavy_model("pictures"))
    return found


def resolved(templates: Templates, value: Any) -> str:
    """With the parameters of the store in place of what refers to them."""
    parameters = templates.batch.to_json()["Parameters"]
    return re.sub(r"<(SsmParameter\w+)>", lambda match: f"<{parameters[match[1]]['Default'].removeprefix(STORE)}>", text(value))


def environment(templates: Templates) -> dict[str, str]:
    return {name: resolved(templates, value) for name, value in worker(templates)["Environment"]["Variables"].items()}


def test_it_reads_what_a_client_may_upload(changed):
    assert environment(changed)["MAX_BODY_BYTES"] == str(64 * 2**20)


def test_it_reads_json_that_fits_its_memory_and_no_more_is_taken(changed):
    (predict,) = properties(changed.serving, "AWS::Lambda::Function", with_={"Description": Match.string_like_regexp("^fruit: ")})
    assert environment(changed)["MAX_JSON_BYTES"] == predict["Environment"]["Variables"]["MAX_JSON_BYTES"] == str(2048 * 2**20 // 80)


def test_its_environment_is_what_its_settings_write(mixed):
    read = BatchSettings.from_env(environment(mixed))
    assert read == BatchSettings(
        model_names=("fruit", "tumour"),
        strict_models=("tumour",),
        model_bucket="<bucket>",
        job_bucket="<jobs>",
        job_table="<job-table>",
        service="serverless-onnx-dev",
    )
    assert read.to_env() == environment(mixed)


def test_the_settings_decide_how_often_and_for_how_long(changed):
    read = BatchSettings.from_env(environment(changed))
    assert (read.job_attempts, read.job_days, read.signing_key_arn) == (3, 3, "<signing-key>")
    assert worker(changed)["MemorySize"] == 2048


def test_the_largest_model_passes_through_its_disk(changed):
    assert worker(changed)["EphemeralStorage"] == {"Size": 4096}


def test_the_image_is_told_which_handler_to_run(mixed):
    assert worker(mixed)["ImageConfig"] == {"Command": ["functions.batch.jobs.handler"]}
    assert (ROOT / "functions/batch/jobs.py").is_file()


def test_it_is_traced_and_logs_to_a_group_of_its_own(mixed):
    assert worker(mixed)["TracingConfig"] == {"Mode": "Active"}
    group = worker(mixed)["LoggingConfig"]["LogGroup"]["Ref"]
    assert group in mixed.batch.find_resources("AWS::Logs::LogGroup", {"Properties": {"RetentionInDays": 30}})


def test_heavy_models_alone_need_no_queue(synthesized):
    """Their jobs are SageMaker's; a stack without resources is not made."""
    assert synthesized(DEV, a_heavy_model("pictures")).batch.to_json() == {}


def test_other_stacks_find_the_role_of_the_worker(mixed):
    (parameter,) = properties(mixed.batch, "AWS::SSM::Parameter", with_={"Name": DEV.job_role_parameter})
    assert parameter["Value"] == {"Ref": worker(mixed)["Role"]["Fn::GetAtt"][0]}


def test_it_may_do_this_and_nothing_else(mixed):
    role = mixed.batch.to_json()["Resources"][worker(mixed)["Role"]["Fn::GetAtt"][0]]["Properties"]
    assert "ManagedPolicyArns" not in role
    mixed.batch.resource_count_is("AWS::IAM::Policy", 0)
    queues = [f"<{logical_id(mixed, f'onnx-dev-jobs-{each}')}.Arn>" for each in ("high", "low")]
    (logs,) = [f"<{name}.Arn>" for name in [worker(mixed)["LoggingConfig"]["LogGroup"]["Ref"]]]
    assert {
        (action, resolved(mixed, resource).replace("arn:<AWS::Partition>:", "").replace("<AWS::Region>:<AWS::AccountId>", ""))
        + ((str(each["Condition"]),) if "Condition" in each else ())
        for each in statements(role)
        for action in each["Action"]
        for resource in each["Resource"]
    } == {
        *((action, logs) for action in ("logs:CreateLogStream", "logs:PutLogEvents")),
        *((action, "*") for action in ("xray:PutTelemetryRecords", "xray:PutTraceSegments")),
        *((action, f"s3:::<bucket>/models/{name}/*") for action in ("s3:GetObject", "s3:GetObjectVersion") for name in ("fruit", "tumour")),
        ("s3:ListBucket", "s3:::<bucket>", str({"StringLike": {"s3:prefix": "models/*/aliases/*"}})),
        *(("s3:GetObject", f"s3:::<jobs>/{keys}") for keys in ("*/*/*/request-*", "_uploads/*")),
        *((action, "s3:::<jobs>/*/*/*/result*") for action in ("s3:DeleteObject", "s3:PutObject")),
        ("s3:ListBucket", "s3:::<jobs>", str({"StringLike": {"s3:prefix": ["*/*/*/request-*", "_uploads/*"]}})),
        *((action, "<key>") for action in ("kms:Decrypt", "kms:GenerateDataKey")),
        *((f"dynamodb:{each}Item", "dynamodb::table/<job-table>") for each in ("Delete", "Get", "Put", "Update")),
        *((f"sqs:{each}", queue) for each in ("DeleteMessage", "GetQueueAttributes", "ReceiveMessage") for queue in queues),
        ("events:PutEvents", "events::event-bus/default", str({"StringEquals": {"events:source": "serverless-onnx-dev"}})),
    }


def fingerprint(folder) -> str:
    return FileSystem.fingerprint(str(folder), exclude=BUILD_CONTEXT, ignore_mode=IgnoreMode.DOCKER)


@pytest.fixture
def repository(tmp_path):
    """The files that the image could be made of."""
    for name in ("functions/batch/jobs.py", "functions/predict/handler.py", "layers/scoring/python/scoring/plan.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "is_part"),
    [
        ("functions/batch/jobs.py", True),
        ("layers/scoring/python/scoring/plan.py", True),
        ("layers/modelserve/python/modelserve/pool.py", True),
        ("functions/predict/handler.py", False),
        ("layers/other/python/other.py", False),
        ("README.md", False),
    ],
)
def test_only_files_of_the_image_change_it(repository, file, is_part):
    before = fingerprint(repository)
    (repository / file).parent.mkdir(parents=True, exist_ok=True)
    (repository / file).write_text("edited")
    assert (fingerprint(repository) != before) is is_part


def test_the_dockerfile_copies_only_what_is_in_the_build_context():
    lines = re.findall(r"^COPY (.+) \S+$", (ROOT / "functions/batch/Dockerfile").read_text("utf-8"), flags=re.MULTILINE)
    copied = [source for line in lines for source in line.split()]
    assert "functions/trim.py" in copied
    assert all(source.startswith(("functions/trim.py", "functions/batch/", "layers/modelserve/", "layers/scoring/")) for source in copied)
