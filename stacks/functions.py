"""The Lambda functions, each with a role, a log group and an environment of its own; here those that answer for one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aws_cdk import Aws, Duration, IgnoreMode, RemovalPolicy, Size, Stack
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

__all__ = ["BUILD_CONTEXT", "ROOT", "FunctionParts", "ModelFunction", "PredictFunction", "build_context", "image_code", "json_bytes"]

ROOT = Path(__file__).parents[1]
_PLATFORMS = {
    "x86_64": (lambda_.Architecture.X86_64, ecr_assets.Platform.LINUX_AMD64),
    "arm64": (lambda_.Architecture.ARM_64, ecr_assets.Platform.LINUX_ARM64),
}


def json_bytes(megabytes: int) -> int:
    """The largest JSON that a function of so much memory takes: read, it takes up to 37 times as much; as much again is the model's."""
    return megabytes * 2**20 // 80


def build_context(function: str, *layers: str) -> list[str]:
    """What an image's context excludes, which is all that the image is not made of: any other file would change the image's hash, and with
    it every function, whenever it is edited.
    """
    return [
        "*",
        *("!functions", "functions/*", "!functions/trim.py", f"!functions/{function}"),
        *("!layers", "layers/*", *(f"!layers/{layer}" for layer in layers)),
        *("**/__pycache__", "**/*.egg-info"),
    ]


BUILD_CONTEXT = build_context("predict", "modelserve")


def image_code(
    function: str, *, context: list[str], command: str, backend: str, platform: ecr_assets.Platform = ecr_assets.Platform.LINUX_AMD64
) -> lambda_.DockerImageCode:
    """The image of the folder `functions/<function>`, told to run the handler `command`; `backend` is what it drives ONNX Runtime by."""
    return lambda_.DockerImageCode.from_image_asset(
        str(ROOT),
        file=f"functions/{function}/Dockerfile",
        build_args={"SESSION_BACKEND": backend},
        exclude=context,
        ignore_mode=IgnoreMode.DOCKER,
        platform=platform,
        cmd=[command],
    )


class FunctionParts(Construct):
    """What every function has."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(self, "Logs", retention=settings.log_retention, removal_policy=RemovalPolicy.DESTROY)
        self.role = FunctionRole(self, "Role", log_group=self.log_group)
        acknowledge(
            self, "Serverless-LambdaDLQ", "Whoever invokes it waits, and tries again or says so: nothing is invoked asynchronously or lost."
        )

    def properties(self, description: str, *, memory: int, seconds: int) -> dict[str, Any]:
        """Of the function itself: `memory` in MB."""
        return {
            "description": description[:256],
            "log_group": self.log_group,
            "memory_size": memory,
            # The role says it all; left open, CDK would attach a second policy for tracing.
            "role": self.role.without_policy_updates(),
            "timeout": Duration.seconds(seconds),
            "tracing": lambda_.Tracing.ACTIVE,
        }


class ModelFunction(FunctionParts):
    """What every function that answers for one model has: it may read that model, and `[function]` of model.toml says how large it is."""

    def __init__(self, scope: Construct, construct_id: str, *, model: ModelConfig, store: Store, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, settings=settings)
        self._config = model.function
        store.grant_read(self.role, model.name)
        self._told: dict[str, Any] = {
            "model_name": model.name,
            "model_bucket": store.bucket_name(self),
            "alias_check_seconds": model.serving.alias_check_seconds,
            "deadline_seconds": float(max(1, model.function.timeout - 2)),  # leaves time to say so
            "nan_inputs": model.serving.nan,
            "max_body_bytes": json_bytes(model.function.memory),
            "cors_origin": settings.cors_origin,
            "signing_key_arn": store.signing_key_arn(self),
            "service": settings.service,
        }
        self._properties: dict[str, Any] = {
            **self.properties(f"{model.name}: {model.description or model.task}", memory=self._config.memory, seconds=self._config.timeout),
            "function_name": settings.function_name(model),
            "reserved_concurrent_executions": self._config.reserved_concurrency,
            "snap_start": lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if self._config.snap_start else None,
            "current_version_options": _version_options(self._config),
        }

    def _target(self, function: lambda_.Function) -> lambda_.IFunction:
        """What the routes call.

        Warm environments and snapshots belong to a published version. Routes name it without an alias between: on a deploy the new
        version is warm before the API turns to it, and the old one is deleted after.
        """
        if self._config.snap_start:
            acknowledge(function, "Annotation::@aws-cdk/aws-lambda:snapStartRequirePublish", "The routes name a published version.")
        return function.current_version if self._config.provisioned_concurrency or self._config.snap_start else function


class PredictFunction(ModelFunction):
    """Answers for one model; all of them run the same image."""

    def __init__(self, scope: Construct, construct_id: str, *, model: ModelConfig, store: Store, settings: DeploymentSettings) -> None:
        super().__init__(scope, construct_id, model=model, store=store, settings=settings)
        store.grant_submit(self.role, model.name)
        queues = [settings.queue_name(priority) for priority in ("high", "low")]
        self.role.allow(["sqs:SendMessage"], [Stack.of(self).format_arn(service="sqs", resource=queue) for queue in queues])
        high, low = (f"https://sqs.{Aws.REGION}.{Aws.URL_SUFFIX}/{Aws.ACCOUNT_ID}/{queue}" for queue in queues)
        environment = PredictSettings(
            **self._told,
            session_backend=settings.session_backend,
            job_bucket=store.job_bucket_name(self),
            job_table=store.job_table_name(self),
            high_queue_url=high,
            low_queue_url=low,
            high_plans=tuple(plan.name for plan in settings.plans if plan.jobs == "high"),
            job_days=settings.job_days,
            upload_megabytes=settings.upload_megabytes,
            max_json_bytes=json_bytes(settings.job_memory),
        )
        architecture, platform = _PLATFORMS[model.function.architecture]
        function = lambda_.DockerImageFunction(
            self,
            "Function",
            code=image_code(
                "predict",
                context=BUILD_CONTEXT,
                command="functions.predict.handler.handler",
                backend=settings.session_backend,
                platform=platform,
            ),
            architecture=architecture,
            environment=environment.to_env(),
            ephemeral_storage_size=Size.mebibytes(model.function.ephemeral_storage),
            **self._properties,
        )
        self.target = self._target(function)


def _version_options(config: FunctionConfig) -> lambda_.VersionOptions:
    """A version that nothing calls any more would go on costing what keeps it warm."""
    return lambda_.VersionOptions(
        provisioned_concurrent_executions=config.provisioned_concurrency or None, removal_policy=RemovalPolicy.DESTROY
    )
