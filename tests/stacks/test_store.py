"""What the model store promises."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from aws_cdk.assertions import Match

from modelserve.settings import PredictSettings
from stacks.settings import DEV, DeploymentSettings
from tests.stacks.factories import Templates, a_model, properties, statements, text

pytestmark = pytest.mark.xdist_group("stacks")


def _forgotten_after(days: int) -> dict[str, Any]:
    """What is in the bucket, and uploads that were never ended after a day."""
    rule = {"ExpirationInDays": days, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
    return {"LifecycleConfiguration": {"Rules": [Match.object_like(rule)]}}


JOBS, DATA = _forgotten_after(DEV.job_days), _forgotten_after(DEV.data_set_days)


@pytest.fixture(scope="module")
def bucket(dev) -> dict[str, Any]:
    (found,) = properties(dev.store, "AWS::S3::Bucket", with_={"VersioningConfiguration": {"Status": "Enabled"}})
    return found


@pytest.fixture(scope="module")
def policies(dev) -> list[list[dict[str, Any]]]:
    return [policy["PolicyDocument"]["Statement"] for policy in properties(dev.store, "AWS::S3::BucketPolicy")]


def test_models_are_encrypted_with_a_key_that_rotates(dev, bucket):
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    dev.store.has_resource_properties("AWS::KMS::Key", {"EnableKeyRotation": True})


def test_every_bucket_blocks_public_access(dev):
    blocked = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
    assert all(each["PublicAccessBlockConfiguration"] == blocked for each in properties(dev.store, "AWS::S3::Bucket"))


def test_every_bucket_refuses_plain_http(dev, policies):
    refusals = [
        statement
        for policy in policies
        for statement in policy
        if statement["Effect"] == "Deny" and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(refusals) == len(properties(dev.store, "AWS::S3::Bucket"))


def test_access_to_models_is_logged_in_another_bucket(bucket):
    assert "DestinationBucketName" in bucket["LoggingConfiguration"]


def test_versions_and_history_can_not_be_overwritten(policies):
    """A put without If-None-Match is refused there; beginning a multipart upload, which creates no object, is not."""
    (refusal,) = [each for policy in policies for each in policy if "Null" in each.get("Condition", {})]
    assert refusal["Effect"] == "Deny"
    assert refusal["Principal"] == {"AWS": "*"}
    assert refusal["Action"] == "s3:PutObject"
    assert refusal["Condition"] == {"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}}
    assert {text(each).partition(">")[2] for each in refusal["Resource"]} == {"/models/*/versions/*", "/models/*/history/*"}


def test_aliases_can_be_overwritten(policies):
    denied = [each["Resource"] for policy in policies for each in policy if each["Effect"] == "Deny" and each["Action"] == "s3:PutObject"]
    assert "aliases" not in str(denied)


def test_only_what_was_replaced_or_deleted_expires(bucket):
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": DEV.noncurrent_days}
    assert not rule.keys() & {"ExpirationInDays", "ExpirationDate", "Transitions", "NoncurrentVersionTransitions"}


def test_incomplete_uploads_are_cleared_away(bucket):
    (rule,) = bucket["LifecycleConfiguration"]["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def _under(*, algorithm: str, **key: Any) -> dict[str, Any]:
    default = {"SSEAlgorithm": algorithm, **key}
    return {"ServerSideEncryptionConfiguration": [Match.object_like({"ServerSideEncryptionByDefault": default})]}


@pytest.mark.parametrize("forgotten", [JOBS, DATA], ids=["jobs", "data sets"])
def test_jobs_and_data_sets_are_encrypted_with_the_stores_key_and_forgotten(dev, forgotten):
    """What clients upload and SageMaker captures is among the jobs."""
    (key,) = dev.store.find_resources("AWS::KMS::Key")
    under = _under(algorithm="aws:kms", KMSMasterKeyID={"Fn::GetAtt": [key, "Arn"]})
    dev.store.resource_properties_count_is("AWS::S3::Bucket", {**forgotten, "BucketEncryption": under}, 1)


def test_a_page_of_the_origin_may_upload_and_get_results_and_no_page_may_without_one(synthesized, dev):
    """A browser that follows the API to a result no longer says whose page it is; the URL is what opens it."""
    store = synthesized(replace(DEV, cors_origin="https://example.org")).store
    (rules,) = [each["CorsConfiguration"]["CorsRules"] for each in properties(store, "AWS::S3::Bucket") if "CorsConfiguration" in each]
    assert [(rule["AllowedMethods"], rule["AllowedOrigins"]) for rule in rules] == [(["GET"], ["*"]), (["PUT"], ["https://example.org"])]
    assert not [each for each in properties(dev.store, "AWS::S3::Bucket") if "CorsConfiguration" in each]


def test_data_sets_alone_tell_eventbridge_what_is_put_there(dev):
    """By CloudFormation itself: CDK's own way brings a function, which our rules would find."""
    told = {"NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}}
    dev.store.resource_properties_count_is("AWS::S3::Bucket", {**DATA, **told}, 1)
    dev.store.resource_properties_count_is("AWS::S3::Bucket", {"NotificationConfiguration": Match.any_value()}, 1)


@pytest.mark.parametrize("kind", ["AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Key", "AWS::DynamoDB::Table"])
def test_state_outlives_the_stack(dev, kind):
    dev.store.all_resources(kind, {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"})


def tables(templates: Templates) -> dict[str, dict[str, Any]]:
    """By what an item of each is found by."""
    found = properties(templates.store, "AWS::DynamoDB::Table")
    return {key["AttributeName"]: each for each in found for key in each["KeySchema"]}


@pytest.mark.parametrize("key", ["client", "id"])
def test_clients_and_jobs_are_found_by_name_and_cost_nothing_at_rest(dev, key):
    assert tables(dev).keys() == {"client", "id"}
    assert tables(dev)[key]["KeySchema"] == [{"AttributeName": key, "KeyType": "HASH"}]
    assert tables(dev)[key]["BillingMode"] == "PAY_PER_REQUEST"


@pytest.mark.parametrize("key", ["client", "id"])
def test_clients_and_jobs_are_encrypted_and_can_be_brought_back(dev, key):
    assert tables(dev)[key]["SSESpecification"] == {"SSEEnabled": True}
    assert tables(dev)[key]["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert tables(dev)[key]["DeletionProtectionEnabled"] is True


def test_jobs_are_forgotten_and_clients_are_not(dev):
    """Powertools' records of what has been run name their expiry by the same attribute."""
    assert tables(dev)["id"]["TimeToLiveSpecification"] == {"AttributeName": "expiration", "Enabled": True}
    assert "TimeToLiveSpecification" not in tables(dev)["client"]


def test_no_stack_locks_the_store(dev):
    """Others learn what it holds by parameters: an export could not be changed while somebody imports it."""
    assert not [name for name, output in dev.store.to_json()["Outputs"].items() if "Export" in output]
    assert "Fn::ImportValue" not in str(dev.serving.to_json())


@pytest.mark.parametrize("name", ["ModelBucket", "JobBucket", "JobTable", "DataBucket", "ClientTable"])
def test_what_modelctl_needs_is_an_output(dev, name):
    dev.store.has_output(name, {"Value": {"Ref": Match.any_value()}})


@pytest.fixture(scope="module")
def signed(synthesized):
    return synthesized(replace(DEV, signed_manifests=True), a_model())


def environments(templates: Templates) -> list[dict[str, Any]]:
    return [each["Environment"]["Variables"] for each in properties(templates.serving, "AWS::Lambda::Function")]


def test_manifests_are_signed_with_a_key_that_never_leaves_kms(signed):
    (key,) = properties(signed.store, "AWS::KMS::Key", with_={"KeyUsage": "SIGN_VERIFY"})
    assert key["KeySpec"] == "RSA_3072"


def test_modelctl_finds_the_signing_key(signed):
    value = signed.store.to_json()["Outputs"]["SigningKey"]["Value"]
    signed.store.has_resource_properties("AWS::SSM::Parameter", {"Name": "/serverless-onnx/dev/store/signing-key", "Value": value})


def test_a_models_function_knows_the_signing_key_and_may_only_read_its_public_half(signed):
    (told,) = [each["SIGNING_KEY_ARN"] for each in environments(signed) if "MODEL_NAME" in each]
    (parameter,) = [
        name
        for name, each in signed.serving.to_json()["Parameters"].items()
        if each.get("Default") == "/serverless-onnx/dev/store/signing-key"
    ]
    assert told == {"Ref": parameter}
    allowed = [each for role in properties(signed.serving, "AWS::IAM::Role") for each in statements(role) if told in each["Resource"]]
    assert [each["Action"] for each in allowed] == [["kms:GetPublicKey"]]


def test_without_the_setting_no_signature_is_asked_for(dev):
    assert [each["SIGNING_KEY_ARN"] for each in environments(dev) if "MODEL_NAME" in each] == [PredictSettings.signing_key_arn]
    assert "SigningKey" not in dev.store.to_json()["Outputs"]


@pytest.fixture(scope="module")
def adopted(synthesized):
    """A store whose bucket was there before."""
    return synthesized(DeploymentSettings(name="dev", existing_bucket="models-of-ours", existing_key_arn="arn:aws:kms:eu-west-1:1:key/k"))


def test_an_adopted_bucket_is_not_made(adopted):
    """There are one of jobs, one of data sets and one of logs; none is for models."""
    adopted.store.resource_properties_count_is("AWS::S3::Bucket", JOBS, 1)
    adopted.store.resource_properties_count_is("AWS::S3::Bucket", DATA, 1)
    adopted.store.resource_count_is("AWS::S3::Bucket", 3)


def test_an_adopted_bucket_has_tables_of_clients_and_jobs_beside_it(adopted):
    assert tables(adopted).keys() == {"client", "id"}


@pytest.mark.parametrize("value", ["models-of-ours", "arn:aws:kms:eu-west-1:1:key/k"])
def test_functions_find_an_adopted_bucket_and_its_key(adopted, value):
    adopted.store.has_resource_properties("AWS::SSM::Parameter", {"Value": value})


def test_an_adopted_bucket_without_a_key_grants_none(synthesized):
    """A bucket under S3's own keys needs no permission to decrypt."""
    templates = synthesized(DeploymentSettings(name="dev", existing_bucket="models-of-ours"), a_model())
    roles = properties(templates.serving, "AWS::IAM::Role")
    assert not [each for role in roles for each in statements(role) if any("kms" in action for action in each["Action"])]
    templates.store.has_resource_properties("AWS::S3::Bucket", {**JOBS, "BucketEncryption": _under(algorithm="AES256")})


@pytest.fixture(scope="module")
def restored(synthesized):
    """A store that takes up all that an earlier one left."""
    return synthesized(
        DeploymentSettings(
            name="dev",
            signed_manifests=True,
            existing_bucket="models-of-ours",
            existing_key_arn="arn:aws:kms:eu-west-1:1:key/k",
            existing_client_table="clients-of-ours",
            existing_signing_key_arn="arn:aws:kms:eu-west-1:1:key/s",
        )
    )


def test_a_restored_store_makes_nothing_that_it_has(restored):
    """Jobs begin anew: those of the earlier one are over within days."""
    restored.store.resource_count_is("AWS::KMS::Key", 0)
    assert tables(restored).keys() == {"id"}


@pytest.mark.parametrize(("output", "value"), [("ClientTable", "clients-of-ours"), ("SigningKey", "arn:aws:kms:eu-west-1:1:key/s")])
def test_modelctl_and_functions_find_what_is_restored(restored, output, value):
    restored.store.has_output(output, {"Value": value})
    restored.store.has_resource_properties("AWS::SSM::Parameter", {"Value": value})
