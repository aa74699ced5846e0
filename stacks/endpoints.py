"""The two kinds of endpoint: one for all realtime models, and one for each async model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from models.config import ModelConfig

from .alarms import WaitingJobsAlarm
from .scaling import scale_by_backlog, scale_by_requests
from .settings import DeploymentSettings
from .store import ANSWERS, ARCHIVE, CAPTURED, FAILURES
from .triton import OF_SEVERAL, of_one
from .triton_endpoint import TritonEndpoint

__all__ = ["AsyncEndpoint", "RealtimeEndpoint"]

_Config = sagemaker.CfnEndpointConfig
_SLOW_MICROSECONDS = 15_000_000
"""Half of what API Gateway waits for; a job may take as long as it needs."""


class RealtimeEndpoint(TritonEndpoint):
    """Runs every version of every realtime model, each fetched when it is first asked for: `TargetModel` says which."""

    def __init__(
        self, scope: Construct, construct_id: str, *, models: Sequence[ModelConfig], settings: DeploymentSettings, **common: Any
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            name=settings.endpoint_name(models[0]),
            instance_type=settings.gpu_instance_type,
            settings=settings,
            **common,
        )
        self._store.grant_archives(self._role, [model.name for model in models], several=True)
        alarms = [*self._error_alarms(), self._alarm("ModelLatency", "p90", _SLOW_MICROSECONDS)]
        endpoint = self._endpoint(
            self._model("", several=True, environment=OF_SEVERAL),
            instances=settings.gpu_min_instances,
            alarms=alarms,
            routing="LEAST_OUTSTANDING_REQUESTS",
            keep_instances=True,
            data_capture_config=self._capture(settings.gpu_capture_percent),
        )
        scale_by_requests(self, endpoint, settings, name=self.name)

    def _capture(self, percent: int) -> _Config.DataCaptureConfigProperty | None:
        if not percent:
            return None
        self._store.grant_capture(self._role)
        return _Config.DataCaptureConfigProperty(
            enable_capture=True,
            initial_sampling_percentage=percent,
            destination_s3_uri=f"s3://{self._store.job_bucket_name(self)}/{CAPTURED}",
            kms_key_id=self._store.key_arn(self),
            capture_options=[_Config.CaptureOptionProperty(capture_mode=mode) for mode in ("Input", "Output")],
        )


class AsyncEndpoint(TritonEndpoint):
    """Runs the promoted version of one model, for jobs that wait in SageMaker's queue, and has no instance while there are none."""

    def __init__(
        self, scope: Construct, construct_id: str, *, model: ModelConfig, version: str, settings: DeploymentSettings, **common: Any
    ) -> None:
        """`version` is a reference to the parameter that names it."""
        instance_type = model.gpu.instance_type or settings.gpu_instance_type
        super().__init__(scope, construct_id, name=settings.endpoint_name(model), instance_type=instance_type, settings=settings, **common)
        self._store.grant_archives(self._role, [model.name], several=False)
        self._store.grant_answers(self._role, model.name)
        endpoint = self._endpoint(
            self._model(f"{model.name}/versions/{version}/{ARCHIVE}", several=False, environment=of_one(model.name)),
            instances=1,  # SageMaker makes none with less; an idle one goes away
            alarms=self._error_alarms(),
            # Those of an idle endpoint are none, and none would try nothing; a busy one grows again once it is updated.
            keep_instances=False,
            async_inference_config=self._jobs(model),
        )
        scale_by_backlog(self, endpoint, name=self.name, most=model.gpu.max_instances)
        WaitingJobsAlarm(self, "WaitingJobs", settings=settings, endpoint=self.name)

    def _jobs(self, model: ModelConfig) -> _Config.AsyncInferenceConfigProperty:
        folder = f"s3://{self._store.job_bucket_name(self)}/{model.name}"
        return _Config.AsyncInferenceConfigProperty(
            client_config=_Config.AsyncInferenceClientConfigProperty(max_concurrent_invocations_per_instance=model.gpu.instance_count),
            output_config=_Config.AsyncInferenceOutputConfigProperty(
                s3_output_path=f"{folder}/{ANSWERS}/",
                s3_failure_path=f"{folder}/{FAILURES}/",
                kms_key_id=self._store.key_arn(self),
            ),
        )
