"""Which function answers a path: the template's resources and methods, matched as API Gateway matches them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

from tools.local.assembly import Stack
from tools.local.errors import LocalError
from tools.local.functions import function_id

__all__ = ["Api", "Match", "Route"]

_DEFAULT_TIMEOUT = 29.0


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one resource."""

    resource: str
    """As `/v2/models/{proxy+}`."""
    resource_id: str
    method: str
    """`ANY` for all of them."""
    function: str
    """Logical id."""
    timeout: float = _DEFAULT_TIMEOUT
    """Seconds that the gateway waits."""
    authorizer: str = ""
    """Logical id; empty where everybody may call."""
    api_key: bool = False
    """Whether the call counts against a usage plan."""


@dataclass(frozen=True)
class Match:
    """A route and what its variables stand for."""

    route: Route
    parameters: dict[str, str]


@dataclass
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    variable: dict[str, _Node] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)


class Api:
    """The routes of one REST API."""

    def __init__(self, stage: str, routes: list[Route]) -> None:
        self.stage = stage
        self.routes = routes
        self._root = _Node()
        for route in routes:
            node = self._root
            for part in _parts(route.resource):
                node = (node.variable if part.startswith("{") else node.literal).setdefault(part, _Node())
            node.routes[route.method] = route

    @classmethod
    def read(cls, stack: Stack) -> Self:
        """Raises `LocalError` unless the stack has one REST API whose methods are Lambda proxy integrations."""
        apis = list(stack.resources("AWS::ApiGateway::RestApi"))
        stages = [properties["StageName"] for _, properties in stack.resources("AWS::ApiGateway::Stage")]
        if len(apis) != 1 or len(stages) != 1:
            raise LocalError(f"stack {stack.name} has {len(apis)} REST APIs and {len(stages)} stages; the local runner serves one of each")
        if apis[0][1].get("BinaryMediaTypes") != ["*/*"]:
            raise LocalError(f'the REST API of {stack.name} needs binaryMediaTypes ["*/*"]; the local runner hands every body on as base64')
        paths = _paths(stack)
        routes = [_route(stack, paths, properties) for _, properties in stack.resources("AWS::ApiGateway::Method")]
        if any(route.api_key for route in routes):
            _check_key_source(stack.name, apis[0][1].get("ApiKeySourceType", "HEADER"))
        return cls(stages[0], routes)

    def match(self, method: str, path: str) -> Match | None:
        """The most specific route of a path (without its stage, percent-encoded); a slash at the end makes no difference."""
        node, parameters = _find(self._root, _parts(path))
        route = (node.routes.get(method) or node.routes.get("ANY")) if node else None
        return Match(route, parameters) if route else None


def _find(node: _Node, parts: list[str]) -> tuple[_Node | None, dict[str, str]]:
    """A literal wins over `{name}`, that over `{name+}`, part by part, and a dead end is left for the next best."""
    if not parts:
        return (node if node.routes else None), {}
    head, *rest = parts
    if head in node.literal:
        found, parameters = _find(node.literal[head], rest)
        if found:
            return found, parameters
    for variable, child in sorted(node.variable.items(), key=lambda item: item[0].endswith("+}")):
        name = variable.strip("{+}")
        if variable.endswith("+}"):
            return child, {name: unquote("/".join(parts))}
        found, parameters = _find(child, rest)
        if found:
            return found, {name: unquote(head), **parameters}
    return None, {}


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _paths(stack: Stack) -> dict[str, str]:
    """The path of each resource, by logical id."""
    resources = dict(stack.resources("AWS::ApiGateway::Resource"))

    def path(logical_id: str) -> str:
        parent = resources[logical_id]["ParentId"]
        return (path(parent["Ref"]) if "Ref" in parent else "") + "/" + str(resources[logical_id]["PathPart"])

    return {logical_id: path(logical_id) for logical_id in resources}


def _route(stack: Stack, paths: Mapping[str, str], properties: Mapping[str, Any]) -> Route:
    integration = properties["Integration"]
    resource_id = properties["ResourceId"].get("Ref", "")
    resource = paths.get(resource_id, "/")
    if integration["Type"] != "AWS_PROXY":
        raise LocalError(f"{properties['HttpMethod']} {resource} is an integration of type {integration['Type']}; expected AWS_PROXY")
    return Route(
        resource=resource,
        resource_id=resource_id,
        method=properties["HttpMethod"],
        function=function_id(stack, integration["Uri"]),
        timeout=integration.get("TimeoutInMillis", _DEFAULT_TIMEOUT * 1000) / 1000,
        authorizer=_authorizer(f"{properties['HttpMethod']} {resource}", properties),
        api_key=properties.get("ApiKeyRequired", False),
    )


def _authorizer(method: str, properties: Mapping[str, Any]) -> str:
    match properties.get("AuthorizationType", "NONE"), properties.get("AuthorizerId"):
        case "NONE", _:
            return ""
        case "CUSTOM", {"Ref": str(logical_id)}:
            return logical_id
        case kind, authorizer:
            raise LocalError(
                f"{method} has the authorization {kind} with the authorizer {authorizer}; "
                f"the local runner knows NONE, and CUSTOM with an authorizer of the same stack"
            )


def _check_key_source(stack: str, source: str) -> None:
    if source != "AUTHORIZER":
        raise LocalError(f"the REST API of {stack} takes API keys from {source}; the local runner knows AUTHORIZER")
