"""The functions that run no model: a zip each, on two layers that they share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aws_cdk import IgnoreMode, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from models.config import ModelConfig
from modelserve.settings import AuthorizerSettings, CatalogSettings, GatewaySettings, JobsSettings

from .acknowledgements import acknowledge
from .functions import ROOT, FunctionParts, ModelFunction
from .settings import DeploymentSettings
from .store import Store

__all__ = ["DEPENDENCIES", "AuthorizerFunction", "CatalogFunction", "GatewayFunction", "JobsFunction", "LayerMissing", "Layers"]

DEPENDENCIES = ROOT / "build" / "dependencies"
"""What `python -m tools.layers` makes."""


class LayerMissing(Exception):
    """A layer's folder was not made before synth."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} has no python/ folder; make it with: python -m tools.layers (`cdk` runs it by itself)")


class Layers(Construct):
    """The library, and what it and the handlers import."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.versions = [self._layer("modelserve", ROOT / "layers" / "modelserve"), self._layer("dependencies", DEPENDENCIES)]

    def _layer(self, name: str, folder: Path) -> lambda_.LayerVersion:
        if not (folder / "python").is_dir():
            raise LayerMissing(folder)
        return lambda_.LayerVersion(
            self,
            name.title(),
            description=f"{name} for {Stack.of(self).stack_name}",
            code=lambda_.Code.from_asset(str(folder), exclude=["**/__pycache__", "**/*.egg-info"]),
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            compatible_architectures=[lambda_.Architecture.X86_64],
        )


class CatalogFunction(FunctionParts):
    """Answers for the server as a whole: metadata, health, the list of models."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        layers: Layers,
        model_names: tuple[str, ...],
        store: Store,
        settings: DeploymentSettings,
    ) -> None:
        super().__init__(scope, construct_id, settings=settings)
        environment = CatalogSettings(
            model_names=model_names,
            model_bucket=store.bucket_name(self),
            cors_origin=settings.cors_origin,
            service=settings.service,
        )
        description = "catalog: server metadata, health, repository index"
        properties = _small(self, description, seconds=15)
        self.target = _zip_function(self, "catalog", layers, environment=environment.to_env(), **properties)
        store.grant_read_aliases(self.role)


class AuthorizerFunction(FunctionParts):
    """Tells API Gateway whose key a request carries, and which models that client may call."""

    def __init__(self, scope: Construct, construct_id: str, *, layers: Layers, store: Store, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, settings=settings)
        environment = AuthorizerSettings(client_table=store.client_table_name(self), service=settings.service)
        description = "authorizer: whose key it is, and what it opens"
        properties = _small(self, description, seconds=10)
        self.target = _zip_function(self, "authorizer", layers, environment=environment.to_env(), **properties)
        store.grant_read_clients(self.role)


class JobsFunction(FunctionParts):
    """Tells clients what became of their jobs, hands out results and ends jobs, and says where to upload."""

    def __init__(self, scope: Construct, construct_id: str, *, layers: Layers, store: Store, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, settings=settings)
        environment = JobsSettings(
            job_bucket=store.job_bucket_name(self),
            job_table=store.job_table_name(self),
            upload_megabytes=settings.upload_megabytes,
            job_days=settings.job_days,
            cors_origin=settings.cors_origin,
            service=settings.service,
        )
        # Its longest way is an answer of 4 MiB, read and then copied into the envelope as base64.
        properties = _small(self, "jobs: what became of them, their results, and uploads", seconds=20)
        self.target = _zip_function(self, "jobs", layers, environment=environment.to_env(), **properties)
        store.grant_results(self.role)


class GatewayFunction(ModelFunction):
    """Answers for one model that a SageMaker endpoint runs, whether there is one or not: without it, by saying how to make it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, model: ModelConfig, layers: Layers, store: Store, settings: DeploymentSettings
    ) -> None:
        super().__init__(scope, construct_id, model=model, store=store, settings=settings)
        endpoint = settings.endpoint_name(model)
        environment = GatewaySettings(
            endpoint_name=endpoint, job_bucket=store.job_bucket_name(self) if model.asynchronous else "", **self._told
        )
        self.target = self._target(_zip_function(self, "gpu_gateway", layers, environment=environment.to_env(), **self._properties))
        arn = Stack.of(self).format_arn(service="sagemaker", resource="endpoint", resource_name=endpoint)
        if model.asynchronous:
            self.role.allow(["sagemaker:InvokeEndpointAsync"], arn)
            store.grant_jobs(self.role, model.name)
        else:
            # All realtime models share the endpoint, and each function may ask it for its own.
            own = {"StringLike": {"sagemaker:TargetModel": f"{model.name}/versions/*"}}
            self.role.allow(["sagemaker:InvokeEndpoint"], arn, conditions=own)


def _small(parts: FunctionParts, description: str, *, seconds: int) -> dict[str, Any]:
    """Of a function that belongs to no model."""
    return parts.properties(description, memory=512, seconds=seconds)


def _zip_function(parts: FunctionParts, folder: str, layers: Layers, **properties: Any) -> lambda_.Function:
    for pack in ("AwsSolutions-L1", "Serverless-LambdaLatestVersion"):
        acknowledge(parts, pack, "Python 3.13 gets security fixes until 2029; layers, image and tests are made for one version.")
    return lambda_.Function(
        parts,
        "Function",
        # The folder and not what is in it, so that it is a package on Lambda too.
        code=lambda_.Code.from_asset(str(ROOT / "functions"), exclude=["*", f"!{folder}", "**/__pycache__"], ignore_mode=IgnoreMode.DOCKER),
        handler=f"{folder}.handler.handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.X86_64,
        layers=layers.versions,
        **properties,
    )
