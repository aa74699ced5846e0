"""The functions that run no model: a zip each, on two layers that they share."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, Stack
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from modelserve.settings import AuthorizerSettings, CatalogSettings

from .acknowledgements import acknowledge
from .functions import ROOT, FunctionParts
from .settings import DeploymentSettings
from .store import Store

__all__ = ["DEPENDENCIES", "AuthorizerFunction", "CatalogFunction", "LayerMissing", "Layers"]

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
        self.target = _zip_function(self, "catalog", description, layers, environment.to_env(), seconds=15)
        store.grant_read_aliases(self.role)


class AuthorizerFunction(FunctionParts):
    """Tells API Gateway whose key a request carries, and which models that client may call."""

    def __init__(self, scope: Construct, construct_id: str, *, layers: Layers, store: Store, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, settings=settings)
        environment = AuthorizerSettings(client_table=store.client_table_name(self), service=settings.service)
        description = "authorizer: whose key it is, and what it opens"
        self.target = _zip_function(self, "authorizer", description, layers, environment.to_env(), seconds=10)
        store.grant_read_clients(self.role)


def _zip_function(
    parts: FunctionParts, name: str, description: str, layers: Layers, environment: dict[str, str], *, seconds: int
) -> lambda_.Function:
    for pack in ("AwsSolutions-L1", "Serverless-LambdaLatestVersion"):
        acknowledge(parts, pack, "Python 3.13 gets security fixes until 2029; layers, image and tests are made for one version.")
    return lambda_.Function(
        parts,
        "Function",
        description=description,
        code=lambda_.Code.from_asset(str(ROOT / "functions" / name), exclude=["__pycache__"]),
        handler="handler.handler",
        runtime=lambda_.Runtime.PYTHON_3_13,
        architecture=lambda_.Architecture.X86_64,
        environment=environment,
        layers=layers.versions,
        log_group=parts.log_group,
        memory_size=512,
        role=parts.role.without_policy_updates(),
        timeout=Duration.seconds(seconds),
        tracing=lambda_.Tracing.ACTIVE,
    )
