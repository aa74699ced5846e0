"""How endpoints are updated, what sends an update back, and how many instances there are."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.settings import PROD, DeploymentSettings
from tests.stacks.endpoints import OWN, SHARED, alarms, of, variant
from tests.stacks.factories import CAPTURING, HEAVY, NETWORK, Templates

pytestmark = pytest.mark.xdist_group("stacks")

POLICY = "AWS::ApplicationAutoScaling::ScalingPolicy"


def test_an_update_keeps_the_instances_that_autoscaling_made(heavy):
    endpoint = of(heavy, SHARED, "AWS::SageMaker::Endpoint")
    assert endpoint["RetainAllVariantProperties"] is True
    assert "ExcludeRetainedVariantProperties" not in endpoint


def test_an_update_of_an_idle_async_endpoint_starts_an_instance(heavy):
    """Otherwise it would keep none, and put in service what was never tried."""
    endpoint = of(heavy, OWN, "AWS::SageMaker::Endpoint")
    assert endpoint["ExcludeRetainedVariantProperties"] == [{"VariantPropertyType": "DesiredInstanceCount"}]
    assert variant(heavy, OWN)["InitialInstanceCount"] == 1


def blue_green(templates: Templates, endpoint: str) -> dict[str, Any]:
    found: dict[str, Any] = of(templates, endpoint, "AWS::SageMaker::Endpoint")["DeploymentConfig"]
    return found


def test_an_update_of_several_instances_begins_with_a_canary(synthesized):
    """Of one, which is at most half of them, as SageMaker demands."""
    policy = blue_green(synthesized(CAPTURING, *HEAVY), SHARED)["BlueGreenUpdatePolicy"]
    routing = policy["TrafficRoutingConfiguration"]
    assert (routing["Type"], routing["CanarySize"]) == ("CANARY", {"Type": "INSTANCE_COUNT", "Value": 1})
    assert routing["WaitIntervalInSeconds"] == policy["TerminationWaitInSeconds"] == 600


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_an_update_of_one_instance_is_blue_green_without_a_canary(heavy, endpoint):
    """Half of one is none. The old instance is kept while alarms may speak."""
    policy = blue_green(heavy, endpoint)["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert policy["TerminationWaitInSeconds"] == 600


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_an_update_may_take_as_long_as_its_waits_and_a_start(heavy, endpoint):
    policy = blue_green(heavy, endpoint)["BlueGreenUpdatePolicy"]
    start = variant(heavy, endpoint)["ContainerStartupHealthCheckTimeoutInSeconds"]
    waits = policy["TerminationWaitInSeconds"] + 2 * policy["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"]
    assert start + waits < policy["MaximumExecutionTimeoutInSeconds"] <= 28_800


ERRORS = {"Invocation5XXErrors", "Refusals"}


@pytest.mark.parametrize(("endpoint", "metrics"), [(SHARED, {*ERRORS, "ModelLatency"}), (OWN, ERRORS)])
def test_alarms_send_an_update_back(heavy, endpoint, metrics):
    """A job may take as long as it needs, so that latency says nothing of it."""
    found = alarms(heavy, endpoint)
    assert found.keys() == metrics
    for alarm in found.values():
        for metric in [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", [])[1:]] or [alarm]:
            assert metric["Namespace"] == "AWS/SageMaker"
            assert {each["Name"]: each["Value"] for each in metric["Dimensions"]} == {"EndpointName": endpoint, "VariantName": "AllTraffic"}
        assert alarm["TreatMissingData"] == "notBreaching"


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_an_error_in_each_of_two_minutes_sends_an_update_back(heavy, endpoint):
    alarm = alarms(heavy, endpoint)["Invocation5XXErrors"]
    assert (alarm["Statistic"], alarm["Threshold"], alarm["ComparisonOperator"]) == ("Sum", 1, "GreaterThanOrEqualToThreshold")
    assert (alarm["Period"], alarm["EvaluationPeriods"]) == (60, 2)
    assert "DatapointsToAlarm" not in alarm  # so that it is both minutes


@pytest.mark.parametrize("endpoint", [SHARED, OWN])
def test_a_model_that_refuses_every_other_request_sends_an_update_back(heavy, endpoint):
    """Whatever fails in Triton is a 400 of it; of few requests one client's may be most."""
    alarm = alarms(heavy, endpoint)["Refusals"]
    assert (alarm["Threshold"], alarm["ComparisonOperator"], alarm["EvaluationPeriods"]) == (0.5, "GreaterThanOrEqualToThreshold", 2)
    share, *metrics = alarm["Metrics"]
    assert share["Expression"] == "IF(asked >= 20, refused / asked, 0)"
    found = {each["Id"]: (each["MetricStat"]["Metric"]["MetricName"], each["MetricStat"]["Stat"]) for each in metrics}
    assert found == {"refused": ("Invocation4XXErrors", "Sum"), "asked": ("Invocation4XXErrors", "SampleCount")}
    assert {each["MetricStat"]["Period"] for each in metrics} == {60}


