"""Every door for other services, wired once with the sample models: to try, and to copy from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from models.config import ModelConfig

from .optional_stack import OptionalStack
from .roles import MachineRole
from .settings import DeploymentSettings
from .store import Store
from .stream_scoring import StreamScoring
from .ways_in import AllowInvoke, PredictOnEvent, PredictOnObject, Undelivered, predict_task

__all__ = ["Examples"]


class Examples(OptionalStack):
    """Nothing here costs while nothing happens; it is empty without the sample models, or with `examples` off."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        store: Store,
        models: Sequence[ModelConfig],
        **kwargs: Any,
    ) -> None:
        served = {model.name for model in models if model.target == "lambda"} & {"fraud", "fruit"} if settings.examples else set()
        super().__init__(scope, construct_id, description=f"Doors of {settings.name} to try", empty=not served, **kwargs)
        self._settings, self._store = settings, store
        if served:
            self._told()
        if "fruit" in served:
            self._fruit()
        if "fraud" in served:
            self._fraud()

    def _fruit(self) -> None:
        """Weighed fruit by an event, or by an object in the bucket of data sets."""
        weighed = events.EventPattern(source=["orchard"], detail_type=["Fruit Weighed"])
        row = [events.EventField.from_path("$.detail.weight"), events.EventField.from_path("$.detail.texture")]
        request = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": row}]}
        PredictOnEvent(self, "FruitWeighed", settings=self._settings, model="fruit", pattern=weighed, request=request)
        PredictOnObject(self, "FruitObject", settings=self._settings, model="fruit", bucket=self._data(), prefix="examples/fruit/")

    def _fraud(self) -> None:
        """Payments by a table's stream, or one in a state machine; and a role that may ask the function itself."""
        payments = self._payments()
        StreamScoring(self, "Payments", settings=self._settings, store=self._store, model="fraud", source=payments, tell="fraud >= 0.8")
        machine = self._machine()
        auditor = iam.Role(self, "Auditor", assumed_by=iam.AccountRootPrincipal(), description="May ask the fraud model directly")
        AllowInvoke(self, "AuditorMayAsk", settings=self._settings, model="fraud", role=auditor)
        CfnOutput(self, "PaymentTable", value=payments.table_name, description="Payments put here are scored; those like fraud are told")
        CfnOutput(self, "PaymentMachine", value=machine.state_machine_arn, description="Scores one payment")
        CfnOutput(self, "AuditorRole", value=auditor.role_arn, description="May ask the fraud model's function directly")

    def _told(self) -> None:
        """Keeps what the other doors tell for a day, on a queue that nothing takes from but who looks."""
        undelivered = Undelivered(self, "NotTold")
        queue = sqs.Queue(
            self,
            "Predictions",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(1),
            dead_letter_queue=sqs.DeadLetterQueue(queue=undelivered, max_receive_count=1000),
        )
        events.Rule(
            self,
            "Told",
            description=f"{self._settings.name}: predictions for other services",
            event_pattern=events.EventPattern(source=[self._settings.service], detail_type=events.Match.prefix("Prediction ")),
            targets=[targets.SqsQueue(queue, dead_letter_queue=undelivered)],
        )
        CfnOutput(self, "PredictionQueueUrl", value=queue.queue_url, description="What became of predictions for other services")

    def _data(self) -> s3.IBucket:
        """The deployment's own bucket of data sets, which sends its events to EventBridge."""
        key = self._store.key_arn(self)
        return s3.Bucket.from_bucket_attributes(
            self,
            "Data",
            bucket_name=self._store.data_bucket_name(self),
            encryption_key=kms.Key.from_key_arn(self, "Key", key) if key else None,
        )

    def _payments(self) -> dynamodb.Table:
        """Made payments; they go with the stack."""
        return dynamodb.Table(
            self,
            "PaymentItems",
            partition_key=dynamodb.Attribute(name="payment", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            stream=dynamodb.StreamViewType.NEW_IMAGE,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _machine(self) -> sfn.StateMachine:
        role = MachineRole(self, "MachineRole", policy_name="Payment")
        score = predict_task(self, "Score", settings=self._settings, model="fraud", inputs=_payment(), role=role)
        return sfn.StateMachine(
            self,
            "Payment",
            definition_body=sfn.DefinitionBody.from_chainable(score),
            role=role.without_policy_updates(),
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=logs.LogGroup(
                    self, "MachineLogs", retention=self._settings.log_retention, removal_policy=RemovalPolicy.DESTROY
                ),
                level=sfn.LogLevel.ALL,
                include_execution_data=False,
            ),
        )


def _payment() -> list[dict[str, Any]]:
    """The tensors of one payment, each from the field of its name."""
    kinds = {"FP32": ("amount", "hour", "payments_today", "new_device"), "BYTES": ("country", "merchant")}
    return [
        {"name": name, "datatype": datatype, "shape": [1, 1], "data.$": f"States.Array($.{name})"}
        for datatype, names in kinds.items()
        for name in names
    ]
