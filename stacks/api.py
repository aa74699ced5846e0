"""The REST API: who gets in, how often, and which function answers for a path."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from modelserve.settings import AUTHORIZER_CACHE_SECONDS, BEARER_PATTERN

from .acknowledgements import acknowledge
from .gateway_responses import add_gateway_responses
from .settings import DeploymentSettings, Plan

__all__ = ["InferenceApi"]

_PUSH_TO_LOGS = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
_Field = apigateway.AccessLogField
# Nothing that a caller wrote: no path but the route's, and not the error's message, which repeats a malformed Authorization header.
_ACCESS_LOG = {
    "requestId": _Field.context_request_id(),
    "time": _Field.context_request_time(),
    "client": _Field.context_authorizer_principal_id(),
    "ip": _Field.context_identity_source_ip(),
    "method": _Field.context_http_method(),
    "route": _Field.context_resource_path(),
    "status": _Field.context_status(),
    "responseBytes": _Field.context_response_length(),
    "latencyMs": _Field.context_response_latency(),
    "integrationLatencyMs": _Field.context_integration_latency(),
    "integrationStatus": _Field.context_integration_status(),
    "error": _Field.context_error_response_type(),
}


class InferenceApi(apigateway.RestApi):
    """Regional; but for a browser's preflight, every call needs a client's key, which the authorizer turns into the name that is metered.

    Size of a request: API Gateway takes 10 MB and Lambda 6 MB, about 4.4 MB of binary data once it is base64.
    """

    def __init__(self, scope: Construct, construct_id: str, *, authorizer: lambda_.Function, settings: DeploymentSettings) -> None:
        stack = Stack.of(scope)
        super().__init__(
            scope,
            construct_id,
            rest_api_name=stack.stack_name,
            description="Open Inference Protocol v2; a request may be 6 MB, about 4.4 MB of binary data",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            binary_media_types=["*/*"],
            # Without this account-wide role a fresh account can't deploy access logs; other APIs may use it, so it stays.
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,
            # What a usage plan counts by is the authorizer's answer, so that nobody gets in by knowing it.
            api_key_source_type=apigateway.ApiKeySourceType.AUTHORIZER,
            default_method_options=_behind(_token_authorizer(scope, authorizer)),
            deploy_options=_stage(scope, settings),
        )
        self.node.try_remove_child("Endpoint")  # the same as ApiUrl under a generated name
        add_gateway_responses(self, settings)
        self._acknowledge(firewall=settings.firewall)
        self.plans = {plan.name: self._plan(plan) for plan in settings.plans}
        self._authorizer = authorizer
        self._preflight = bool(settings.cors_origin)

    def route(self, resource: apigateway.IResource, target: lambda_.IFunction) -> None:
        """Sends `resource` and everything below it to `target`."""
        self.answer([resource, resource.add_resource("{proxy+}")], target)

    def answer(self, resources: Sequence[apigateway.IResource], target: lambda_.IFunction) -> None:
        """Sends each of `resources`, and nothing below it, to `target`."""
        integration = apigateway.LambdaIntegration(target, scope_permission_to_method=False)
        for each in resources:
            each.add_method("ANY", integration)
            if self._preflight:
                _open_to_preflights(each, integration)

    def permit_before_deploying(self) -> None:
        """The stage turns to a function, or to a new version of it, only once the API may invoke it."""
        deployment = self.latest_deployment
        assert deployment is not None  # RestApi makes one unless told otherwise
        around = [*self.node.children, *self._authorizer.node.children]
        deployment.node.add_dependency(*(each for each in around if isinstance(each, lambda_.CfnPermission)))

    def _acknowledge(self, *, firewall: bool) -> None:
        acknowledge(
            self,
            "AwsSolutions-COG4",
            "The Lambda authorizer checks a client's key on every method but a preflight's; Cognito is for people.",
        )
        acknowledge(
            self,
            "AwsSolutions-APIG2",
            "The function validates each request against the model's signature, binary ones too; hostile tests show it.",
        )
        acknowledge(self, "AwsSolutions-APIG6", "The access log has every request; an execution log would hold headers and bodies.")
        acknowledge(
            self, "Serverless-APIGWXrayEnabled", "The functions are traced; API Gateway's segment would hold the URL a caller wrote."
        )
        acknowledge(
            self,
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_PUSH_TO_LOGS}]",
            "AWS's own policy for the account's one API Gateway role: it writes logs and nothing else.",
        )
        if not firewall:
            acknowledge(self, "AwsSolutions-APIG3", "`firewall` is off: keys, usage plans and the stage's throttle remain; on in prod.")

    def _plan(self, plan: Plan) -> apigateway.UsagePlan:
        per_day = plan.requests_per_day
        return self.add_usage_plan(
            f"{plan.name.title()}Plan",
            name=f"{Stack.of(self).stack_name}-{plan.name}",
            api_stages=[apigateway.UsagePlanPerApiStage(api=self, stage=self.deployment_stage)],
            throttle=apigateway.ThrottleSettings(rate_limit=plan.requests_per_second, burst_limit=plan.burst),
            quota=None if per_day is None else apigateway.QuotaSettings(limit=per_day, period=apigateway.Period.DAY),
        )


def _token_authorizer(scope: Construct, function: lambda_.Function) -> apigateway.TokenAuthorizer:
    return apigateway.TokenAuthorizer(
        scope,
        "ClientKey",
        handler=function,
        identity_source=apigateway.IdentitySource.header("Authorization"),
        validation_regex=BEARER_PATTERN,
        results_cache_ttl=Duration.seconds(AUTHORIZER_CACHE_SECONDS),
    )


def _open_to_preflights(resource: apigateway.IResource, integration: apigateway.LambdaIntegration) -> None:
    method = resource.add_method("OPTIONS", integration, authorization_type=apigateway.AuthorizationType.NONE, api_key_required=False)
    acknowledge(method, "AwsSolutions-APIG4", "A browser's preflight carries no key; the function answers it with headers only.")


def _behind(authorizer: apigateway.TokenAuthorizer) -> apigateway.MethodOptions:
    return apigateway.MethodOptions(authorization_type=apigateway.AuthorizationType.CUSTOM, authorizer=authorizer, api_key_required=True)


def _stage(scope: Construct, settings: DeploymentSettings) -> apigateway.StageOptions:
    log_group = logs.LogGroup(scope, "AccessLog", retention=settings.log_retention, removal_policy=RemovalPolicy.DESTROY)
    return apigateway.StageOptions(
        stage_name=settings.name,
        access_log_destination=apigateway.LogGroupLogDestination(log_group),
        access_log_format=apigateway.AccessLogFormat.custom(json.dumps(_ACCESS_LOG)),
        throttling_rate_limit=settings.requests_per_second,
        throttling_burst_limit=settings.burst,
        # API Gateway's segment would keep the request's URL, in which a caller may write anything; the functions trace themselves.
        tracing_enabled=False,
    )
