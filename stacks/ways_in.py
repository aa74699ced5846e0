"""Doors for other AWS services, one line each: events, objects, state machines, roles, other accounts.

Queues and functions are found by the names that a deployment gives them, so a stack of another app may stand at these doors too, once the
deployment is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aws_cdk import ArnFormat, Aws, Duration, Names, Stack, Token
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from models.config import MODELS, ModelConfig

from .acknowledgements import acknowledge, acknowledge_wildcard
from .alarms import UndeliveredAlarm
from .roles import NarrowRole
from .settings import DeploymentSettings

__all__ = ["AllowAccount", "AllowInvoke", "HeavyModelError", "PredictOnEvent", "PredictOnObject", "Undelivered", "Webhook", "predict_task"]

Priority = Literal["high", "low"]
Kind = Literal["Job Succeeded", "Job Failed", "Prediction Made", "Prediction Failed", "Data Set Scored", "Data Set Failed"]
_LONGEST_RULE_NAME = 64
_LAMBDAS_FAULTS = ["Lambda.ClientExecutionTimeoutException", "Lambda.ServiceException", "Lambda.AWSLambdaException"]
_LAMBDAS_FAULTS += ["Lambda.SdkClientException", "Lambda.TooManyRequestsException"]
_PASSING = ["ModelNotReady", "ModelLoading", "StoreUnavailable", "EndpointUnavailable"]
"""What a model's function raises that another try may answer."""


class HeavyModelError(ValueError):
    """A queue's worker was to run a model that needs an endpoint."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f'{model} has target = "gpu", and the workers of queues and streams run target = "lambda"; use predict_task or AllowInvoke, '
            f"which ask its function, or give models/{model}/model.toml the other target"
        )


class Undelivered(sqs.Queue):
    """Where what could not be delivered or scored waits for somebody to look, for as long as SQS keeps it: 14 days."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope, construct_id, encryption=sqs.QueueEncryption.SQS_MANAGED, enforce_ssl=True, retention_period=Duration.days(14)
        )
        acknowledge(self, "Serverless-SQSRedrivePolicy", "It is the dead-letter queue itself: of a rule's target, or of a stream.")


class _Rule(Construct):
    """What matches becomes a message on a queue of jobs; EventBridge tries for a day, and then puts the event aside."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        model: str,
        pattern: events.EventPattern,
        message: Mapping[str, Any],
        priority: Priority,
        event_bus: events.IEventBus | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        prefix = settings.rule_name("")
        name = Names.unique_resource_name(self, max_length=_LONGEST_RULE_NAME - len(prefix), separator="-")
        self.undelivered = undelivered(self, settings)
        arn = Stack.of(self).format_arn(service="sqs", resource=settings.queue_name(priority))
        self.rule = events.Rule(
            self,
            "Rule",
            rule_name=settings.rule_name(name),  # by which the queue's policy knows it
            description=f"{settings.name}: {queued(model).name} predicts on what matches",
            event_pattern=pattern,
            event_bus=event_bus,
        )
        self.rule.add_target(
            targets.SqsQueue(
                sqs.Queue.from_queue_arn(self, "Jobs", arn),
                message=events.RuleTargetInput.from_object({"id": events.EventField.event_id, "door": name, "model": model, **message}),
                message_group_id=name,  # so that a rule that matches much leaves the others their share
                dead_letter_queue=self.undelivered,
                max_event_age=Duration.hours(24),
                retry_attempts=185,
            )
        )


class PredictOnEvent(_Rule):
    """An EventBridge event that matches becomes a prediction, told by an event "Prediction Made" or "Prediction Failed" with its id."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        model: str,
        pattern: events.EventPattern,
        request: Mapping[str, Any],
        priority: Priority = "low",
        event_bus: events.IEventBus | None = None,
    ) -> None:
        """`request` is an inference request, with `EventField.from_path` where a value of the event belongs; as JSON it has at most 8 KiB.

        `event_bus` is the default one unless given; predictions are told on the default one. Raises `HeavyModelError`, `ModelConfigError`.
        """
        message = {"request": request}
        properties: dict[str, Any] = {"pattern": pattern, "message": message, "priority": priority, "event_bus": event_bus}
        super().__init__(scope, construct_id, settings=settings, model=model, **properties)


