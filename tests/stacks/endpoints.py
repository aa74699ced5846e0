"""The two endpoints of `HEAVY` in prod, and what belongs to each of them."""

from __future__ import annotations

from typing import Any

from tests.stacks.factories import Templates

SHARED, OWN = "serverless-onnx-prod", "serverless-onnx-prod-long-texts"
_CONSTRUCTS = {SHARED: "Realtime", OWN: "LongTexts"}


def of(templates: Templates, endpoint: str, kind: str, **with_: Any) -> dict[str, Any]:
    """The properties of the one resource of a type that belongs to an endpoint: its construct stands before its logical id."""
    found = templates.gpu.find_resources(kind, {"Properties": with_} if with_ else None)
    (properties,) = [each["Properties"] for name, each in found.items() if name.startswith(_CONSTRUCTS[endpoint])]
    return dict(properties)


def variant(templates: Templates, endpoint: str) -> dict[str, Any]:
    """What an endpoint runs, and on which instances."""
    (found,) = of(templates, endpoint, "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    return dict(found)


def alarms(templates: Templates, endpoint: str) -> dict[str, dict[str, Any]]:
    """Those that send an update back, by metric; the one that divides two is called Refusals."""
    watched = of(templates, endpoint, "AWS::SageMaker::Endpoint")["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    found = [templates.gpu.to_json()["Resources"][each["AlarmName"]["Ref"]]["Properties"] for each in watched]
    return {each.get("MetricName", "Refusals"): each for each in found}
