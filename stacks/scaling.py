"""How many instances an endpoint has: by requests at once, or by jobs that wait."""

from __future__ import annotations

from typing import Any

from aws_cdk import aws_applicationautoscaling as autoscaling
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from .alarms import VARIANT
from .settings import DeploymentSettings

__all__ = ["scale_by_backlog", "scale_by_requests"]

_Policy = autoscaling.CfnScalingPolicy
_JOBS_PER_INSTANCE = 5
"""That wait, in the mean, beyond which there is one more instance, and below which there is one less."""


def scale_by_requests(scope: Construct, endpoint: sagemaker.CfnEndpoint, settings: DeploymentSettings, *, name: str) -> None:
    """Holds the requests of one model at once, in the mean over instances, to `gpu_requests_per_instance`."""
    target = _target(scope, endpoint, name, least=settings.gpu_min_instances, most=settings.gpu_max_instances)
    metric = _Policy.PredefinedMetricSpecificationProperty(
        predefined_metric_type="SageMakerVariantConcurrentRequestsPerModelHighResolution"
    )
    _track(scope, target, "Requests", settings.gpu_requests_per_instance, predefined_metric_specification=metric)


def scale_by_backlog(scope: Construct, endpoint: sagemaker.CfnEndpoint, *, name: str, most: int) -> None:
    """From nothing to `most`, and back.

    Tracking alone leaves an endpoint at nothing: the metric is of jobs per instance, and there is none to divide by until the first
    instance is there, which the step adds. Source: Amazon SageMaker Developer Guide, "Autoscale an asynchronous endpoint".
    """
    target = _target(scope, endpoint, name, least=0, most=most)
    metric = _Policy.CustomizedMetricSpecificationProperty(
        namespace="AWS/SageMaker",
        metric_name="ApproximateBacklogSizePerInstance",
        dimensions=[_Policy.MetricDimensionProperty(name="EndpointName", value=name)],
        statistic="Average",
    )
    _track(scope, target, "Backlog", _JOBS_PER_INSTANCE, customized_metric_specification=metric)
    step = _Policy(
        scope,
        "FirstInstance",
        policy_name="first-instance",
        policy_type="StepScaling",
        scaling_target_id=target.ref,
        step_scaling_policy_configuration=_Policy.StepScalingPolicyConfigurationProperty(
            adjustment_type="ChangeInCapacity",
            metric_aggregation_type="Average",
            cooldown=300,
            step_adjustments=[_Policy.StepAdjustmentProperty(metric_interval_lower_bound=0, scaling_adjustment=1)],
        ),
    )
    _start_when_nobody_works(scope, name, step)


def _start_when_nobody_works(scope: Construct, name: str, step: _Policy) -> None:
    cloudwatch.CfnAlarm(
        scope,
        "NobodyWorks",
        alarm_description=f"Jobs wait, and {name} has no instance: starts one",
        namespace="AWS/SageMaker",
        metric_name="HasBacklogWithoutCapacity",
        dimensions=[cloudwatch.CfnAlarm.DimensionProperty(name="EndpointName", value=name)],
        statistic="Average",
        period=60,
        evaluation_periods=2,
        threshold=1,
        comparison_operator="GreaterThanOrEqualToThreshold",
        treat_missing_data="missing",
        alarm_actions=[step.ref],
    )


def _target(scope: Construct, endpoint: sagemaker.CfnEndpoint, name: str, *, least: int, most: int) -> autoscaling.CfnScalableTarget:
    """CloudFormation must make the endpoint before, which nothing but its name says."""
    target = autoscaling.CfnScalableTarget(
        scope,
        "Instances",
        service_namespace="sagemaker",
        scalable_dimension="sagemaker:variant:DesiredInstanceCount",
        resource_id=f"endpoint/{name}/variant/{VARIANT}",
        min_capacity=least,
        max_capacity=most,
    )
    target.add_resource_dependency(endpoint)
    return target


def _track(scope: Construct, target: autoscaling.CfnScalableTarget, name: str, value: float, **metric: Any) -> None:
    _Policy(
        scope,
        name,
        policy_name=name.lower(),
        policy_type="TargetTrackingScaling",
        scaling_target_id=target.ref,
        target_tracking_scaling_policy_configuration=_Policy.TargetTrackingScalingPolicyConfigurationProperty(
            target_value=value, scale_in_cooldown=600, scale_out_cooldown=120, **metric
        ),
    )
