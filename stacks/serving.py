"""The API and its functions: everything here can be deleted and deployed again without losing a model or a client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Aws, CfnOutput, Stack
from constructs import Construct

from models.config import ModelConfig

from .api import InferenceApi
from .firewall import Firewall
from .functions import PredictFunction
from .settings import DeploymentSettings
from .store import Store
from .zip_functions import AuthorizerFunction, CatalogFunction, GatewayFunction, JobsFunction, Layers

__all__ = ["Serving"]


class Serving(Stack):
    """A REST API whose routes are two resources a model; the function behind them routes the rest."""

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
        layers = Layers(self, "Layers")
        authorizer = AuthorizerFunction(self, "Authorizer", layers=layers, store=store, settings=settings)
        names = tuple(model.name for model in models)
        catalog = CatalogFunction(self, "Catalog", layers=layers, model_names=names, store=store, settings=settings)

        self._settings = settings
        self._api = InferenceApi(self, "Api", authorizer=authorizer.target, settings=settings)
        v2 = self._api.root.add_resource("v2")
        per_model = v2.add_resource("models")
        self._api.route(v2, catalog.target)
        self._api.route(per_model, catalog.target)
        jobs = JobsFunction(self, "Jobs", layers=layers, store=store, settings=settings)
        self._api.answer([v2.add_resource("jobs").add_resource("{proxy+}"), v2.add_resource("uploads")], jobs.target)
        for model in models:
            common: dict[str, Any] = {"model": model, "store": store, "settings": settings}
            function = (
                GatewayFunction(self, model.name, layers=layers, **common)
                if model.target == "gpu"
                else PredictFunction(self, model.name, **common)
            )
            self._api.route(per_model.add_resource(model.name), function.target)
        self._api.permit_before_deploying()
        if settings.firewall:
            Firewall(self, "Firewall", stage=self._api.deployment_stage, settings=settings)
        self._outputs(models[0].name if models else None)
        if any(model.target == "gpu" for model in models):
            instances = {"type": settings.gpu_instance_type, "most": settings.gpu_max_instances}
            CfnOutput(self, "GpuInstances", value=self.to_json_string(instances), description="Of the shared endpoint, for modelctl doctor")

    def _outputs(self, model: str | None) -> None:
        # Written out, because `Api.url` would hide the stage's name behind a reference.
        url = f"https://{self._api.rest_api_id}.execute-api.{Aws.REGION}.{Aws.URL_SUFFIX}/{self._settings.name}/"
        path = f"v2/models/{model}/infer" if model else "v2"
        body = f" --json @build/models/{model}/example.json" if model else ""
        plans = {name: plan.usage_plan_id for name, plan in self._api.plans.items()}
        CfnOutput(self, "ApiUrl", value=url, description="Base URL of the Open Inference Protocol")
        CfnOutput(self, "ApiId", value=self._api.rest_api_id, description="The REST API whose clients modelctl makes")
        CfnOutput(self, "Plans", value=self.to_json_string(plans), description="Usage plans by name, for modelctl client")
        CfnOutput(self, "Curl", value=f'curl -H "Authorization: Bearer $MODEL_KEY" {url}{path}{body}', description="A call")
        CfnOutput(
            self,
            "NextCommand",
            value=f"modelctl doctor --deployment {self._settings.name}",
            description="Says what is missing, if anything",
        )
