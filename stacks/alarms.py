"""What somebody must hear of at once."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from constructs import Construct

from modelserve.settings import PredictSettings

from .settings import DeploymentSettings

__all__ = ["TamperingAlarm"]


class TamperingAlarm(cloudwatch.Alarm):
    """Rings when any function of the deployment refused a model whose bytes, manifest or signature are not what was published."""

    def __init__(self, scope: Construct, construct_id: str, *, settings: DeploymentSettings) -> None:
        super().__init__(
            scope,
            construct_id,
            alarm_description=f"{settings.name}: a model was refused, because it is not what was published; see docs/security.md",
            metric=cloudwatch.Metric(
                namespace=PredictSettings.metrics_namespace,
                metric_name="UnverifiedModel",
                dimensions_map={"service": settings.service},
                statistic=cloudwatch.Stats.SUM,
                period=Duration.minutes(1),
            ),
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        if settings.alarm_topic_arn:
            self.add_alarm_action(actions.SnsAction(sns.Topic.from_topic_arn(self, "Topic", settings.alarm_topic_arn)))
