"""What is said of a deployment that was destroyed."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from moto import mock_aws

from tools.destroy import Remnant, main, remaining, remnants, report

TEMPLATE: dict[str, Any] = {
    "Resources": {
        "Models": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"},
        "Scratch": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Delete"},
        "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "/p", "Type": "String", "Value": "v"}},
        "Key": {"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain", "Properties": {"KeyPolicy": {}}},
    }
}


@pytest.fixture
def session(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        session.client("cloudformation").create_stack(StackName="ServerlessOnnx-dev-Store", TemplateBody=json.dumps(TEMPLATE))
        yield session


def test_what_is_retained_is_left(session):
    assert sorted(each.kind for each in remnants(session, "dev")) == ["AWS::KMS::Key", "AWS::S3::Bucket"]


def test_a_bucket_counts_every_version(session):
    """Noncurrent versions are paid for too."""
    (bucket,) = [each for each in remnants(session, "dev") if each.kind == "AWS::S3::Bucket"]
    session.client("s3").put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
    for body in (b"12345", b"123"):
        session.client("s3").put_object(Bucket=bucket.name, Key="models/fruit/aliases/production.json", Body=body)
    (bucket,) = [each for each in remnants(session, "dev") if each.kind == "AWS::S3::Bucket"]
    assert bucket.size == 8


def test_a_deployment_that_does_not_exist_leaves_nothing(session):
    assert remnants(session, "prod") == []
    assert report("prod", []) == "Nothing is left of prod."


def test_stacks_that_are_still_there_are_named(session):
    assert remaining(session, "dev") == ["ServerlessOnnx-dev-Store"]
    assert remaining(session, "prod") == []


@pytest.mark.parametrize("stack", ["Batch", "Serving", "Gpu", "Examples"])
def test_every_stack_of_a_deployment_is_looked_for(session, stack):
    one = json.dumps({"Resources": {"Scratch": TEMPLATE["Resources"]["Scratch"]}})
    session.client("cloudformation").create_stack(StackName=f"ServerlessOnnx-prod-{stack}", TemplateBody=one)
    assert remaining(session, "prod") == [f"ServerlessOnnx-prod-{stack}"]


def test_what_may_not_be_seen_is_not_taken_for_gone(session):
    """AccessDenied is no sign that a stack is gone."""
    with Stubber(session.client("cloudformation")) as stubber:
        stubber.add_client_error("describe_stacks", "AccessDenied", "not authorized")
        with pytest.raises(ClientError, match="AccessDenied"):
            remaining(Mock(client=Mock(return_value=stubber.client)), "dev")


def destroyed(monkeypatch, deployment, *, code=0):
    """What is said at the end, where `cdk destroy` would have ended with `code`."""
    monkeypatch.setattr("sys.argv", ["destroy", deployment])
    monkeypatch.setattr("subprocess.run", lambda *_, **__: Mock(returncode=code))
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


@pytest.mark.parametrize(("deployment", "protected"), [("dev", False), ("prod", True)])
def test_only_production_is_told_of_termination_protection(session, monkeypatch, deployment, protected):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    said = destroyed(monkeypatch, deployment, code=1)
    assert said.startswith("cdk destroy failed; ")
    assert ("termination protection" in said) == protected


def test_stacks_that_stay_fail_the_command(session, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert destroyed(monkeypatch, "dev").startswith("ServerlessOnnx-dev-Store still there")


def test_without_a_region_or_credentials_one_paragraph_says_what_to_run(monkeypatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "none")
    assert destroyed(monkeypatch, "dev") == ("AWS could not answer: You must specify a region. Run: modelctl doctor --deployment dev")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda _: None)
    assert "Unable to locate credentials. Run: modelctl doctor" in destroyed(monkeypatch, "dev")


def test_the_report_names_each_and_adds_up():
    """100 GB at $0.023 and a key at $1."""
    bucket = Remnant(kind="AWS::S3::Bucket", name="models", size=100 * 10**9)
    key = Remnant(kind="AWS::KMS::Key", name="a-key")
    text = report("dev", [bucket, key])
    assert "models, 100,000.0 MB, $2.30 a month" in text
    assert "a-key, $1.00 a month" in text
    assert "about $3.30 a month" in text
    assert "the table of jobs, empty themselves within days" in text


def test_a_role_costs_nothing():
    assert Remnant(kind="AWS::IAM::Role", name="logs").monthly == 0
