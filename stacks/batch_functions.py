"""The functions that run any model by name: jobs, shards of data sets, records of streams; all of them run the same image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aws_cdk import Size
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from models.config import ModelConfig
from modelserve.settings import BatchSettings

from .functions import FunctionParts, build_context, image_code, json_bytes
from .settings import DeploymentSettings
from .store import Store

__all__ = ["BUILD_CONTEXT", "BatchFunction"]

_MOST_STORAGE = 10_240
"""MiB that Lambda gives a function below /tmp."""
BUILD_CONTEXT = build_context("batch", "modelserve", "scoring")


class BatchFunction(FunctionParts):
    """Runs the models that it is given, and may read them; what else it may do, its owner grants to `role`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        command: str,
        description: str,
        timeout: int,
        models: Sequence[ModelConfig],
        store: Store,
        settings: DeploymentSettings,
        environment: Mapping[str, str] | None = None,
        scratch: int = 0,
    ) -> None:
        """`command` is the handler, `timeout` in seconds; `environment` is told beside `BatchSettings`.

        `scratch` is what it writes to /tmp beside a model, in MiB.
        """
        super().__init__(scope, construct_id, settings=settings)
        names = tuple(model.name for model in models)
        told = BatchSettings(
            model_names=names,
            model_bucket=store.bucket_name(self),
            strict_models=tuple(model.name for model in models if model.serving.nan == "refuse"),
            signing_key_arn=store.signing_key_arn(self),
            session_backend=settings.session_backend,
            job_bucket=store.job_bucket_name(self),
            job_table=store.job_table_name(self),
            job_attempts=settings.job_attempts,
            job_days=settings.job_days,
            max_body_bytes=settings.upload_megabytes * 2**20,
            max_json_bytes=json_bytes(settings.job_memory),
            service=settings.service,
        )
        self.target = lambda_.DockerImageFunction(
            self,
            "Function",
            code=image_code("batch", context=BUILD_CONTEXT, command=command, backend=settings.session_backend),
            architecture=lambda_.Architecture.X86_64,
            environment={**told.to_env(), **(environment or {})},
            # Models pass through /tmp one at a time.
            ephemeral_storage_size=Size.mebibytes(min(_MOST_STORAGE, max(model.function.ephemeral_storage for model in models) + scratch)),
            **self.properties(description, memory=settings.job_memory, seconds=timeout),
        )
        store.grant_read_several(self.role, names)
