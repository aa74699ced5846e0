"""Models and clients: the one stack that holds state, and the only one that may grant access to it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from .audit import Audit
from .buckets import LogBucket, ModelBucket
from .roles import FunctionRole
from .settings import DeploymentSettings

__all__ = ["Store"]


class Store(Stack):
    """A bucket with versions and aliases of models, its key, and a table of clients.

    Other stacks learn their names from SSM parameters, never through an export, so that no stack locks another.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, **kwargs: Any) -> None:
        super().__init__(scope, construct_id, description=f"Model store of {settings.name}", **kwargs)
        self._prefix = f"/serverless-onnx/{settings.name}/store"
        self._encrypted = settings.existing_bucket is None or settings.existing_key_arn is not None
        self._settings = settings
        bucket = self._models()
        clients = settings.existing_client_table or self._clients().table_name
        self._publish("clients", clients)
        CfnOutput(self, "ModelBucket", value=bucket, description="Where modelctl publishes models")
        CfnOutput(self, "ClientTable", value=clients, description="Where modelctl keeps clients")
        if settings.signed_manifests:
            signing_key = settings.existing_signing_key_arn or self._signing_key().key_arn
            self._publish("signing-key", signing_key)
            CfnOutput(self, "SigningKey", value=signing_key, description="What modelctl signs manifests with")

    def bucket_name(self, reader: Construct) -> str:
        """The bucket's name as `reader`'s stack may use it."""
        return self._look_up(reader, "bucket")

    def client_table_name(self, reader: Construct) -> str:
        """The client table's name as `reader`'s stack may use it."""
        return self._look_up(reader, "clients")

    def signing_key_arn(self, reader: Construct) -> str:
        """The signing key's ARN as `reader`'s stack may use it; empty where manifests are not signed."""
        return self._look_up(reader, "signing-key") if self._settings.signed_manifests else ""

    def grant_read(self, role: FunctionRole, model_name: str) -> None:
        """Lets `role` read versions and aliases of one model and see who signed them, and nothing else."""
        narrow = "The prefix of the one model that this function serves; its files' names are not known beforehand."
        self._grant(role, actions=["s3:GetObject", "s3:GetObjectVersion"], prefix=f"models/{model_name}/*", wildcard=narrow)
        if self._settings.signed_manifests:
            role.allow(["kms:GetPublicKey"], self.signing_key_arn(role))

    def grant_read_aliases(self, role: FunctionRole) -> None:
        """Lets `role` see which models are promoted, but no model."""
        narrow = "Aliases only: small documents that name a version and its hashes; no model's bytes."
        self._grant(role, actions=["s3:GetObject"], prefix="models/*/aliases/*", wildcard=narrow)

    def grant_read_clients(self, role: FunctionRole) -> None:
        """Lets `role` look up one client at a time; it can list none."""
        role.allow(["dynamodb:GetItem"], self.format_arn(service="dynamodb", resource="table", resource_name=self.client_table_name(role)))

    def _grant(self, role: FunctionRole, *, actions: list[str], prefix: str, wildcard: str) -> None:
        bucket_arn = self.format_arn(service="s3", region="", account="", resource=self._look_up(role, "bucket"))
        role.allow(actions, f"{bucket_arn}/{prefix}", wildcard=wildcard)
        # Without it S3 answers 403 for a key that doesn't exist, and a model that isn't there looks like a missing permission.
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": prefix}})
        if self._encrypted:
            role.allow(["kms:Decrypt"], self._look_up(role, "key"))

    def _models(self) -> str:
        """Makes or adopts the bucket of models, and its audit; the bucket's name."""
        settings = self._settings
        name, key_arn = settings.existing_bucket, settings.existing_key_arn
        if name is None:
            bucket = ModelBucket(self, "Bucket", access_logs=self._access_logs, noncurrent_days=settings.noncurrent_days)
            name, key_arn = bucket.bucket_name, bucket.key_arn
        self._publish("bucket", name)
        if key_arn is not None:
            self._publish("key", key_arn)
        if settings.audit:
            arn = self.format_arn(service="s3", region="", account="", resource=name)
            Audit(self, "Audit", model_bucket_arn=arn, access_logs=self._access_logs, days=settings.access_log_days)
        return name

    @cached_property
    def _access_logs(self) -> LogBucket:
        return LogBucket(self, "AccessLogs", days=self._settings.access_log_days)

    def _publish(self, name: str, value: str) -> None:
        ssm.StringParameter(self, f"{name.title()}Parameter", parameter_name=f"{self._prefix}/{name}", string_value=value)

    def _look_up(self, reader: Construct, name: str) -> str:
        return ssm.StringParameter.value_for_string_parameter(reader, f"{self._prefix}/{name}")

    def _clients(self) -> dynamodb.Table:
        """One item a client, with the hashes of its keys."""
        return dynamodb.Table(
            self,
            "Clients",
            partition_key=dynamodb.Attribute(name="client", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            # AWS's key in KMS: a store without a key of its own has one too, and readers need no permission for it.
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _signing_key(self) -> kms.Key:
        return kms.Key(
            self,
            "Signing",
            description="Signs the manifests of models",
            key_spec=kms.KeySpec.RSA_3072,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            removal_policy=RemovalPolicy.RETAIN,
        )
