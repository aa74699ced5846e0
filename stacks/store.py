"""Models and clients: the one stack that holds state, and the only one that may grant access to it."""

from __future__ import annotations

from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from .roles import FunctionRole
from .settings import DeploymentSettings

__all__ = ["Store"]

_WRITTEN_ONCE = ("models/*/versions/*", "models/*/history/*")


class Store(Stack):
    """A bucket with versions and aliases of models, its key, and a table of clients.

    Other stacks learn their names from SSM parameters, never through an export, so that no stack locks another.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, **kwargs: Any) -> None:
        super().__init__(scope, construct_id, description=f"Model store of {settings.name}", **kwargs)
        self._prefix = f"/serverless-onnx/{settings.name}/store"
        name, key_arn = settings.existing_bucket, settings.existing_key_arn
        if name is None:
            key = self._key()
            name, key_arn = self._bucket(settings, key).bucket_name, key.key_arn
        self._publish("bucket", name)
        if key_arn is not None:
            self._publish("key", key_arn)
        self._encrypted = key_arn is not None
        clients = self._clients().table_name
        self._publish("clients", clients)
        CfnOutput(self, "ModelBucket", value=name, description="Where modelctl publishes models")
        CfnOutput(self, "ClientTable", value=clients, description="Where modelctl keeps clients")

    def bucket_name(self, reader: Construct) -> str:
        """The bucket's name as `reader`'s stack may use it."""
        return self._look_up(reader, "bucket")

    def client_table_name(self, reader: Construct) -> str:
        """The client table's name as `reader`'s stack may use it."""
        return self._look_up(reader, "clients")

    def grant_read(self, role: FunctionRole, model_name: str) -> None:
        """Lets `role` read versions and aliases of one model, and nothing else."""
        self._grant(role, actions=["s3:GetObject", "s3:GetObjectVersion"], prefix=f"models/{model_name}/*")

    def grant_read_aliases(self, role: FunctionRole) -> None:
        """Lets `role` see which models are promoted, but no model."""
        self._grant(role, actions=["s3:GetObject"], prefix="models/*/aliases/*")

    def grant_read_clients(self, role: FunctionRole) -> None:
        """Lets `role` look up one client at a time; it can list none."""
        role.allow(["dynamodb:GetItem"], self.format_arn(service="dynamodb", resource="table", resource_name=self.client_table_name(role)))

    def _grant(self, role: FunctionRole, *, actions: list[str], prefix: str) -> None:
        bucket_arn = self.format_arn(service="s3", region="", account="", resource=self._look_up(role, "bucket"))
        role.allow(actions, f"{bucket_arn}/{prefix}")
        # Without it S3 answers 403 for a key that doesn't exist, and a model that isn't there looks like a missing permission.
        role.allow(["s3:ListBucket"], bucket_arn, conditions={"StringLike": {"s3:prefix": prefix}})
        if self._encrypted:
            role.allow(["kms:Decrypt"], self._look_up(role, "key"))

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

    def _key(self) -> kms.Key:
        return kms.Key(self, "Key", description="Encrypts the model store", enable_key_rotation=True, removal_policy=RemovalPolicy.RETAIN)

    def _bucket(self, settings: DeploymentSettings, key: kms.Key) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Bucket",
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            server_access_logs_bucket=self._access_logs(settings),
            lifecycle_rules=[
                # A current object never expires. Overwriting under versions/ is refused, so what is noncurrent there was deleted by
                # `modelctl prune`, which spares every aliased version; of aliases/ it is where the alias pointed before.
                s3.LifecycleRule(
                    noncurrent_version_expiration=Duration.days(settings.noncurrent_days),
                    expired_object_delete_marker=True,
                    abort_incomplete_multipart_upload_after=Duration.days(7),
                )
            ],
            removal_policy=RemovalPolicy.RETAIN,
        )
        bucket.add_to_resource_policy(_write_once(bucket))
        return _retained(bucket)

    def _access_logs(self, settings: DeploymentSettings) -> s3.Bucket:
        logs = s3.Bucket(
            self,
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,  # S3 can't deliver access logs under a KMS key
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            lifecycle_rules=[s3.LifecycleRule(expiration=Duration.days(settings.access_log_days))],
            removal_policy=RemovalPolicy.RETAIN,
        )
        return _retained(logs)


def _retained(bucket: s3.Bucket) -> s3.Bucket:
    """Keeps the policy with the bucket: without it a bucket that outlives the stack would take plain HTTP and lose what is written once."""
    assert bucket.policy is not None  # `enforce_ssl` makes it
    bucket.policy.apply_removal_policy(RemovalPolicy.RETAIN)
    return bucket


def _write_once(bucket: s3.Bucket) -> iam.PolicyStatement:
    """Refuses a put that could replace an object; the calls that begin a multipart upload can't carry the header and create no object.

    Source: Amazon S3 User Guide, "Enforce conditional writes on Amazon S3 buckets".
    """
    return iam.PolicyStatement(
        sid="VersionsAndHistoryAreWrittenOnce",
        effect=iam.Effect.DENY,
        principals=[iam.AnyPrincipal()],
        actions=["s3:PutObject"],
        resources=[bucket.arn_for_objects(keys) for keys in _WRITTEN_ONCE],
        conditions={"Null": {"s3:if-none-match": "true"}, "Bool": {"s3:ObjectCreationOperation": "true"}},
    )
