"""Our own rules, where cdk-nag is blind: each takes the resources of a template and says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stacks.triton import has_local_storage
from tests.stacks.factories import text

Resources = Mapping[str, dict[str, Any]]
Rule = Callable[[Resources], Iterator[str]]

WITHOUT_RESOURCES = {
    "xray:PutTraceSegments": "a segment belongs to no resource",
    "xray:PutTelemetryRecords": "counts of segments belong to no resource",
    "ecr:GetAuthorizationToken": "a token of the registry, which opens no repository by itself",
    **dict.fromkeys(["xray:GetSamplingRules", "xray:GetSamplingTargets"], "rules of sampling are the account's"),
    **dict.fromkeys(
        [f"logs:{each}LogDelivery" for each in ("Create", "Delete", "Get", "Update")]
        + [f"logs:{each}" for each in ("DescribeLogGroups", "DescribeResourcePolicies", "ListLogDeliveries", "PutResourcePolicy")],
        "deliveries of a state machine's log have no resources",
    ),
    "cloudwatch:PutMetricData": "metrics belong to no resource; another rule wants their namespace",
    **dict.fromkeys(
        ["ec2:DeleteNetworkInterfacePermission", *(f"ec2:Describe{each}" for each in ("DhcpOptions", "NetworkInterfaces"))]
        + [f"ec2:Describe{each}" for each in ("SecurityGroups", "Subnets", "Vpcs")],
        "EC2 narrows it to nothing",
    ),
}
"""Actions that IAM can't narrow to a resource."""
MANAGED_POLICIES = {
    "service-role/AmazonAPIGatewayPushToCloudWatchLogs": "what API Gateway asks of the account's one role before it writes access logs",
}
ACROSS_MODELS = {
    ("s3:GetObject", "models/*/aliases/*"): "the catalog says which models are promoted: small documents, no model's bytes",
    ("s3:ListBucket", "models/*/aliases/*"): "an alias that isn't there answers 404 to the catalog, and not 403",
    **{
        (f"s3:{action}", f"*/*/*/{part}"): "one function runs jobs of every model, and one tells what became of them"
        for action in ("DeleteObject", "GetObject", "ListBucket", "PutObject")
        for part in ("request-*", "result*", "result-*")
    },
    ("s3:ListBucket", "models/"): "SageMaker looks whether there is a model at all before it makes an endpoint of several",
}
"""Actions and prefixes that are of more than one model."""
KNOWN = {
    # What stores or moves data, each with a rule below.
    *("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::CloudTrail::Trail"),
    *("AWS::Logs::LogGroup", "AWS::Lambda::Function", "AWS::ApiGateway::Stage", "AWS::SSM::Parameter"),
    # Who may do what.
    *("AWS::IAM::Role", "AWS::Lambda::Permission", "AWS::ApiGateway::Authorizer", "AWS::ApiGateway::UsagePlan"),
    *("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "AWS::Lambda::EventSourceMapping"),
    *("AWS::Events::Connection", "AWS::Events::ApiDestination"),
    *("AWS::Events::Rule", "AWS::IAM::ManagedPolicy", "AWS::IAM::Policy", "AWS::StepFunctions::StateMachine"),
    *("AWS::WAFv2::WebACL", "AWS::WAFv2::WebACLAssociation", "AWS::CloudWatch::Alarm"),
    # What runs models that we don't run ourselves, each with a rule below.
    *("AWS::SageMaker::Model", "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::Endpoint"),
    # What holds nothing.
    *("AWS::Lambda::LayerVersion", "AWS::Lambda::Version", "AWS::ApiGateway::RestApi", "AWS::ApiGateway::Resource"),
    *("AWS::ApiGateway::Method", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::GatewayResponse", "AWS::ApiGateway::Account"),
    *("AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy", "AWS::CDK::Metadata"),
}
_ENCRYPTED = {
    "AWS::S3::Bucket": lambda found: "BucketEncryption" in found,
    "AWS::DynamoDB::Table": lambda found: found.get("SSESpecification", {}).get("SSEEnabled") is True,
    "AWS::CloudTrail::Trail": lambda found: "KMSKeyId" in found,
    "AWS::SNS::Topic": lambda found: "KmsMasterKeyId" in found,
    "AWS::SQS::Queue": lambda found: "KmsMasterKeyId" in found or found.get("SqsManagedSseEnabled") is True,
    "AWS::KMS::Key": lambda found: found.get("EnableKeyRotation") is True or found.get("KeyUsage") == "SIGN_VERIFY",
    "AWS::ApiGateway::Stage": lambda found: "CacheClusterEnabled" not in found,
    "AWS::SageMaker::EndpointConfig": lambda found: (
        # A key is refused where the instance has a disk of its own, which its hardware encrypts.
        ("KmsKeyId" in found or all(has_local_storage(each["InstanceType"]) for each in found["ProductionVariants"]))
        and all("KmsKeyId" in each for key in ("DataCaptureConfig", "OutputConfig") for each in _nested(found, key))
    ),
}
_TLS = {
    "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", "Bucket"),
    "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", "Queues"),
    "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", "Topics"),
}
_BLOCKED = {"BlockPublicAcls": True, "BlockPublicPolicy": True, "IgnorePublicAcls": True, "RestrictPublicBuckets": True}
_SECRET_NAME = re.compile(r"SECRET|PASSW|TOKEN|CREDENTIAL|PRIVATE|(API|ACCESS|MODEL|CLIENT)_?KEY", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\bA[SK]IA[0-9A-Z]{16}\b|sox\.[a-z]|-----BEGIN|\{\{resolve:(secretsmanager|ssm-secure)")
_ROOT = "arn:<AWS::Partition>:iam::<AWS::AccountId>:root"
_DATA = ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::DynamoDB::Table", "AWS::KMS::Key")


def every_type_is_known(resources: Resources) -> Iterator[str]:
    """A type that nobody thought about, a custom resource with its helper function among them."""
    yield from (f"{name}: {each['Type']} is known to no rule" for name, each in resources.items() if each["Type"] not in KNOWN)


def no_action_is_a_wildcard(resources: Resources) -> Iterator[str]:
    for name, statement in _allowed(resources):
        # The account's own root in a key's policy gives nobody anything: it lets IAM policies decide, and keeps the key manageable.
        delegates = _actions(statement) == ["kms:*"] and [text(each) for each in _principals(statement)] == [_ROOT]
        if not delegates and any("*" in action for action in _actions(statement)):
            yield f"{name} allows {_actions(statement)}"
    for name, role in _of(resources, "AWS::IAM::Role"):
        for policy in role.get("ManagedPolicyArns", []):
            if text(policy).partition(":policy/")[2] not in MANAGED_POLICIES:
                yield f"{name} has {text(policy)}"


def no_principal_is_everybody(resources: Resources) -> Iterator[str]:
    for name, statement in _allowed(resources):
        if "*" in _principals(statement) or "NotPrincipal" in statement:
            yield f"{name} lets everybody {_actions(statement)}"
    yield from (f"{name} lets everybody invoke" for name, each in _of(resources, "AWS::Lambda::Permission") if each["Principal"] == "*")


def grants_name_what_they_are_for(resources: Resources) -> Iterator[str]:
    """A prefix of the bucket, a table, a key, an endpoint, a log group; of alarms, which only are looked at, those of one stack."""
    roles = {name: each for name, each in resources.items() if each["Type"].startswith("AWS::IAM::")}
    for name, statement in _allowed(roles):
        for resource in [] if "Principal" in statement else _resources(statement):  # who may take the role on is another rule's
            wide = [each for each in _actions(statement) if not _is_narrow(each, text(resource), statement.get("Condition", {}))]
            if wide:
                yield f"{name} allows {wide} on {text(resource)}"


def _is_narrow(action: str, resource: str, condition: dict[str, Any]) -> bool:
    """IAM's wildcards are `*` and `?`."""
    bucket, _, prefix = resource.partition("/")
    if action in WITHOUT_RESOURCES:
        return True
    if action == "s3:ListBucket":
        prefixes = _list(condition.get("StringLike", {}).get("s3:prefix", ""))
        return not re.search("[*?]", resource) and all(_is_of_one_model(action, each, bucket) for each in prefixes)
    if action.startswith("s3:"):
        return not re.search("[*?]", bucket) and _is_of_one_model(action, prefix, bucket)
    if action == "cloudwatch:DescribeAlarms":
        return re.search(r":alarm:ServerlessOnnx-[\w-]+-\*$", resource) is not None
    if resource.endswith(":network-interface/*"):
        return not re.search("[*?]", text(condition.get("ArnEquals", {}).get("ec2:Subnet", "*")))
    # All executions of one machine: each has a name of its own.
    return not re.search("[*?]", re.sub(r"(:execution:[\w-]+):\*$", r"\1", resource))


def _is_of_one_model(action: str, prefix: str, bucket: str) -> bool:
    """A job's key begins with its model, and so does that of what SageMaker captured with a word that is none; data sets lie in folders,
    of which those who read them may list all.
    """
    of_one = r"models/[^/*?]+/"
    if "storejobs" in bucket or "storedata" in bucket:
        of_one = r"[^/*?]+/|$" if action == "s3:ListBucket" and "storedata" in bucket else r"[^/*?]+/"
    return (action, prefix) in ACROSS_MODELS or re.match(of_one, prefix) is not None


def metrics_are_of_a_known_namespace(resources: Resources) -> Iterator[str]:
    for name, statement in _allowed(resources):
        if "cloudwatch:PutMetricData" in _actions(statement):
            namespaces = _list(statement.get("Condition", {}).get("StringEquals", {}).get("cloudwatch:namespace", "*"))
            if any(re.search("[*?]", each) for each in namespaces):
                yield f"{name} writes metrics of {namespaces}"


def only_one_endpoint_is_invoked(resources: Resources) -> Iterator[str]:
    """By its name, and nothing else is asked of SageMaker; of an endpoint that several models share, no other model."""
    for name, statement in _allowed(resources):
        models = _list(statement.get("Condition", {}).get("StringLike", {}).get("sagemaker:TargetModel", ""))
        own = all(re.fullmatch(r"[^/*?]+/versions/\*", each) for each in models)
        endpoints = [text(each) for each in _resources(statement)]
        one = len(endpoints) == 1 and re.fullmatch(r"[^*?]+:endpoint/[^/*?]+", endpoints[0])
        invocations = {"sagemaker:InvokeEndpointAsync"} | ({"sagemaker:InvokeEndpoint"} if own else set())
        for action in _actions(statement):
            if action.startswith("sagemaker:") and not (one and action in invocations):
                yield f"{name} allows {action} on {endpoints}, models {models}"


def containers_are_isolated(resources: Resources) -> Iterator[str]:
    """From every network, or in one of ours; and their logs hold no payload."""
    for name, model in _of(resources, "AWS::SageMaker::Model"):
        if not (model.get("EnableNetworkIsolation") is True or model.get("VpcConfig", {}).get("SecurityGroupIds")):
            yield f"{name} reaches the internet"
        if model.get("PrimaryContainer", {}).get("Environment", {}).get("SAGEMAKER_TRITON_LOG_VERBOSE") != "false":
            yield f"{name} logs payloads"


def updates_of_endpoints_can_go_back(resources: Resources) -> Iterator[str]:
    """By alarms of this template, to what ran before, and with as many instances as there were."""
    alarms = {name for name, _ in _of(resources, "AWS::CloudWatch::Alarm")}
    for name, endpoint in _of(resources, "AWS::SageMaker::Endpoint"):
        rollback = endpoint.get("DeploymentConfig", {}).get("AutoRollbackConfiguration", {}).get("Alarms", [])
        watched = [each["AlarmName"].get("Ref") for each in rollback]
        if not watched or not alarms.issuperset(watched) or endpoint.get("RetainAllVariantProperties") is not True:
            yield f"{name} is updated without a way back"


def every_method_wants_a_clients_key(resources: Resources) -> Iterator[str]:
    """But a browser's preflight, which carries none, where CORS is on."""
    cors = any(each.get("Environment", {}).get("Variables", {}).get("CORS_ORIGIN") for _, each in _of(resources, "AWS::Lambda::Function"))
    for name, method in _of(resources, "AWS::ApiGateway::Method"):
        authorized = method.get("AuthorizationType") == "CUSTOM" and method.get("AuthorizerId") and method.get("ApiKeyRequired") is True
        if not authorized and not (cors and method["HttpMethod"] == "OPTIONS"):
            yield f"{name} opens {method['HttpMethod']} to anybody"


def everything_is_encrypted(resources: Resources) -> Iterator[str]:
    """Log groups, SSM parameters and functions are, under AWS's keys, without being asked."""
    for kind, is_encrypted in _ENCRYPTED.items():
        yield from (f"{name} is not encrypted" for name, each in _of(resources, kind) if not is_encrypted(each))


def plain_http_is_refused(resources: Resources) -> Iterator[str]:
    """API Gateway, Lambda, DynamoDB and KMS take nothing but TLS."""
    for kind, (policy_kind, target) in _TLS.items():
        safe = [
            text(each)
            for _, policy in _of(resources, policy_kind)
            if any(_refuses_http(statement) for statement in policy["PolicyDocument"]["Statement"])
            for each in _list(policy[target])
        ]
        yield from (f"{name} takes plain HTTP" for name, _ in _of(resources, kind) if f"<{name}>" not in safe)


def _refuses_http(statement: dict[str, Any]) -> bool:
    everybody = statement["Effect"] == "Deny" and "*" in _principals(statement)
    return everybody and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}


def logs_are_forgotten(resources: Resources) -> Iterator[str]:
    groups = dict(_of(resources, "AWS::Logs::LogGroup"))
    yield from (f"{name} keeps logs for ever" for name, each in groups.items() if not each.get("RetentionInDays"))
    for name, function in _of(resources, "AWS::Lambda::Function"):
        if function.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref") not in groups:
            yield f"{name} has no log group of its own"
    named = {each.get("LogGroupName") for each in groups.values()}
    for name, endpoint in _of(resources, "AWS::SageMaker::Endpoint"):
        if f"/aws/sagemaker/Endpoints/{endpoint['EndpointName']}" not in named:
            yield f"{name} has no log group of its own"


def nothing_is_dropped_without_a_word(resources: Resources) -> Iterator[str]:
    """A dead-letter queue, or a destination, wherever something is queued or invoked without waiting."""
    queues = dict(_of(resources, "AWS::SQS::Queue"))
    dead = {text(each["RedrivePolicy"]["deadLetterTargetArn"]) for each in queues.values() if "RedrivePolicy" in each}
    dead |= {text(found) for found in _values(resources, "DeadLetterConfig", "Arn")}
    dead |= {text(found) for found in _values(resources, "OnFailure", "Destination")}
    for name, queue in queues.items():
        if "RedrivePolicy" not in queue and f"<{name}.Arn>" not in dead:
            yield f"{name} has no dead-letter queue"
    for name, each in _of(resources, "AWS::Lambda::EventInvokeConfig"):
        if "OnFailure" not in each.get("DestinationConfig", {}):
            yield f"{name} invokes without a destination for failures"
    for name, each in _of(resources, "AWS::Lambda::EventSourceMapping"):
        # A stream; a queue has a dead-letter queue of its own.
        if "BisectBatchOnFunctionError" in each and "OnFailure" not in each.get("DestinationConfig", {}):
            yield f"{name} skips records without a destination for them"
    for name, each in _of(resources, "AWS::SNS::Subscription"):
        if "RedrivePolicy" not in each:
            yield f"{name} has no dead-letter queue"
    targets = [(name, target) for name, each in _of(resources, "AWS::Events::Rule") for target in each.get("Targets", [])]
    targets += [(name, each["Target"]) for name, each in _of(resources, "AWS::Scheduler::Schedule")]
    yield from (f"{name} has a target without a dead-letter queue" for name, target in targets if "DeadLetterConfig" not in target)


def services_act_for_somebody_we_know(resources: Resources) -> Iterator[str]:
    """aws:SourceArn or aws:SourceAccount, lest a service act on us for somebody else's resource.

    Not in the policy by which a service takes on a role: only this account can pass it the role.
    """
    for name, statement in _allowed(resources):
        if "sts:AssumeRole" not in _actions(statement) and "Service" in statement.get("Principal", {}):
            keys = {key for test in statement.get("Condition", {}).values() for key in test}
            if not keys & {"aws:SourceArn", "aws:SourceAccount"}:
                yield f"{name} lets {_principals(statement)} act for anybody"
    for name, each in _of(resources, "AWS::Lambda::Permission"):
        if text(each["Principal"]).endswith(".amazonaws.com") and not each.keys() & {"SourceArn", "SourceAccount"}:
            yield f"{name} lets {each['Principal']} act for anybody"


def no_bucket_is_public(resources: Resources) -> Iterator[str]:
    for name, bucket in _of(resources, "AWS::S3::Bucket"):
        owned = [{"ObjectOwnership": "BucketOwnerEnforced"}]
        closed = bucket.get("PublicAccessBlockConfiguration") == _BLOCKED and bucket.get("OwnershipControls", {}).get("Rules") == owned
        if not closed or bucket.keys() & {"AccessControl", "WebsiteConfiguration"}:
            yield f"{name} could be public"


def no_secret_is_in_an_environment(resources: Resources) -> Iterator[str]:
    for name, function in _of(resources, "AWS::Lambda::Function"):
        for variable, value in function.get("Environment", {}).get("Variables", {}).items():
            if _SECRET_NAME.search(variable) or _SECRET_VALUE.search(text(value)):
                yield f"{name} has a secret in {variable}"


def data_outlives_its_stack(resources: Resources) -> Iterator[str]:
    for name, each in resources.items():
        kept = each.get("DeletionPolicy") == each.get("UpdateReplacePolicy") == "Retain"
        if each["Type"] in _DATA and not kept:
            yield f"{name} goes with its stack"
    for name, table in _of(resources, "AWS::DynamoDB::Table"):
        recovered = table.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled")
        if not (table.get("DeletionProtectionEnabled") and recovered):
            yield f"{name} can be deleted, or can't be brought back"


def models_are_audited(resources: Resources) -> Iterator[str]:
    """Of a store in production."""
    fields = [field for _, trail in _of(resources, "AWS::CloudTrail::Trail") for field in _field_selectors(trail)]
    if {"Field": "resources.type", "Equals": ["AWS::S3::Object"]} not in fields:
        yield "no trail records who touched the models"


def _field_selectors(trail: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for selector in trail.get("AdvancedEventSelectors", []) if trail.get("IsLogging") else []:
        yield from selector["FieldSelectors"]


def _of(resources: Resources, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, each.get("Properties", {})) for name, each in resources.items() if each["Type"] == kind)


def _allowed(resources: Resources) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy of a template that allows something."""
    for name, each in resources.items():
        for statements in _nested(each, "Statement"):
            yield from ((name, statement) for statement in _list(statements) if statement["Effect"] == "Allow")


def _values(resources: Resources, key: str, inner: str) -> Iterator[Any]:
    for each in resources.values():
        yield from (found[inner] for found in _nested(each, key))


def _nested(value: Any, key: str) -> Iterator[Any]:
    """What stands under `key` anywhere in `value`; a rule group of a firewall has a `Statement` too, which is no policy's."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key and "ManagedRuleGroupStatement" not in inner and "RateBasedStatement" not in inner:
                yield inner
            yield from _nested(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _nested(inner, key)


def _actions(statement: dict[str, Any]) -> list[str]:
    return _list(statement.get("Action", "*"))  # NotAction allows nearly everything


def _resources(statement: dict[str, Any]) -> list[Any]:
    return _list(statement.get("Resource", "*"))  # NotResource opens nearly everything


def _principals(statement: dict[str, Any]) -> list[Any]:
    principal = statement.get("Principal", {})
    return ["*"] if principal == "*" else [each for named in principal.values() for each in _list(named)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
