"""What is known afterwards of who touched the models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stacks.settings import PROD
from tests.stacks.factories import Templates, properties, text

pytestmark = pytest.mark.xdist_group("stacks")


@pytest.fixture(scope="module", params=["made", "adopted"])
def audited(synthesized, request) -> tuple[Templates, str]:
    """A deployment with an audit, and its bucket as a template refers to it."""
    if request.param == "adopted":
        return synthesized(replace(PROD, existing_bucket="models-of-ours")), "models-of-ours"
    templates = synthesized(PROD)
    return templates, f"<{templates.store.to_json()['Outputs']['ModelBucket']['Value']['Ref']}>"


def trail(templates: Templates) -> dict[str, Any]:
    (found,) = properties(templates.store, "AWS::CloudTrail::Trail")
    return found


def test_the_audit_is_of_the_model_stores_objects_and_of_nothing_else(audited):
    templates, bucket = audited
    (selector,) = trail(templates)["AdvancedEventSelectors"]
    assert {
        (each["Field"], *(text(value) for value in each.get("Equals", each.get("StartsWith")))) for each in selector["FieldSelectors"]
    } == {
        ("eventCategory", "Data"),
        ("resources.type", "AWS::S3::Object"),
        ("resources.ARN", f"arn:<AWS::Partition>:s3:::{bucket}/"),
    }


def test_the_audit_shows_when_it_was_altered_and_is_encrypted(audited):
    found = trail(audited[0])
    assert (found["IsLogging"], found["EnableLogFileValidation"]) == (True, True)
    assert found["KMSKeyId"]["Fn::GetAtt"][1] == "Arn"


def test_the_audit_has_a_bucket_and_a_key_of_its_own(audited):
    """Who may read models may not read what is known of it."""
    templates, bucket = audited
    found = trail(templates)
    assert text(found["S3BucketName"]) != bucket
    keys = [each["Value"] for each in properties(templates.store, "AWS::SSM::Parameter")]
    assert {"Fn::GetAtt": found["KMSKeyId"]["Fn::GetAtt"]} not in keys


def test_the_trail_starts_once_its_bucket_lets_it(audited):
    ((_, found),) = audited[0].store.find_resources("AWS::CloudTrail::Trail").items()
    policies = audited[0].store.find_resources("AWS::S3::BucketPolicy")
    (awaited,) = found["DependsOn"]
    assert policies[awaited]["Properties"]["Bucket"] == found["Properties"]["S3BucketName"]


def test_bucket_and_key_know_the_trail_by_the_name_it_has(audited):
    templates, _ = audited
    name = trail(templates)["TrailName"]
    policies = [each["PolicyDocument"] for each in properties(templates.store, "AWS::S3::BucketPolicy")]
    policies += [each["KeyPolicy"] for each in properties(templates.store, "AWS::KMS::Key")]
    allowed = [each for policy in policies for each in policy["Statement"] if each["Principal"] == {"Service": "cloudtrail.amazonaws.com"}]
    assert len(allowed) == 3
    assert all(text(each["Condition"]["StringEquals"]["aws:SourceArn"]).endswith(f":trail/{name}") for each in allowed)


def test_without_the_setting_there_is_no_audit(dev):
    dev.store.resource_count_is("AWS::CloudTrail::Trail", 0)
