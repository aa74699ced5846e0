"""What a SageMaker endpoint that runs Triton is made of, and how it is updated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from .alarms import VARIANT, EndpointAlarm, RefusalsAlarm
from .endpoint_role import EndpointRole
from .settings import DeploymentSettings
from .store import Store
from .triton import INFERENCE_AMI, TritonImage, has_local_storage

__all__ = ["TritonEndpoint"]

_Config = sagemaker.CfnEndpointConfig
_Endpoint = sagemaker.CfnEndpoint
_BAKING_SECONDS = 600
"""How long alarms may speak after each step of an update."""
_START_SECONDS = 1800
"""Until a container must be healthy: TensorRT builds its engines before."""


class TritonEndpoint(Construct):
    """What both kinds of endpoint have in common; SageMaker makes logs of every one, which we make first so that they are forgotten."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        instance_type: str,
        store: Store,
        image: TritonImage,
        settings: DeploymentSettings,
    ) -> None:
        super().__init__(scope, construct_id)
        self.name = name
        self._settings, self._store, self._image = settings, store, image
        self._instance_type = instance_type
        group = f"/aws/sagemaker/Endpoints/{name}"
        logs_of_it = logs.LogGroup(
            self, "Logs", log_group_name=group, retention=settings.log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self._role = EndpointRole(self, "Role", log_group=logs_of_it, image=image, settings=settings)
        self._key = None if has_local_storage(instance_type) else store.key_arn(self)
        if self._key:
            self._role.allow_volumes(self._key)

    def _model(self, location: str, *, several: bool, environment: dict[str, str]) -> sagemaker.CfnModel:
        subnets = self._settings.gpu_subnets
        return sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=self._role.role_arn,
            enable_network_isolation=not subnets,
            vpc_config=sagemaker.CfnModel.VpcConfigProperty(
                subnets=list(subnets), security_group_ids=list(self._settings.gpu_security_groups)
            )
            if subnets
            else None,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                image=self._image.uri,
                mode="MultiModel" if several else "SingleModel",
                model_data_url=f"s3://{self._store.bucket_name(self)}/models/{location}",
                environment=environment,
            ),
        )

    def _endpoint(
        self,
        model: sagemaker.CfnModel,
        *,
        instances: int,
        alarms: Sequence[cloudwatch.Alarm],
        routing: str | None = None,
        keep_instances: bool,
        **config: Any,
    ) -> _Endpoint:
        """CloudFormation names the configuration: one that changes is another, and the endpoint is updated to it.

        An update begins with as many instances as there are, or, unless `keep_instances`, with `instances`.
        Source: Amazon SageMaker API Reference, `VariantProperty`.
        """
        made = _Config(
            self,
            "Config",
            production_variants=[
                _Config.ProductionVariantProperty(
                    variant_name=VARIANT,
                    model_name=model.attr_model_name,
                    instance_type=self._instance_type,
                    initial_instance_count=instances,
                    initial_variant_weight=1,
                    inference_ami_version=INFERENCE_AMI,
                    container_startup_health_check_timeout_in_seconds=_START_SECONDS,
                    model_data_download_timeout_in_seconds=_START_SECONDS,
                    routing_config=_Config.RoutingConfigProperty(routing_strategy=routing) if routing else None,
                )
            ],
            kms_key_id=self._key,
            **config,
        )
        return _Endpoint(
            self,
            "Endpoint",
            endpoint_name=self.name,
            endpoint_config_name=made.attr_endpoint_config_name,
            retain_all_variant_properties=True,
            exclude_retained_variant_properties=None
            if keep_instances
            else [_Endpoint.VariantPropertyProperty(variant_property_type="DesiredInstanceCount")],
            deployment_config=_blue_green(alarms, instances=instances),
        )

    def _error_alarms(self) -> list[cloudwatch.Alarm]:
        refusals = RefusalsAlarm(self, "Refusals", settings=self._settings, endpoint=self.name)
        return [self._alarm("Invocation5XXErrors", "Sum", 1), refusals]

    def _alarm(self, metric: str, statistic: str, threshold: float) -> EndpointAlarm:
        return EndpointAlarm(
            self, metric, settings=self._settings, endpoint=self.name, metric=metric, statistic=statistic, threshold=threshold
        )


def _blue_green(alarms: Sequence[cloudwatch.Alarm], *, instances: int) -> _Endpoint.DeploymentConfigProperty:
    """A canary takes at most half of the instances, so there must be two; a single one changes at once, and goes back as others do.

    Source: Amazon SageMaker Developer Guide, "Use canary traffic shifting".
    """
    canary = _Endpoint.CapacitySizeProperty(type="INSTANCE_COUNT", value=1) if instances > 1 else None
    return _Endpoint.DeploymentConfigProperty(
        auto_rollback_configuration=_Endpoint.AutoRollbackConfigProperty(
            alarms=[_Endpoint.AlarmProperty(alarm_name=alarm.alarm_name) for alarm in alarms]
        ),
        blue_green_update_policy=_Endpoint.BlueGreenUpdatePolicyProperty(
            traffic_routing_configuration=_Endpoint.TrafficRoutingConfigProperty(
                type="CANARY" if canary else "ALL_AT_ONCE", wait_interval_in_seconds=_BAKING_SECONDS, canary_size=canary
            ),
            termination_wait_in_seconds=_BAKING_SECONDS,
            maximum_execution_timeout_in_seconds=2 * _START_SECONDS + 3 * _BAKING_SECONDS,
        ),
    )
