"""What SageMaker may do to run an endpoint; what it may read and write of ours, the store grants."""

from __future__ import annotations

from aws_cdk import ArnFormat, Aws, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from .roles import NarrowRole
from .settings import DeploymentSettings
from .triton import TritonImage

__all__ = ["EndpointRole"]

_NAMESPACE = "/aws/sagemaker/Endpoints"
"""Of the metrics of instances; those of invocations are SageMaker's own."""


class EndpointRole(NarrowRole):
    """The execution role of one endpoint. Source: Amazon SageMaker Developer Guide, "CreateModel API: Execution Role Permissions"."""

    def __init__(
        self, scope: Construct, construct_id: str, *, log_group: logs.LogGroup, image: TritonImage, settings: DeploymentSettings
    ) -> None:
        ours = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
        principal = iam.ServicePrincipal("sagemaker.amazonaws.com", conditions=ours)
        super().__init__(scope, construct_id, assumed_by=principal, policy_name="Endpoint")
        self.allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], log_group.log_group_arn)
        self.allow(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"], image.repository_arn)
        self.allow(
            ["ecr:GetAuthorizationToken"],
            "*",
            wildcard="A token of the registry has no resource to name; it opens no repository by itself.",
        )
        metrics = {"StringEquals": {"cloudwatch:namespace": _NAMESPACE}}
        self.allow(
            ["cloudwatch:PutMetricData"],
            "*",
            conditions=metrics,
            wildcard="Metrics have no resources to name; a condition names their namespace.",
        )
        stack = Stack.of(self)
        alarms = stack.format_arn(
            service="cloudwatch", resource="alarm", resource_name=f"{stack.stack_name}-*", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        # Those that send an update back. Source: Amazon SageMaker Developer Guide, "Auto-Rollback Configuration and Monitoring".
        self.allow(["cloudwatch:DescribeAlarms"], alarms, wildcard="Alarms of this stack, which CloudFormation names.")
        if settings.gpu_subnets:
            self._allow_interfaces(settings)

    def allow_volumes(self, key_arn: str) -> None:
        """Lets the disks of instances be under a key, by a grant that only AWS's services can make use of."""
        self.allow(["kms:CreateGrant"], key_arn, conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}})
        self.allow(["kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext"], key_arn)

    def _allow_interfaces(self, settings: DeploymentSettings) -> None:
        """Network interfaces in the deployment's subnets, with its security groups."""
        subnets = [self._ec2("subnet", each) for each in settings.gpu_subnets]
        interfaces = self._ec2("network-interface", "*")
        narrow = "Network interfaces that don't exist beforehand; a condition, or the resources beside them, name the subnets."
        groups = [self._ec2("security-group", each) for each in settings.gpu_security_groups]
        self.allow(["ec2:CreateNetworkInterface"], [*subnets, *groups])
        self.allow(
            ["ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface"],
            interfaces,
            conditions={"ArnEquals": {"ec2:Subnet": subnets}},
            wildcard=narrow,
        )
        looks = ["DeleteNetworkInterfacePermission", "DescribeDhcpOptions", "DescribeNetworkInterfaces"]
        looks += ["DescribeSecurityGroups", "DescribeSubnets", "DescribeVpcs"]
        self.allow([f"ec2:{each}" for each in looks], "*", wildcard="EC2 can narrow none of these to a resource.")

    def _ec2(self, kind: str, name: str) -> str:
        return Stack.of(self).format_arn(service="ec2", resource=kind, resource_name=name)
