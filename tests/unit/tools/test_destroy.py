"""What is said of a deployment that was destroyed."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tools.destroy import Remnant, remaining, remnants, report

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


def test_the_report_names_each_and_adds_up():
    """100 GB at $0.023 and a key at $1."""
    bucket = Remnant(kind="AWS::S3::Bucket", name="models", size=100 * 10**9)
    key = Remnant(kind="AWS::KMS::Key", name="a-key")
    text = report("dev", [bucket, key])
    assert "models, 100,000.0 MB, $2.30 a month" in text
    assert "a-key, $1.00 a month" in text
    assert "about $3.30 a month" in text


def test_a_role_costs_nothing():
    assert Remnant(kind="AWS::IAM::Role", name="logs").monthly == 0
