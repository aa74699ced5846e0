"""What somebody must hear of at once."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from modelserve.settings import PredictSettings

from .settings import DeploymentSettings

__all__ = [
    "VARIANT",
    "DeadLettersAlarm",
    "EndpointAlarm",
    "LateJobsAlarm",
    "RefusalsAlarm",
    "TamperingAlarm",
    "UndeliveredAlarm",
    "WaitingJobsAlarm",
]

VARIANT = "AllTraffic"
"""The one variant of every endpoint; a blue/green deployment needs it to keep its name."""
_BUSY = 20  # requests a minute, below which a single client may be most of them
_WAITING_SECONDS = 3600
"""Far beyond what the first instance takes to start."""


class _Alarm(cloudwatch.Alarm):
    """Tells the topic of the deployment, if it has one."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        description: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        evaluation_periods: int,
    ) -> None:
        super().__init__(
            scope,
            construct_id,
            alarm_description=f"{settings.name}: {description}",
            metric=metric,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=threshold,
            evaluation_periods=evaluation_periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if settings.alarm_topic_arn:
            self.add_alarm_action(actions.SnsAction(sns.Topic.from_topic_arn(self, "Topic", settings.alarm_topic_arn)))


class TamperingAlarm(_Alarm):
    """Rings when any function of the deployment refused a model whose bytes, manifest or signature are not what was published."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings) -> None:
        metric = cloudwatch.Metric(
            namespace=PredictSettings.metrics_namespace,
            metric_name="UnverifiedModel",
            dimensions_map={"service": settings.service},
            statistic=cloudwatch.Stats.SUM,
            period=Duration.minutes(1),
        )
        description = "a model was refused, because it is not what was published; see docs/security.md"
        super().__init__(scope, construct_id, settings=settings, description=description, metric=metric, threshold=1, evaluation_periods=1)


class EndpointAlarm(_Alarm):
    """Rings when an endpoint is ill, and sends an update of it back to what ran before."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: DeploymentSettings,
        endpoint: str,
        metric: str,
        statistic: str,
        threshold: float,
    ) -> None:
        """`metric` is SageMaker's own name of it, and `threshold` in that metric's unit."""
        watched = _of_endpoint(endpoint, metric, statistic)
        description = f"{metric} of the endpoint {endpoint}; see docs/gpu.md"
        super().__init__(
            scope, construct_id, settings=settings, description=description, metric=watched, threshold=threshold, evaluation_periods=2
        )


class RefusalsAlarm(_Alarm):
    """Rings when Triton refuses half of all requests of busy minutes, and sends an update back: a model that fails or doesn't load is a 400
    of it, where no request comes that doesn't fit the model's signature.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, endpoint: str) -> None:
        refused = "Invocation4XXErrors"
        share = cloudwatch.MathExpression(
            expression=f"IF(asked >= {_BUSY}, refused / asked, 0)",
            using_metrics={"refused": _of_endpoint(endpoint, refused, "Sum"), "asked": _of_endpoint(endpoint, refused, "SampleCount")},
            period=Duration.minutes(1),
            label="share of refused requests",
        )
        description = f"half of the requests of the endpoint {endpoint} are refused by their model; see docs/gpu.md"
        super().__init__(scope, construct_id, settings=settings, description=description, metric=share, threshold=0.5, evaluation_periods=2)


class WaitingJobsAlarm(_Alarm):
    """Rings when a job has waited for an hour: no instance can be had, or there are too few.

    Sends no update back, since jobs that wait may be why there is one.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, endpoint: str) -> None:
        # Of the queue, and so without a variant. Source: Amazon SageMaker Developer Guide, "Monitor asynchronous endpoint".
        age = cloudwatch.Metric(
            namespace="AWS/SageMaker",
            metric_name="ApproximateAgeOfOldestRequest",
            dimensions_map={"EndpointName": endpoint},
            statistic=cloudwatch.Stats.MAXIMUM,
            period=Duration.minutes(1),
        )
        description = f"a job of the endpoint {endpoint} has waited for an hour; see docs/gpu.md"
        super().__init__(
            scope,
            construct_id,
            settings=settings,
            description=description,
            metric=age,
            threshold=_WAITING_SECONDS,
            evaluation_periods=2,
        )


class LateJobsAlarm(_Alarm):
    """Rings when a job has waited in its queue for too long: too few run at once, or their function fails."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, queue: sqs.IQueue, priority: str, seconds: int
    ) -> None:
        age = queue.metric_approximate_age_of_oldest_message(statistic=cloudwatch.Stats.MAXIMUM, period=Duration.minutes(1))
        advice = f"look into the log of the function of jobs, or raise {priority}_concurrency"
        description = f"a job of {priority} priority has waited for {seconds // 60} minutes; {advice}"
        super().__init__(
            scope, construct_id, settings=settings, description=description, metric=age, threshold=seconds, evaluation_periods=2
        )


class DeadLettersAlarm(_Alarm):
    """Rings while there is a message in a dead-letter queue."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, queue: sqs.IQueue, priority: str) -> None:
        depth = queue.metric_approximate_number_of_messages_visible(statistic=cloudwatch.Stats.MAXIMUM, period=Duration.minutes(1))
        description = f"a job of {priority} priority was tried too often; run: modelctl dlq list --deployment {settings.name}"
        super().__init__(scope, construct_id, settings=settings, description=description, metric=depth, threshold=1, evaluation_periods=1)


class UndeliveredAlarm(_Alarm):
    """Rings while there is something that another service could not hand on."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings, queue: sqs.IQueue) -> None:
        depth = queue.metric_approximate_number_of_messages_visible(statistic=cloudwatch.Stats.MAXIMUM, period=Duration.minutes(1))
        description = "an event, or records of a stream, could not be handed on and wait in a queue; see docs/ways-in.md"
        super().__init__(scope, construct_id, settings=settings, description=description, metric=depth, threshold=1, evaluation_periods=1)


def _of_endpoint(endpoint: str, metric: str, statistic: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/SageMaker",
        metric_name=metric,
        dimensions_map={"EndpointName": endpoint, "VariantName": VARIANT},
        statistic=statistic,
        period=Duration.minutes(1),
    )