def test_latency_is_in_microseconds_and_half_of_what_api_gateway_waits(heavy):
    alarm = alarms(heavy, SHARED)["ModelLatency"]
    assert (alarm["Threshold"], alarm["ExtendedStatistic"]) == (15_000_000, "p90")


def test_alarms_of_endpoints_reach_the_topic_of_the_settings(synthesized):
    templates = synthesized(NETWORK, *HEAVY)
    assert [each["AlarmActions"] for each in alarms(templates, SHARED).values()] == [[NETWORK.alarm_topic_arn]] * 3
    assert waiting_jobs(templates)["AlarmActions"] == [NETWORK.alarm_topic_arn]


def waiting_jobs(templates: Templates) -> dict[str, Any]:
    return of(templates, OWN, "AWS::CloudWatch::Alarm", MetricName="ApproximateAgeOfOldestRequest")


def test_a_job_that_waits_for_an_hour_rings(heavy):
    """The metric is of the queue, in seconds, and of no variant."""
    alarm = waiting_jobs(heavy)
    assert (alarm["Namespace"], alarm["Dimensions"]) == ("AWS/SageMaker", [{"Name": "EndpointName", "Value": OWN}])
    assert (alarm["Statistic"], alarm["Threshold"], alarm["ComparisonOperator"]) == ("Maximum", 3600, "GreaterThanOrEqualToThreshold")
    assert (alarm["Period"], alarm["EvaluationPeriods"], alarm["TreatMissingData"]) == (60, 2, "notBreaching")
    assert "docs/gpu.md" in alarm["AlarmDescription"]


def test_alarms_watch_the_variant_that_every_endpoint_has(heavy):
    assert [variant(heavy, each)["VariantName"] for each in (SHARED, OWN)] == ["AllTraffic"] * 2


@pytest.mark.parametrize(("endpoint", "least", "most"), [(SHARED, 1, 2), (OWN, 0, 3)])
def test_instances_are_between_the_bounds_of_settings_and_model_toml(heavy, endpoint, least, most):
    target = of(heavy, endpoint, "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (least, most)
    assert target["ResourceId"] == f"endpoint/{endpoint}/variant/AllTraffic"
    assert target["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"


def test_the_target_of_scaling_is_made_after_its_endpoint(heavy):
    resources = heavy.gpu.to_json()["Resources"]
    for each in heavy.gpu.find_resources("AWS::ApplicationAutoScaling::ScalableTarget").values():
        assert [resources[name]["Type"] for name in each["DependsOn"]] == ["AWS::SageMaker::Endpoint"]


def test_the_shared_endpoint_follows_requests_at_once_of_a_model(heavy):
    tracking = of(heavy, SHARED, POLICY, PolicyType="TargetTrackingScaling")["TargetTrackingScalingPolicyConfiguration"]
    metric = {"PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"}
    assert (tracking["PredefinedMetricSpecification"], tracking["TargetValue"]) == (metric, PROD.gpu_requests_per_instance)


def test_an_async_endpoint_follows_the_jobs_that_wait(heavy):
    tracking = of(heavy, OWN, POLICY, PolicyType="TargetTrackingScaling")["TargetTrackingScalingPolicyConfiguration"]
    metric = tracking["CustomizedMetricSpecification"]
    assert (metric["Namespace"], metric["MetricName"]) == ("AWS/SageMaker", "ApproximateBacklogSizePerInstance")
    assert metric["Dimensions"] == [{"Name": "EndpointName", "Value": OWN}]


def test_an_async_endpoint_without_instances_is_given_its_first(heavy):
    """Tracking alone would leave it without: there is no instance to divide the jobs by."""
    steps = of(heavy, OWN, POLICY, PolicyType="StepScaling")["StepScalingPolicyConfiguration"]
    assert (steps["AdjustmentType"], steps["StepAdjustments"]) == (
        "ChangeInCapacity",
        [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
    )
    alarm = of(heavy, OWN, "AWS::CloudWatch::Alarm", MetricName="HasBacklogWithoutCapacity")
    assert alarm["Dimensions"] == [{"Name": "EndpointName", "Value": OWN}]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (1, "GreaterThanOrEqualToThreshold")
    (action,) = alarm["AlarmActions"]
    assert heavy.gpu.to_json()["Resources"][action["Ref"]]["Properties"]["PolicyType"] == "StepScaling"


@pytest.mark.parametrize(("least", "most"), [(0, 2), (3, 2)])
def test_the_shared_endpoint_can_not_go_without_instances(least, most):
    with pytest.raises(ValueError, match="gpu_min_instances of x"):
        DeploymentSettings(name="x", gpu_min_instances=least, gpu_max_instances=most)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_share_is_a_percentage(percent):
    with pytest.raises(ValueError, match="gpu_capture_percent of x"):
        DeploymentSettings(name="x", gpu_capture_percent=percent)
