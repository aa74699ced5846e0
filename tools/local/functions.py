"""Reads one Lambda function as it was deployed: what CloudFormation resolved, and from the template what moto does not keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.local.assembly import Stack
from tools.local.errors import LocalError

__all__ = ["Function", "function_id", "references"]


@dataclass(frozen=True, kw_only=True)
class Function:
    """One Lambda function's configuration."""

    name: str
    logical_id: str
    handler: str
    """`module.function`; for an image its command, empty where the Dockerfile's CMD holds."""
    runtime: str
    """Empty for an image."""
    image: str
    """The tag of its image; empty for a zip."""
    code: str
    """The object key of its zip; empty for an image."""
    layers: tuple[str, ...]
    """Object keys, in the order in which they are merged."""
    environment: Mapping[str, str]
    timeout: int
    """Seconds."""
    memory: int
    """MB."""
    dead_letters: str = ""
    """ARN of the queue of its DeadLetterConfig; empty for none."""

    @classmethod
    def read(cls, stack: Stack, logical_id: str, properties: Mapping[str, Any], deployed: Mapping[str, Any]) -> Function:
        """`deployed` is what GetFunctionConfiguration answers. Raises `LocalError` for what does not come from an asset."""
        code = properties["Code"]
        command = properties.get("ImageConfig", {}).get("Command", [""])
        return cls(
            name=deployed["FunctionName"],
            logical_id=logical_id,
            handler=properties.get("Handler", command[0]),
            runtime=properties.get("Runtime", ""),
            image=_image_tag(logical_id, code),
            code=code.get("S3Key", ""),
            layers=tuple(_layer(stack, logical_id, layer) for layer in properties.get("Layers", [])),
            environment=_resolved(logical_id, deployed.get("Environment", {}).get("Variables", {})),
            timeout=int(deployed["Timeout"]),
            memory=int(deployed["MemorySize"]),
            dead_letters=str(deployed.get("DeadLetterConfig", {}).get("TargetArn", "")),
        )


def function_id(stack: Stack, reference: object) -> str:
    """The logical id of the function that an expression such as an integration's Uri names, through a version or alias."""
    resources = stack.template["Resources"]
    for logical_id in references(reference):
        kind = resources.get(logical_id, {}).get("Type")
        if kind == "AWS::Lambda::Function":
            return logical_id
        if kind in {"AWS::Lambda::Version", "AWS::Lambda::Alias"}:
            return function_id(stack, resources[logical_id]["Properties"]["FunctionName"])
    raise LocalError(f"no Lambda function of stack {stack.name} is named by {reference}")


def references(value: object) -> list[str]:
    """Logical ids in Ref and Fn::GetAtt, wherever they are nested."""
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    if not isinstance(value, dict):
        return []
    if "Ref" in value:
        return [value["Ref"]]
    if "Fn::GetAtt" in value:
        return [value["Fn::GetAtt"][0]]
    return [found for item in value.values() for found in references(item)]


def _image_tag(logical_id: str, code: Mapping[str, Any]) -> str:
    if "ImageUri" not in code:
        if "S3Key" not in code:
            raise LocalError(f"function {logical_id} has its code in the template; the local runner needs it in an asset")
        return ""
    uri = code["ImageUri"]
    return str(uri["Fn::Sub"] if isinstance(uri, dict) and "Fn::Sub" in uri else uri).rsplit(":", 1)[1]


def _layer(stack: Stack, logical_id: str, layer: object) -> str:
    for reference in references(layer):
        resource = stack.template["Resources"].get(reference, {})
        if resource.get("Type") == "AWS::Lambda::LayerVersion":
            return str(resource["Properties"]["Content"]["S3Key"])
    raise LocalError(f"function {logical_id} has the layer {layer}, which stack {stack.name} does not make; the local runner has no other")


def _resolved(logical_id: str, environment: Mapping[str, Any]) -> dict[str, str]:
    for name, value in environment.items():
        if not isinstance(value, str) or value.startswith("{'") or "Fn::" in value:
            raise LocalError(
                f"moto left the variable {name} of function {logical_id} unresolved: {value}; pass it as a parameter or a name"
            )
    return dict(environment)