class PredictOnObject(_Rule):
    """An object put below a prefix of a bucket is an inference request, answered by an event as `PredictOnEvent` is.

    The bucket has to send its events to EventBridge.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        model: str,
        bucket: s3.IBucket,
        prefix: str,
        priority: Priority = "low",
        header_length: int | None = None,
    ) -> None:
        """`header_length` is the JSON's length in objects with binary tensors behind it, 0 for the data of the only input and nothing else.

        The worker may read what is below `prefix`, and decrypt it where the bucket's key is known. Raises as `PredictOnEvent` does.
        """
        key = events.EventField.from_path("$.detail.object.key")
        message: dict[str, Any] = {"object": {"bucket": events.EventField.from_path("$.detail.bucket.name"), "key": key}}
        if header_length is not None:
            message["header_length"] = header_length
        pattern = events.EventPattern(
            source=["aws.s3"],
            detail_type=["Object Created"],
            detail={"bucket": {"name": [bucket.bucket_name]}, "object": {"key": [{"prefix": prefix}]}},
        )
        super().__init__(scope, construct_id, settings=settings, model=model, pattern=pattern, message=message, priority=priority)
        self._grant_read(settings, bucket, prefix)

    def _grant_read(self, settings: DeploymentSettings, bucket: s3.IBucket, prefix: str) -> None:
        """By a policy of this stack at the role of the worker, which lives in another: neither stack has to know the other's resources.

        A managed one: what the role has inline already may fill its 10,240 characters.
        """
        name = ssm.StringParameter.value_for_string_parameter(self, settings.job_role_parameter)
        objects = bucket.arn_for_objects(f"{prefix}*")
        policy = iam.ManagedPolicy(self, "Read", roles=[iam.Role.from_role_name(self, "Worker", name)])
        policy.add_statements(iam.PolicyStatement(actions=["s3:GetObject"], resources=[objects]))
        acknowledge_wildcard(policy, objects, "The prefix below which objects are requests; their names are not known beforehand.")
        if bucket.encryption_key:
            policy.add_statements(iam.PolicyStatement(actions=["kms:Decrypt"], resources=[bucket.encryption_key.key_arn]))


class Webhook(Construct):
    """Posts what the deployment tells to an address outside AWS: the event as it is, with a secret in a header.

    EventBridge tries for a day, and then puts the event aside in `undelivered`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        url: str,
        secret: secretsmanager.ISecret,
        header: str = "x-api-key",
        kinds: Sequence[Kind] = ("Job Succeeded", "Job Failed"),
        clients: Sequence[str] | None = None,
        requests_per_second: int = 10,
    ) -> None:
        """`secret` is the value of `header`, all of it: of `Authorization`, one that reads `Bearer …`.

        `clients` are those whose jobs are told; without it all are. Raises `ValueError` for what EventBridge would not post to, or never.
        """
        super().__init__(scope, construct_id)
        if not Token.is_unresolved(url) and not url.startswith("https://"):
            raise ValueError(f"url is {url!r}; EventBridge posts to https:// only")
        if clients is not None and (others := [kind for kind in kinds if not kind.startswith("Job ")]):
            raise ValueError(f"{' and '.join(others)} has no client, so clients can't choose among it; give it a Webhook of its own")
        self.undelivered = undelivered(self, settings)
        connection = events.Connection(self, "Connection", authorization=events.Authorization.api_key(header, secret.secret_value))
        destination = events.ApiDestination(
            self, "Destination", connection=connection, endpoint=url, rate_limit_per_second=requests_per_second
        )
        role = NarrowRole(self, "Role", assumed_by=iam.ServicePrincipal("events.amazonaws.com"), policy_name="Post")
        role.allow(["events:InvokeApiDestination"], destination.api_destination_arn)
        events.Rule(
            self,
            "Rule",
            description=f"{settings.name}: {', '.join(kinds)} to a webhook",
            event_pattern=events.EventPattern(
                source=[settings.service], detail_type=list(kinds), detail=None if clients is None else {"client": list(clients)}
            ),
            targets=[
                targets.ApiDestination(
                    destination,
                    event_role=role.without_policy_updates(),
                    dead_letter_queue=self.undelivered,
                    max_event_age=Duration.hours(24),
                    retry_attempts=185,
                )
            ],
        )


