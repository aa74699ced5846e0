"""The Lambda functions, each with a role, a log group and an environment of its own; here those that answer for one model."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import Duration, IgnoreMode, RemovalPolicy, Size
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from models.config import FunctionConfig, ModelConfig
from modelserve.settings import PredictSettings

from .acknowledgements import acknowledge
from .roles import FunctionRole
from .settings import DeploymentSettings
from .store import Store

__all__ = ["BUILD_CONTEXT", "ROOT", "FunctionParts", "PredictFunction"]

ROOT = Path(__file__).parents[1]
# Only what the image is made of: any other file would change the image's hash, and with it every function, whenever it is edited.
BUILD_CONTEXT = [
    "*",
    *("!functions", "functions/*", "!functions/predict"),
    *("!layers", "layers/*", "!layers/modelserve"),
    *("**/__pycache__", "**/*.egg-info"),
]
_PLATFORMS = {
    "x86_64": (lambda_.Architecture.X86_64, ecr_assets.Platform.LINUX_AMD64),
    "arm64": (lambda_.Architecture.ARM_64, ecr_assets.Platform.LINUX_ARM64),
}


class FunctionParts(Construct):
    """What every function has."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(self, "Logs", retention=settings.log_retention, removal_policy=RemovalPolicy.DESTROY)
        self.role = FunctionRole(self, "Role", log_group=self.log_group)
        acknowledge(self, "Serverless-LambdaDLQ", "API Gateway calls it and waits: nothing is invoked asynchronously, so nothing is lost.")


class PredictFunction(FunctionParts):
    """Answers for one model; all of them run the same image."""

    def __init__(self, scope: Construct, construct_id: str, *, model: ModelConfig, store: Store, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, settings=settings)
        config = model.function
        architecture, platform = _PLATFORMS[config.architecture]
        function = lambda_.DockerImageFunction(
            self,
            "Function",
            description=f"{model.name}: {model.description or model.task}"[:256],
            code=lambda_.DockerImageCode.from_image_asset(
                str(ROOT),
                file="functions/predict/Dockerfile",
                exclude=BUILD_CONTEXT,
                ignore_mode=IgnoreMode.DOCKER,
                platform=platform,
                cmd=["functions.predict.handler.handler"],
            ),
            architecture=architecture,
            environment=_predict_settings(
                model, settings, bucket=store.bucket_name(self), signing_key_arn=store.signing_key_arn(self)
            ).to_env(),
            ephemeral_storage_size=Size.mebibytes(config.ephemeral_storage),
            log_group=self.log_group,
            memory_size=config.memory,
            reserved_concurrent_executions=config.reserved_concurrency,
            # The role says it all; left open, CDK would attach a second policy for tracing.
            role=self.role.without_policy_updates(),
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if config.snap_start else None,
            timeout=Duration.seconds(config.timeout),
            tracing=lambda_.Tracing.ACTIVE,
            current_version_options=_version_options(config),
        )
        if config.snap_start:
            acknowledge(function, "Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish", "The routes name a published version.")
        store.grant_read(self.role, model.name)
        self.target = _target(function, config)


def _predict_settings(model: ModelConfig, settings: DeploymentSettings, *, bucket: str, signing_key_arn: str) -> PredictSettings:
    return PredictSettings(
        model_name=model.name,
        model_bucket=bucket,
        alias_check_seconds=model.serving.alias_check_seconds,
        deadline_seconds=float(max(1, model.function.timeout - 2)),  # leaves time to say so
        nan_inputs=model.serving.nan,
        max_body_bytes=model.function.memory * 2**20 // 80,
        cors_origin=settings.cors_origin,
        signing_key_arn=signing_key_arn,
        service=settings.service,
    )


def _version_options(config: FunctionConfig) -> lambda_.VersionOptions:
    """A version that nothing calls any more would go on costing what keeps it warm."""
    return lambda_.VersionOptions(
        provisioned_concurrent_executions=config.provisioned_concurrency or None, removal_policy=RemovalPolicy.DESTROY
    )


def _target(function: lambda_.Function, config: FunctionConfig) -> lambda_.IFunction:
    """What the routes call.

    Warm environments and snapshots belong to a published version. Routes name it without an alias between: on a deploy the new version
    is warm before the API turns to it, and the old one is deleted after.
    """
    return function.current_version if config.provisioned_concurrency or config.snap_start else function
