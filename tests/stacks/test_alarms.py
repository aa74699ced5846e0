"""Who hears of tampering."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelserve.settings import PredictSettings
from stacks.settings import DEV
from tests.stacks.factories import Templates, properties

pytestmark = pytest.mark.xdist_group("stacks")


def alarm(templates: Templates) -> dict[str, Any]:
    (found,) = properties(templates.store, "AWS::CloudWatch::Alarm")
    return found


def test_one_refused_model_rings(dev):
    found = alarm(dev)
    (service,) = {each["Environment"]["Variables"]["SERVICE"] for each in properties(dev.serving, "AWS::Lambda::Function")}
    assert (found["Namespace"], found["MetricName"]) == (PredictSettings.metrics_namespace, "UnverifiedModel")
    assert found["Dimensions"] == [{"Name": "service", "Value": service}]
    assert (found["Statistic"], found["Threshold"], found["ComparisonOperator"]) == ("Sum", 1, "GreaterThanOrEqualToThreshold")
    assert found["TreatMissingData"] == "notBreaching"


def test_alarms_reach_the_topic_of_the_settings(dev, synthesized):
    topic = "arn:aws:sns:eu-west-1:123456789012:alarms"
    assert alarm(synthesized(replace(DEV, alarm_topic_arn=topic)))["AlarmActions"] == [topic]
    assert "AlarmActions" not in alarm(dev)
