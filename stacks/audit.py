"""Who read and wrote what in the model store: a CloudTrail trail of that bucket's objects and of nothing else."""

from __future__ import annotations

from typing import Any

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from .buckets import LogBucket

__all__ = ["Audit"]

_CLOUDTRAIL = "cloudtrail.amazonaws.com"


class Audit(Construct):
    """A trail with a bucket and a key of its own, so that who may read models can't read, or change, what is known of it.

    Source of the two policies: AWS CloudTrail User Guide, "Amazon S3 bucket policy for CloudTrail" and "Configure AWS KMS key policies".
    """

    def __init__(self, scope: Construct, construct_id: str, *, model_bucket_arn: str, access_logs: s3.IBucket, days: int) -> None:
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        # Bucket and key name the trail in their policies, and the trail names them: only a name given beforehand breaks the circle.
        name = f"{stack.stack_name}-models"
        arn = stack.format_arn(service="cloudtrail", resource="trail", resource_name=name)
        bucket = self._bucket(arn, access_logs, days)
        trail = cloudtrail.CfnTrail(
            self,
            "Trail",
            trail_name=name,
            s3_bucket_name=bucket.bucket_name,
            kms_key_id=self._key(arn).key_arn,
            is_logging=True,
            enable_log_file_validation=True,
            include_global_service_events=False,
            is_multi_region_trail=False,
            advanced_event_selectors=[_objects_of(model_bucket_arn)],
        )
        assert bucket.policy is not None
        trail.node.add_dependency(bucket.policy)

    def _bucket(self, trail_arn: str, access_logs: s3.IBucket, days: int) -> s3.Bucket:
        bucket = LogBucket(
            self, "Bucket", days=days, versioned=True, server_access_logs_bucket=access_logs, server_access_logs_prefix="audit/"
        )
        prefix = f"AWSLogs/{Stack.of(self).account}/*"
        owned = {"s3:x-amz-acl": "bucket-owner-full-control"}
        bucket.add_to_resource_policy(_by_trail(trail_arn, ["s3:GetBucketAcl"], bucket.bucket_arn))
        bucket.add_to_resource_policy(_by_trail(trail_arn, ["s3:PutObject"], bucket.arn_for_objects(prefix), owned))
        return bucket

    def _key(self, trail_arn: str) -> kms.Key:
        key = kms.Key(
            self, "Key", description="Encrypts the audit of the model store", enable_key_rotation=True, removal_policy=RemovalPolicy.RETAIN
        )
        # What a key's policy calls "*" is that key.
        key.add_to_resource_policy(
            _by_trail(trail_arn, ["kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"], "*")
        )
        return key


def _objects_of(bucket_arn: str) -> cloudtrail.CfnTrail.AdvancedEventSelectorProperty:
    """Reads and writes alike; management events are the account's own affair."""
    field = cloudtrail.CfnTrail.AdvancedFieldSelectorProperty
    return cloudtrail.CfnTrail.AdvancedEventSelectorProperty(
        name="Objects of the model store",
        field_selectors=[
            field(field="eventCategory", equal_to=["Data"]),
            field(field="resources.type", equal_to=["AWS::S3::Object"]),
            field(field="resources.ARN", starts_with=[f"{bucket_arn}/"]),
        ],
    )


def _by_trail(trail_arn: str, actions: list[str], resource: str, equals: dict[str, Any] | None = None) -> iam.PolicyStatement:
    """CloudTrail may, but only for this trail: anybody's could name our bucket and key otherwise."""
    return iam.PolicyStatement(
        principals=[iam.ServicePrincipal(_CLOUDTRAIL)],
        actions=actions,
        resources=[resource],
        conditions={"StringEquals": {"aws:SourceArn": trail_arn, **(equals or {})}},
    )
