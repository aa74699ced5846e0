"""What a function or an endpoint may do; every role starts from nothing but its own log group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from .acknowledgements import acknowledge, acknowledge_wildcard

__all__ = ["FunctionRole", "MachineRole", "NarrowRole"]

_LOG_DELIVERY = [
    *("logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies"),
    *("logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"),
]
_TRACING = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]


class NarrowRole(iam.Role):
    """A role with a single inline policy: a policy of its own would be one more resource a model."""

    def __init__(self, scope: Construct, construct_id: str, *, assumed_by: iam.IPrincipal, policy_name: str) -> None:
        self._policy = iam.PolicyDocument()
        super().__init__(scope, construct_id, assumed_by=assumed_by, inline_policies={policy_name: self._policy})

    def allow(
        self, actions: list[str], resource: str | Sequence[str], *, conditions: Mapping[str, Any] | None = None, wildcard: str | None = None
    ) -> None:
        """`wildcard` says why a resource with `*` in it is narrow enough."""
        resources = [resource] if isinstance(resource, str) else list(resource)
        self._policy.add_statements(iam.PolicyStatement(actions=actions, resources=resources, conditions=conditions))
        if wildcard is not None:
            for each in resources:
                acknowledge_wildcard(self, each, wildcard)


class FunctionRole(NarrowRole):
    """The role of one function."""

    def __init__(self, scope: Construct, construct_id: str, *, log_group: logs.LogGroup) -> None:
        super().__init__(scope, construct_id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), policy_name="Function")
        self.allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        acknowledge(
            self,
            "Serverless-LambdaStarPermissions",
            "Every permission names a prefix, a table, a key, an endpoint or the function's own log group; only X-Ray's names none.",
        )
        self.allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*", wildcard="X-Ray has no resources to name.")


class MachineRole(NarrowRole):
    """The role of one state machine, which writes logs and traces.

    Source: AWS Step Functions Developer Guide, "Logging to CloudWatch Logs" and "Trace with X-Ray".
    """

    def __init__(self, scope: Construct, construct_id: str, *, policy_name: str) -> None:
        super().__init__(scope, construct_id, assumed_by=iam.ServicePrincipal("states.amazonaws.com"), policy_name=policy_name)
        self.allow(_LOG_DELIVERY, "*", wildcard="Deliveries of logs have no resources to name.")
        self.allow(_TRACING, "*", wildcard="X-Ray has no resources to name.")
