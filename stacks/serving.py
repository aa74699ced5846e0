"""The API and its functions: everything here can be deleted and deployed again without losing a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aws_cdk import Aws, CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from models.config import ModelConfig

from .functions import CatalogFunction, PredictFunction
from .gateway_responses import add_gateway_responses
from .settings import DeploymentSettings
from .store import Store

__all__ = ["Serving"]

_Field = apigateway.AccessLogField
# Not the error's message: for a malformed Authorization header it repeats the header.
_ACCESS_LOG = {
    "requestId": _Field.context_request_id(),
    "xrayTraceId": _Field.context_xray_trace_id(),
    "time": _Field.context_request_time(),
    "caller": _Field.context_identity_user_arn(),
    "ip": _Field.context_identity_source_ip(),
    "method": _Field.context_http_method(),
    "path": _Field.context_path(),
    "status": _Field.context_status(),
    "responseBytes": _Field.context_response_length(),
    "latencyMs": _Field.context_response_latency(),
    "integrationLatencyMs": _Field.context_integration_latency(),
    "error": _Field.context_error_response_type(),
    "integrationError": _Field.context_integration_error_message(),
}


class Serving(Stack):
    """A regional REST API whose routes are two resources a model; the function behind them routes the rest.

    Size of a request: API Gateway takes 10 MB and Lambda 6 MB, about 4.4 MB of binary data once it is base64.
    """

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
        super().__init__(scope, construct_id, description=f"API and functions of {settings.name}", **kwargs)
        self.add_stack_dependency(store)
        self._settings = settings
        self._api = self._rest_api()
        add_gateway_responses(self._api, settings)

        v2 = self._api.root.add_resource("v2")
        per_model = v2.add_resource("models")
        catalog = CatalogFunction(self, "Catalog", model_names=tuple(model.name for model in models), store=store, settings=settings)
        self._route(v2, catalog.target)
        self._route(per_model, catalog.target)
        for model in models:
            predict = PredictFunction(self, model.name, model=model, store=store, settings=settings)
            self._route(per_model.add_resource(model.name), predict.target)
        self._permit_before_deploying()
        self._outputs(models[0].name if models else None)

    def _rest_api(self) -> apigateway.RestApi:
        settings = self._settings
        access_log = logs.LogGroup(self, "AccessLog", retention=settings.log_retention, removal_policy=RemovalPolicy.DESTROY)
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=self.stack_name,
            description="Open Inference Protocol v2; a request may be 6 MB, about 4.4 MB of binary data",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            binary_media_types=["*/*"],
            # Without this account-wide role a fresh account can't deploy access logs; other APIs may use it, so it stays.
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN,
            default_method_options=apigateway.MethodOptions(authorization_type=apigateway.AuthorizationType.IAM),
            deploy_options=apigateway.StageOptions(
                stage_name=settings.name,
                access_log_destination=apigateway.LogGroupLogDestination(access_log),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(_ACCESS_LOG)),
                throttling_rate_limit=settings.requests_per_second,
                throttling_burst_limit=settings.burst,
                tracing_enabled=True,
            ),
        )
        api.node.try_remove_child("Endpoint")  # the same as ApiUrl under a generated name
        return api

    def _route(self, resource: apigateway.IResource, target: lambda_.IFunction) -> None:
        """Sends `resource` and everything below it to `target`."""
        integration = apigateway.LambdaIntegration(target, scope_permission_to_method=False)
        for each in (resource, resource.add_resource("{proxy+}")):
            each.add_method("ANY", integration)
            if self._settings.cors_origin:  # a browser's preflight carries no signature; the function answers it
                each.add_method("OPTIONS", integration, authorization_type=apigateway.AuthorizationType.NONE)

    def _permit_before_deploying(self) -> None:
        """The stage turns to a function, or to a new version of it, only once the API may invoke it."""
        deployment = self._api.latest_deployment
        assert deployment is not None  # RestApi makes one unless told otherwise
        permissions = [each for each in self._api.node.children if isinstance(each, lambda_.CfnPermission)]
        deployment.node.add_dependency(*permissions)

    def _outputs(self, model: str | None) -> None:
        # Written out, because `Api.url` would hide the stage's name behind a reference.
        url = f"https://{self._api.rest_api_id}.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}/{self._settings.name}/"
        path = f"v2/models/{model}/infer" if model else "v2"
        body = f" --json @build/models/{model}/example.json" if model else ""
        call = (
            f'curl --aws-sigv4 "aws:amz:{Aws.REGION}:execute-api" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
            f'-H "x-amz-security-token: $AWS_SESSION_TOKEN" {url}{path}{body}'
        )
        CfnOutput(self, "ApiUrl", value=url, description="Base URL of the Open Inference Protocol")
        CfnOutput(self, "Curl", value=call, description="A signed call")
        CfnOutput(
            self,
            "NextCommand",
            value=f"modelctl doctor --deployment {self._settings.name}",
            description="Says what is missing, if anything",
        )