class AllowInvoke(Construct):
    """Lets one role invoke a model's function with an inference request, and no other function, version or alias."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, model: str, role: iam.IRole) -> None:
        """Raises `ModelConfigError` where there is no such model."""
        super().__init__(scope, construct_id)
        policy = iam.Policy(self, "Policy", roles=[role])
        policy.add_statements(iam.PolicyStatement(actions=["lambda:InvokeFunction"], resources=[function_arn(self, settings, model)]))


class AllowAccount(Construct):
    """Lets another account give its roles `lambda:InvokeFunction` on a model's function."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        model: str,
        account: str,
        organization: str | None = None,
    ) -> None:
        """`account` has 12 digits; with `organization`, such as o-a1b2c3d4e5, it holds only while the account belongs to it.

        Raises `ModelConfigError` where there is no such model.
        """
        super().__init__(scope, construct_id)
        lambda_.CfnPermission(
            self,
            "Permission",
            action="lambda:InvokeFunction",
            function_name=settings.function_name(_config(model)),
            principal=account,
            principal_org_id=organization,
        )


def predict_task(
    scope: Construct, construct_id: str, *, settings: DeploymentSettings, model: str, inputs: Sequence[Mapping[str, Any]], role: iam.IRole
) -> sfn.CustomState:
    """A state that asks a model's function; `role` is the state machine's, which gets the permission.

    `inputs` are the tensors of an inference request; a key such as `data.$` takes its value from the state's input. The state's result
    has `model_name`, `model_version` and `outputs`. Raises `ModelConfigError` where there is no such model.
    """
    AllowInvoke(scope, f"{construct_id}Permission", settings=settings, model=model, role=role)
    asked = {"FunctionName": function_arn(scope, settings, model), "Payload": {"inputs": list(inputs)}}
    parts = ("model_name", "model_version", "outputs")
    state = {
        "Type": "Task",
        "Resource": f"arn:{Aws.PARTITION}:states:::lambda:invoke",
        "Parameters": asked,
        "ResultSelector": {f"{part}.$": f"$.Payload.{part}" for part in parts},
        "TimeoutSeconds": 60,  # an answer that gets lost would be waited for without end
        "Retry": [
            {
                "ErrorEquals": [*_LAMBDAS_FAULTS, *_PASSING],
                "IntervalSeconds": 1,
                "BackoffRate": 2,
                "MaxAttempts": 6,
                "JitterStrategy": "FULL",
            }
        ],
    }
    return sfn.CustomState(scope, construct_id, state_json=state)


def undelivered(scope: Construct, settings: DeploymentSettings) -> Undelivered:
    """The queue of one door, with an alarm where somebody hears it: one has a price."""
    queue = Undelivered(scope, "Undelivered")
    # Which knows the dead-letter queues of other queues only.
    acknowledge(queue, "AwsSolutions-SQS3", "It is the dead-letter queue itself: of a rule's target, or of a stream.")
    if settings.alarm_topic_arn:
        UndeliveredAlarm(scope, "UndeliveredAlarm", settings=settings, queue=queue)
    return queue


def queued(model: str) -> ModelConfig:
    """A model that workers of queues and streams can run. Raises `HeavyModelError`, `ModelConfigError`."""
    config = _config(model)
    if config.target != "lambda":
        raise HeavyModelError(model)
    return config


def function_arn(scope: Construct, settings: DeploymentSettings, model: str) -> str:
    """Of the function that answers for `model`, as `scope`'s stack says it."""
    name = settings.function_name(_config(model))
    return Stack.of(scope).format_arn(service="lambda", resource="function", resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME)


def _config(model: str) -> ModelConfig:
    return ModelConfig.load(MODELS / model)
