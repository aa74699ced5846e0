"""Our own rules over every template that the repository can make; each is shown a bad one first."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stacks import rules
from tests.stacks.factories import DEPLOYMENTS, Templates
from tests.stacks.rules import Resources, Rule

pytestmark = pytest.mark.xdist_group("stacks")


@pytest.fixture(scope="module", params=DEPLOYMENTS)
def deployed(synthesized, request) -> Templates:
    settings, models = DEPLOYMENTS[request.param]
    found: Templates = synthesized(settings, *models)
    return found


def resources(templates: Templates, stack: str) -> Resources:
    found: Resources = getattr(templates, stack).to_json().get("Resources", {})
    return found


def a(kind: str, *, retained: bool = False, **properties: Any) -> dict[str, Any]:
    policy = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"} if retained else {}
    return {"Type": kind, "Properties": properties, **policy}


def a_role(**statement: Any) -> dict[str, Any]:
    """With one statement; None leaves a part of it out."""
    told = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/models/fruit/*", **statement}
    allowed = {part: value for part, value in told.items() if value is not None}
    return a("AWS::IAM::Role", Policies=[{"PolicyDocument": {"Statement": [allowed]}}])


def a_policy(**statement: Any) -> dict[str, Any]:
    document = {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*", **statement}]}
    return a("AWS::S3::BucketPolicy", Bucket={"Ref": "X"}, PolicyDocument=document)


def a_listing(prefix: str | list[str]) -> dict[str, Any]:
    return a_role(Action="s3:ListBucket", Resource="arn:aws:s3:::b", Condition={"StringLike": {"s3:prefix": prefix}})


def a_method(name: str = "ANY", **authorization: Any) -> dict[str, Any]:
    keyed = {"AuthorizationType": "CUSTOM", "AuthorizerId": {"Ref": "Authorizer"}, "ApiKeyRequired": True}
    return a("AWS::ApiGateway::Method", HttpMethod=name, **{**keyed, **authorization})


def a_function(**variables: Any) -> dict[str, Any]:
    return a("AWS::Lambda::Function", Environment={"Variables": variables})


def an_endpoint_config(instance_type: str, **properties: Any) -> dict[str, Any]:
    return a("AWS::SageMaker::EndpointConfig", ProductionVariants=[{"InstanceType": instance_type}], **properties)


def an_endpoint(**properties: Any) -> dict[str, Any]:
    """One that an alarm `Alarm` rolls back; None leaves a property out."""
    rollback = {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": {"Ref": "Alarm"}}]}}
    told = {"EndpointName": "e", "DeploymentConfig": rollback, "RetainAllVariantProperties": True, **properties}
    return a("AWS::SageMaker::Endpoint", **{name: value for name, value in told.items() if value is not None})


ENDPOINTS = "arn:aws:sagemaker:r:1:endpoint/*"
ENDPOINT = "arn:aws:sagemaker:r:1:endpoint/e"


def an_invocation(target: str | list[str], endpoint: str = ENDPOINT) -> dict[str, Any]:
    condition = {"StringLike": {"sagemaker:TargetModel": target}}
    return a_role(Action="sagemaker:InvokeEndpoint", Resource=endpoint, Condition=condition)


def a_job(endpoint: str | list[str]) -> dict[str, Any]:
    return a_role(Action="sagemaker:InvokeEndpointAsync", Resource=endpoint)


JOBS = "arn:aws:s3:::<storejobsParameter>"
ASIDE = {"OnFailure": {"Destination": {"Fn::GetAtt": ["Q", "Arn"]}}}
QUIET = {"Environment": {"SAGEMAKER_TRITON_LOG_VERBOSE": "false"}}
CLOUDTRAIL = {"Service": "cloudtrail.amazonaws.com"}
CLOSED = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
HALF_CLOSED = {**CLOSED, "BlockPublicPolicy": False}
OPEN = {"AuthorizationType": "NONE", "ApiKeyRequired": False}
OWNED = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
REFUSED_HTTP = {"Effect": "Deny", "Action": "s3:*", "Principal": {"AWS": "*"}, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
BAD: list[tuple[Rule, dict[str, Any]]] = [
    (rules.every_type_is_known, a("Custom::S3AutoDeleteObjects")),
    (rules.no_action_is_a_wildcard, a_role(Action=["s3:GetObject", "s3:Get*"])),
    (rules.no_action_is_a_wildcard, {**a_role(), "Properties": {"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3FullAccess"]}}),
    (rules.no_action_is_a_wildcard, a_policy(Action="kms:*", Principal={"AWS": "arn:aws:iam::1:role/r"})),
    (rules.no_action_is_a_wildcard, a_role(NotAction="s3:DeleteObject", Action=None)),
    (rules.no_principal_is_everybody, a_policy(Principal={"AWS": "*"})),
    (rules.no_principal_is_everybody, a_policy(Principal="*")),
    (rules.no_principal_is_everybody, a_policy(NotPrincipal={"AWS": "arn:aws:iam::1:role/r"})),
    (rules.no_principal_is_everybody, a("AWS::Lambda::Permission", Principal="*", SourceArn="arn")),
    (rules.grants_name_what_they_are_for, a_role(Resource="*")),
    (rules.grants_name_what_they_are_for, a_role(Resource="arn:aws:s3:::b/*")),
    (rules.grants_name_what_they_are_for, a_role(Resource="arn:aws:s3:::b/models/*")),
    (rules.grants_name_what_they_are_for, a_role(Resource="arn:aws:s3:::b/models/*/*")),
    (rules.grants_name_what_they_are_for, a_role(Resource="arn:aws:s3:::b/models/*/versions/*")),
    (rules.grants_name_what_they_are_for, a_role(Resource="arn:aws:s3:::b/models/f?/*")),
    (rules.grants_name_what_they_are_for, a_role(Resource="arn:aws:s3:::b?/models/fruit/*")),
    (rules.grants_name_what_they_are_for, a_role(Action="s3:PutObject", Resource="arn:aws:s3:::b/models/*/aliases/*")),
    (rules.grants_name_what_they_are_for, a_role(Action=["kms:Decrypt", "s3:GetObject"], Resource="arn:aws:s3:::b/other/prefix")),
    (rules.grants_name_what_they_are_for, a_role(Action=["sts:AssumeRole", "s3:GetObject"], Resource="*")),
    (rules.grants_name_what_they_are_for, a_role(NotResource="arn:aws:s3:::b/models/fruit/*", Resource=None)),
    (rules.grants_name_what_they_are_for, a_role(Action="s3:ListBucket", Resource="arn:aws:s3:::b")),
    (rules.grants_name_what_they_are_for, a_listing("models/*")),
    (rules.grants_name_what_they_are_for, a_listing(["models/fruit/*", "models/*/*"])),
    (rules.grants_name_what_they_are_for, a_role(Action="dynamodb:GetItem", Resource="arn:aws:dynamodb:r:1:table/*")),
    (rules.grants_name_what_they_are_for, a_role(Action=["xray:PutTraceSegments", "kms:Decrypt"], Resource="*")),
    (rules.grants_name_what_they_are_for, a_role(Action="cloudwatch:DescribeAlarms", Resource="arn:aws:cloudwatch:r:1:alarm:*")),
    (rules.every_method_wants_a_clients_key, a_method(AuthorizationType="AWS_IAM")),
    (rules.every_method_wants_a_clients_key, a_method(AuthorizerId=None)),
    (rules.every_method_wants_a_clients_key, a_method(ApiKeyRequired=False)),
    (rules.every_method_wants_a_clients_key, a_method("OPTIONS", **OPEN)),
    (rules.everything_is_encrypted, a("AWS::S3::Bucket")),
    (rules.everything_is_encrypted, a("AWS::DynamoDB::Table")),
    (rules.everything_is_encrypted, a("AWS::SQS::Queue")),
    (rules.everything_is_encrypted, a("AWS::SNS::Topic")),
    (rules.everything_is_encrypted, a("AWS::CloudTrail::Trail")),
    (rules.everything_is_encrypted, a("AWS::KMS::Key")),
    (rules.everything_is_encrypted, a("AWS::ApiGateway::Stage", CacheClusterEnabled=True)),
    (rules.plain_http_is_refused, a("AWS::S3::Bucket")),
    (rules.plain_http_is_refused, a("AWS::SQS::Queue")),
    (rules.plain_http_is_refused, a("AWS::SNS::Topic")),
    (rules.logs_are_forgotten, a("AWS::Logs::LogGroup")),
    (rules.logs_are_forgotten, a_function()),
    (rules.nothing_is_dropped_without_a_word, a("AWS::SQS::Queue")),
    (rules.nothing_is_dropped_without_a_word, a("AWS::Lambda::EventInvokeConfig", MaximumRetryAttempts=0)),
    (rules.nothing_is_dropped_without_a_word, a("AWS::SNS::Subscription")),
    (rules.nothing_is_dropped_without_a_word, a("AWS::Events::Rule", Targets=[{"Arn": "arn"}])),
    (rules.nothing_is_dropped_without_a_word, a("AWS::Scheduler::Schedule", Target={"Arn": "arn"})),
    (rules.services_act_for_somebody_we_know, a_policy(Principal=CLOUDTRAIL)),
    (rules.services_act_for_somebody_we_know, a_policy(Principal=CLOUDTRAIL, Condition={"StringEquals": {"s3:x-amz-acl": "a"}})),
    (rules.services_act_for_somebody_we_know, a("AWS::Lambda::Permission", Principal="apigateway.amazonaws.com")),
    (rules.nothing_is_dropped_without_a_word, a("AWS::Lambda::EventSourceMapping", BisectBatchOnFunctionError=True)),
    (rules.no_bucket_is_public, a("AWS::S3::Bucket", OwnershipControls=OWNED)),
    (rules.no_bucket_is_public, a("AWS::S3::Bucket", PublicAccessBlockConfiguration=HALF_CLOSED, OwnershipControls=OWNED)),
    (rules.no_bucket_is_public, a("AWS::S3::Bucket", PublicAccessBlockConfiguration=CLOSED)),
    (rules.no_secret_is_in_an_environment, a_function(DB_PASSWORD="x")),
    (rules.no_secret_is_in_an_environment, a_function(MODEL_KEY={"Ref": "Parameter"})),
    (rules.no_secret_is_in_an_environment, a_function(SETTING="AKIAIOSFODNN7EXAMPLE")),
    (rules.no_secret_is_in_an_environment, a_function(SETTING="{{resolve:secretsmanager:s}}")),
    (rules.data_outlives_its_stack, a("AWS::S3::Bucket")),
    (rules.data_outlives_its_stack, a("AWS::KMS::Key")),
    (rules.data_outlives_its_stack, a("AWS::DynamoDB::Table", retained=True, DeletionProtectionEnabled=True)),
    (rules.everything_is_encrypted, an_endpoint_config("ml.p3.2xlarge")),
    (rules.everything_is_encrypted, an_endpoint_config("ml.g4dn.xlarge", DataCaptureConfig={"EnableCapture": True})),
    (rules.logs_are_forgotten, an_endpoint()),
    (rules.grants_name_what_they_are_for, a_role(Resource=f"{JOBS}/*")),
    (rules.grants_name_what_they_are_for, a_role(Resource=f"{JOBS}/*/answers/*")),
    (rules.grants_name_what_they_are_for, a_role(Action="ec2:CreateNetworkInterface", Resource="arn:aws:ec2:r:1:network-interface/*")),
    (rules.metrics_are_of_a_known_namespace, a_role(Action="cloudwatch:PutMetricData", Resource="*")),
    (rules.only_one_endpoint_is_invoked, a_role(Action="sagemaker:CreateEndpoint", Resource=ENDPOINT)),
    (rules.only_one_endpoint_is_invoked, a_role(Action="sagemaker:InvokeEndpoint", Resource=ENDPOINT)),
    (rules.only_one_endpoint_is_invoked, a_job(ENDPOINTS)),
    (rules.only_one_endpoint_is_invoked, a_job([ENDPOINT, f"{ENDPOINT}2"])),
    (rules.only_one_endpoint_is_invoked, an_invocation("fruit/versions/*", ENDPOINTS)),
    (rules.only_one_endpoint_is_invoked, an_invocation("*")),
    (rules.only_one_endpoint_is_invoked, an_invocation("*/versions/*")),
    (rules.only_one_endpoint_is_invoked, an_invocation(["fruit/versions/*", "f?/versions/*"])),
    (rules.containers_are_isolated, a("AWS::SageMaker::Model", PrimaryContainer=QUIET)),
    (rules.containers_are_isolated, a("AWS::SageMaker::Model", EnableNetworkIsolation=True)),
    (rules.updates_of_endpoints_can_go_back, an_endpoint(DeploymentConfig=None)),
    (rules.updates_of_endpoints_can_go_back, an_endpoint(RetainAllVariantProperties=None)),
    (rules.updates_of_endpoints_can_go_back, an_endpoint()),
    (rules.models_are_audited, a("AWS::S3::Bucket")),
    (rules.models_are_audited, a("AWS::CloudTrail::Trail", IsLogging=True)),
]  # fmt: skip
GOOD: list[tuple[Rule, Resources]] = [
    (rules.no_principal_is_everybody, {"X": a_policy(**REFUSED_HTTP)}),
    (rules.grants_name_what_they_are_for, {"X": a_role()}),
    (rules.grants_name_what_they_are_for, {"X": a_role(Resource="arn:aws:s3:::b/models/*/aliases/*")}),
    (rules.grants_name_what_they_are_for, {"X": a_listing(["models/fruit/*", "models/*/aliases/*"])}),
    (rules.every_method_wants_a_clients_key, {"X": a_method(), "Preflight": a_method("OPTIONS", **OPEN), "F": a_function(CORS_ORIGIN="o")}),
    (rules.plain_http_is_refused, {"X": a("AWS::S3::Bucket"), "Policy": a_policy(**REFUSED_HTTP)}),
    (
        rules.nothing_is_dropped_without_a_word,
        {"Q": a("AWS::SQS::Queue", RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": ["D", "Arn"]}}), "D": a("AWS::SQS::Queue")},
    ),
    (
        rules.nothing_is_dropped_without_a_word,
        {"Q": a("AWS::SQS::Queue"), "M": a("AWS::Lambda::EventSourceMapping", DestinationConfig=ASIDE, BisectBatchOnFunctionError=True)},
    ),
    (rules.services_act_for_somebody_we_know, {"X": a("AWS::Lambda::Permission", Principal="123456789012")}),
    (rules.grants_name_what_they_are_for, {"X": a_role(Resource="arn:aws:s3:::<storedataParameter>/examples/fruit/*")}),
    (rules.grants_name_what_they_are_for, {"X": a_role(Action="states:StopExecution", Resource="arn:aws:states:r:a:execution:m:*")}),
    (rules.no_secret_is_in_an_environment, {"X": a_function(SIGNING_KEY_ARN={"Ref": "Parameter"})}),
    (rules.everything_is_encrypted, {"X": an_endpoint_config("ml.p3.2xlarge", KmsKeyId="k"), "Y": an_endpoint_config("ml.g6e.xlarge")}),
    (rules.grants_name_what_they_are_for, {"X": a_role(Resource=f"{JOBS}/fruit/*")}),
    (rules.only_one_endpoint_is_invoked, {"X": an_invocation("fruit/versions/*")}),
    (rules.only_one_endpoint_is_invoked, {"X": a_job(ENDPOINT)}),
    (rules.containers_are_isolated, {"X": a("AWS::SageMaker::Model", VpcConfig={"SecurityGroupIds": ["s"]}, PrimaryContainer=QUIET)}),
    (rules.updates_of_endpoints_can_go_back, {"X": an_endpoint(), "Alarm": a("AWS::CloudWatch::Alarm")}),
]
ALWAYS = [rule for rule in dict.fromkeys(rule for rule, _ in BAD) if rule is not rules.models_are_audited]


@pytest.mark.parametrize(("rule", "bad"), BAD, ids=lambda each: each.__name__ if callable(each) else each["Type"])
def test_a_rule_fires(rule, bad):
    assert len(list(rule({"X": bad}))) == 1


@pytest.mark.parametrize("bad", [bad for _, bad in BAD], ids=lambda bad: bad["Type"])
def test_no_rule_stumbles_over_what_another_is_about(bad):
    for rule in ALWAYS:
        list(rule({"X": bad}))


def test_cors_opens_preflights_and_nothing_else():
    opened = {"X": a_method("GET", **OPEN), "F": a_function(CORS_ORIGIN="https://example.org")}
    assert len(list(rules.every_method_wants_a_clients_key(opened))) == 1


@pytest.mark.parametrize(("rule", "good"), GOOD, ids=lambda each: each.__name__ if callable(each) else "")
def test_a_rule_lets_pass_what_it_is_not_about(rule, good):
    assert list(rule(good)) == []


@pytest.mark.parametrize("stack", ["store", "batch", "serving", "gpu", "examples"])
@pytest.mark.parametrize("rule", ALWAYS, ids=lambda rule: rule.__name__)
def test_every_template_keeps_the_rules(deployed, rule, stack):
    made_up = stack == "examples" and rule is rules.data_outlives_its_stack  # payments that go with their stack
    assert made_up or list(rule(resources(deployed, stack))) == []


@pytest.mark.parametrize("name", ["prod", "every-option", "adopted-store"])
def test_models_in_production_are_audited(synthesized, name):
    assert list(rules.models_are_audited(resources(synthesized(DEPLOYMENTS[name][0], *DEPLOYMENTS[name][1]), "store"))) == []
