"""What every bucket of ours promises: private, over TLS only, and outliving its stack."""

from __future__ import annotations

from typing import Any

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

__all__ = ["DataBucket", "JobBucket", "LogBucket", "ModelBucket"]

_WRITTEN_ONCE = ("models/*/versions/*", "models/*/history/*")


class _Retained(s3.Bucket):
    """Keeps its policy too: without it a bucket that outlives the stack would take plain HTTP and lose what is written once."""

    def __init__(self, scope: Construct, construct_id: str, **properties: Any) -> None:
        super().__init__(
            scope,
            construct_id,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.RETAIN,
            **properties,
        )
        assert self.policy is not None  # `enforce_ssl` makes it
        self.policy.apply_removal_policy(RemovalPolicy.RETAIN)


class LogBucket(_Retained):
    """Takes logs under S3's own keys, as S3's access logs demand, and forgets them after some days."""

    def __init__(self, scope: Construct, construct_id: str, *, days: int, **properties: Any) -> None:
        rules = [
            s3.LifecycleRule(
                expiration=Duration.days(days),
                noncurrent_version_expiration=Duration.days(days) if properties.get("versioned") else None,
            )
        ]
        super().__init__(scope, construct_id, encryption=s3.BucketEncryption.S3_MANAGED, lifecycle_rules=rules, **properties)


class ModelBucket(_Retained):
    """Versions and aliases of models, under a key of their own; what is written once can't be replaced."""

    def __init__(self, scope: Construct, construct_id: str, *, access_logs: s3.IBucket, noncurrent_days: int) -> None:
        key = kms.Key(scope, "Key", description="Encrypts the model store", enable_key_rotation=True, removal_policy=RemovalPolicy.RETAIN)
        # A current object never expires. Overwriting under versions/ is refused, so what is noncurrent there was deleted by
        # `modelctl prune`, which spares every aliased version; of aliases/ it is where the alias pointed before.
        expiry = s3.LifecycleRule(
            noncurrent_version_expiration=Duration.days(noncurrent_days),
            expired_object_delete_marker=True,
            abort_incomplete_multipart_upload_after=Duration.days(7),
        )
        super().__init__(
            scope,
            construct_id,
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            server_access_logs_bucket=access_logs,
            lifecycle_rules=[expiry],
        )
        self.key_arn = key.key_arn
        self.add_to_resource_policy(_write_once(self))


class _Forgetful(_Retained):
    """Under the store's key, or S3's where it has none; everything in it is forgotten after some days."""

    def __init__(
        self, scope: Construct, construct_id: str, *, access_logs: s3.IBucket, key: kms.IKey | None, days: int, **properties: Any
    ) -> None:
        expiry = s3.LifecycleRule(expiration=Duration.days(days), abort_incomplete_multipart_upload_after=Duration.days(1))
        super().__init__(
            scope,
            construct_id,
            encryption=s3.BucketEncryption.KMS if key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            server_access_logs_bucket=access_logs,
            lifecycle_rules=[expiry],
            **properties,
        )


class JobBucket(_Forgetful):
    """Requests and answers of jobs, uploads, and what SageMaker captures; pages of `cors_origin` may use its presigned URLs."""

    def __init__(self, scope: Construct, construct_id: str, *, cors_origin: str, **properties: Any) -> None:
        cors = [_from_anywhere(), _uploads(cors_origin)] if cors_origin else None
        super().__init__(scope, construct_id, server_access_logs_prefix="jobs/", cors=cors, **properties)


class DataBucket(_Forgetful):
    """Data sets and their predictions; EventBridge hears of every object that is put into it."""

    def __init__(self, scope: Construct, construct_id: str, **properties: Any) -> None:
        super().__init__(scope, construct_id, server_access_logs_prefix="data/", **properties)
        bucket = self.node.default_child
        assert isinstance(bucket, s3.CfnBucket)
        # Not by `event_bridge_enabled`, which brings a function of CDK's own to do what CloudFormation can by itself.
        bucket.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            event_bridge_configuration=s3.CfnBucket.EventBridgeConfigurationProperty(event_bridge_enabled=True)
        )


def _from_anywhere() -> s3.CorsRule:
    """A browser that the API sends on to a result names no origin any more."""
    return s3.CorsRule(allowed_methods=[s3.HttpMethods.GET], allowed_origins=["*"], max_age=600)


def _uploads(origin: str) -> s3.CorsRule:
    return s3.CorsRule(allowed_methods=[s3.HttpMethods.PUT], allowed_origins=[origin], allowed_headers=["*"], max_age=600)


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
