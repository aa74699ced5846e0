"""What a function may do; every role starts from nothing but its own log group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from .acknowledgements import acknowledge, acknowledge_wildcard

__all__ = ["FunctionRole"]


class FunctionRole(iam.Role):
    """The role of one function, with a single inline policy: a policy of its own would be one more resource a model."""

    def __init__(self, scope: Construct, construct_id: str, *, log_group: logs.LogGroup) -> None:
        self._policy = iam.PolicyDocument()
        super().__init__(
            scope, construct_id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), inline_policies={"Function": self._policy}
        )
        self.allow(["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn)
        acknowledge(
            self,
            "Serverless-LambdaStarPermissions",
            "Every permission names a prefix, a table, a key or the function's own log group; only X-Ray's names none.",
        )
        self.allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], "*", wildcard="X-Ray has no resources to name.")

    def allow(self, actions: list[str], resource: str, *, conditions: Mapping[str, Any] | None = None, wildcard: str | None = None) -> None:
        """`wildcard` says why a resource with `*` in it is narrow enough."""
        self._policy.add_statements(iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions))
        if wildcard is not None:
            acknowledge_wildcard(self, resource, wildcard)
