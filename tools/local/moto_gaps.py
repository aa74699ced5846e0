"""What moto can't take of a template that CloudFormation can; each entry goes when moto learns it."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from typing import Any, Self

from moto.apigateway.models import apigateway_backends
from moto.core.common_models import CloudFormationModel
from moto.s3.responses import S3Response

from tools.local.assembly import Stack

__all__ = ["defaults", "keep_versions", "quieten", "take_any_body", "without_gaps"]

_DROPPED = {
    # moto 5.2.5 looks for TagKey where CloudFormation writes Key, and fails.
    "AWS::KMS::Key": ("Tags",),
    # It looks for a list where CloudFormation has a map.
    "AWS::SSM::Parameter": ("Tags",),
}


_setup = S3Response.setup_class


def quieten() -> None:
    """Moto says of every resource type it skips that it does, and its server of every request that it came."""
    logging.getLogger("moto").setLevel(logging.ERROR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "Tried to parse .* but it's not supported by moto", UserWarning)


def take_any_body() -> None:
    """Objects whose Content-Type is a form's, which Python's and curl's defaults are, would be stored empty; once more changes nothing."""
    S3Response.setup_class = _setup_with_body  # type: ignore[method-assign]


def _setup_with_body(self: S3Response, request: Any, *args: Any, **kwargs: Any) -> None:
    if request.method == "PUT":
        request.get_data(parse_form_data=False)
    _setup(self, request, *args, **kwargs)


def without_gaps(template: dict[str, Any]) -> dict[str, Any]:
    """The template less the properties that would fail its creation in moto, none of which a function can see."""
    taken = copy.deepcopy(template)
    for resource in taken.get("Resources", {}).values():
        for name in _DROPPED.get(resource["Type"], ()):
            resource.get("Properties", {}).pop(name, None)
    return taken


def defaults(template: Mapping[str, Any]) -> list[dict[str, str]]:
    """Parameters by their default: an update that keeps a value finds in moto only what was named."""
    parameters = template.get("Parameters", {})
    return [{"ParameterKey": name, "ParameterValue": each["Default"]} for name, each in parameters.items() if "Default" in each]


def keep_versions(stack: Stack, names: Mapping[str, str], s3: Any) -> None:
    """Versions of objects where the template asks for them, which moto's CloudFormation overlooks; `names` by logical id."""
    for logical_id, properties in stack.resources("AWS::S3::Bucket"):
        if versioning := properties.get("VersioningConfiguration"):
            s3.put_bucket_versioning(Bucket=names[logical_id], VersioningConfiguration=versioning)


class _Stage(CloudFormationModel):
    """Moto's CloudFormation skips it, and what refers to it would get nothing: its name."""

    def __init__(self, name: str) -> None:
        self.physical_resource_id = name

    @staticmethod
    def cloudformation_name_type() -> str:
        return "StageName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::Stage"

    @classmethod
    def create_from_cloudformation_json(
        cls,
        resource_name: str,  # noqa: ARG003 - moto's signature
        cloudformation_json: dict[str, Any],
        account_id: str,  # noqa: ARG003
        region_name: str,  # noqa: ARG003
        **_: Any,
    ) -> Self:
        return cls(cloudformation_json["Properties"]["StageName"])


class _UsagePlan(CloudFormationModel):
    """Moto's CloudFormation skips it, while its API Gateway has usage plans: made there, so that keys can be added to it."""

    def __init__(self, plan_id: str) -> None:
        self.physical_resource_id = plan_id

    @staticmethod
    def cloudformation_name_type() -> str:
        return "UsagePlanName"

    @staticmethod
    def cloudformation_type() -> str:
        return "AWS::ApiGateway::UsagePlan"

    @classmethod
    def create_from_cloudformation_json(
        cls, resource_name: str, cloudformation_json: dict[str, Any], account_id: str, region_name: str, **_: Any
    ) -> Self:
        properties = cloudformation_json["Properties"]
        payload = {
            "name": properties.get("UsagePlanName", resource_name),
            "description": properties.get("Description"),
            "apiStages": [_lower_camel(each) for each in properties.get("ApiStages", [])],
            "throttle": _lower_camel(properties.get("Throttle", {})),
            "quota": _lower_camel(properties.get("Quota", {})),
        }
        return cls(apigateway_backends[account_id][region_name].create_usage_plan(payload).id)


def _lower_camel(properties: Mapping[str, Any]) -> dict[str, Any]:
    """As the service's API has the names that CloudFormation begins with a capital."""
    return {name[0].lower() + name[1:]: value for name, value in properties.items()}
