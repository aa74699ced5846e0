"""Endpoints of a template: moto 5.2.5 gives them names of its own, knows few instance types, and updates too little."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

from moto.cloudformation.parsing import ResourceMap
from moto.sagemaker.models import FakeEndpoint, FakeEndpointConfig, Model

from tools.local.functions import references

__all__ = ["update_as_cloudformation"]

_diff = ResourceMap.build_resource_diff


def update_as_cloudformation() -> None:
    """Teaches it to this process; once more changes nothing."""
    FakeEndpoint.cloudformation_name_type = staticmethod(lambda: "EndpointName")  # type: ignore[method-assign]
    FakeEndpoint.update_from_cloudformation_json = classmethod(_in_place)  # type: ignore[assignment, method-assign]
    FakeEndpointConfig.validate_instance_type = lambda *_: None  # type: ignore[method-assign]
    for replaced in (FakeEndpointConfig, Model):
        replaced.update_from_cloudformation_json = classmethod(_beside)  # type: ignore[assignment, method-assign]
    ResourceMap.build_resource_diff = _diff_with_dependents  # type: ignore[assignment, method-assign]


def _in_place(_: Any, /, *, original_resource: Any, cloudformation_json: Any, **__: Any) -> Any:
    """There is never a moment without the endpoint."""
    original_resource.endpoint_config_name = cloudformation_json["Properties"]["EndpointConfigName"]
    return original_resource


def _beside(kind: Any, /, *, new_resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **_: Any) -> Any:
    """A replacement: the endpoint answers by what was, until it is told otherwise."""
    return kind.create_from_cloudformation_json(new_resource_name, cloudformation_json, account_id, region_name)


def _diff_with_dependents(resources: ResourceMap, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """Beside what reads a changed parameter, what refers to that; what a condition left out until now is to be made, not changed."""
    diff = _diff(resources, template, parameters)
    order = _in_order(template["Resources"])
    changed = set(diff["Modify"])
    for name in order:
        if not changed.isdisjoint(references(template["Resources"][name])):
            changed.add(name)
    diff["Add"] += [name for name in order if name in changed and name not in resources._parsed_resources]
    diff["Modify"] = [name for name in order if name in changed and name in resources._parsed_resources]
    return diff


def _in_order(resources: Mapping[str, Any]) -> list[str]:
    graph = {name: [other for other in references(resource) if other in resources] for name, resource in resources.items()}
    return list(TopologicalSorter(graph).static_order())
