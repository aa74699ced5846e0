"""Models and deployments to synthesize, and what a template says in the terms of a test."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack
from aws_cdk.assertions import Template

from models.config import MODELS, ModelConfig
from stacks.deployment import Deployment
from stacks.settings import DEV, PROD, DeploymentSettings

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Templates:
    """What CloudFormation gets for one deployment."""

    deployment: Deployment
    store: Template
    batch: Template
    serving: Template
    gpu: Template
    examples: Template

    @property
    def all(self) -> tuple[Template, ...]:
        return (self.store, self.batch, self.serving, self.gpu, self.examples)


def a_model(name: str = "fruit", **function: Any) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "task": "classification", "function": function})


def a_heavy_model(name: str = "pictures", *, function: dict[str, Any] | None = None, **gpu: Any) -> ModelConfig:
    section = {"target": "gpu", "gpu": gpu, "function": function or {}}
    return ModelConfig.model_validate({"name": name, "task": "classification", **section})


WARM = (a_model("plain"), a_model("warm", provisioned_concurrency=1), a_model("snapped", snap_start=True, architecture="arm64"))
EVERYTHING = replace(PROD, cors_origin="https://example.org", alarm_topic_arn="arn:aws:sns:eu-west-1:123456789012:alarms")
CHANGED = replace(
    DEV,
    alarm_topic_arn=EVERYTHING.alarm_topic_arn,
    cors_origin="https://example.org",
    high_concurrency=7,
    job_attempts=3,
    job_batch_size=4,
    job_days=3,
    job_memory=2048,
    low_concurrency=3,
    signed_manifests=True,
    upload_megabytes=64,
)
SIZED = (
    a_model(),
    a_model("smallest", memory=512),
    a_model("core", memory=1769),
    a_model("largest", memory=10_240, ephemeral_storage=4096),
    a_model("quick", memory=3008, timeout=10, ephemeral_storage=2048, reserved_concurrency=5),
)
"""By what model.toml says of their functions; the first says nothing."""
ADOPTED = replace(
    PROD,
    existing_bucket="models-of-ours",
    existing_key_arn="arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    existing_client_table="clients-of-ours",
    existing_signing_key_arn="arn:aws:kms:eu-west-1:123456789012:key/s",
)
HEAVY = (
    a_model(),
    a_heavy_model(),
    a_heavy_model("long_texts", mode="async", instance_type="ml.p3.2xlarge", max_instances=3),
    a_heavy_model("warm_pictures", function={"provisioned_concurrency": 1}),
)
"""On Lambda, on the shared endpoint, and on one of its own whose instances have no disk of their own."""
NETWORK = replace(
    PROD,
    gpu_subnets=("subnet-0a1b2c3d", "subnet-1a2b3c4d"),
    gpu_security_groups=("sg-0a1b2c3d",),
    alarm_topic_arn=EVERYTHING.alarm_topic_arn,
)
CAPTURING = replace(PROD, gpu_capture_percent=10, gpu_min_instances=2)
_REPOSITORYS = tuple(ModelConfig.load_all(MODELS))
DEPLOYMENTS: dict[str, tuple[DeploymentSettings, tuple[ModelConfig, ...]]] = {
    "dev": (DEV, _REPOSITORYS),
    "prod": (PROD, _REPOSITORYS),
    "every-option": (EVERYTHING, WARM),
    "adopted-store": (ADOPTED, HEAVY),
    "gpu-off": (DEV, HEAVY),
    "gpu-on": (PROD, HEAVY),
    "gpu-async": (PROD, (a_heavy_model("texts", mode="async"),)),
    "gpu-network": (NETWORK, HEAVY),
    "gpu-capture": (CAPTURING, HEAVY),
}
"""What the templates are held to: both deployments as they are, and what a fork may turn on."""


def cdk_app(folder: Path) -> App:
    """As the CDK CLI would make it, with cdk.json's feature flags, but without copying the assets."""
    flags = json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"]
    return App(outdir=str(folder), context={**flags, "aws:cdk:disable-asset-staging": True})


def synthesize(settings: DeploymentSettings, models: tuple[ModelConfig, ...], *, folder: Path) -> Templates:
    deployment = Deployment(cdk_app(folder), settings=settings, models=models)
    stacks = (deployment.store, deployment.batch, deployment.serving, deployment.gpu, deployment.examples)
    return Templates(deployment, *map(template_of, stacks))


def template_of(stack: Stack) -> Template:
    """The template of a stack as it is now, which is brought over from CDK's process once."""
    template = Template.from_stack(stack)
    template.to_json = cache(template.to_json)  # type: ignore[method-assign]
    return template


def properties(template: Template, kind: str, *, with_: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The properties of every resource of a type, or of those that have the properties `with_`."""
    if with_ is not None:
        return [each.get("Properties", {}) for each in template.find_resources(kind, {"Properties": with_}).values()]
    resources = template.to_json().get("Resources", {}).values()
    return [each.get("Properties", {}) for each in resources if each["Type"] == kind]


def gateways(templates: Templates) -> dict[str, dict[str, Any]]:
    """The gateway functions, by model."""
    functions = properties(templates.serving, "AWS::Lambda::Function")
    return {
        each["Environment"]["Variables"]["MODEL_NAME"]: each for each in functions if "ENDPOINT_NAME" in each["Environment"]["Variables"]
    }


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    """Everything a role allows, with each action and resource a list."""
    return [
        {**statement, "Action": _list(statement["Action"]), "Resource": _list(statement["Resource"])}
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def text(value: Any) -> str:
    """A value with CloudFormation's functions flattened to what they would join; references stay as `<their name>`."""
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(text(part) for part in parts)
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Ref": name} | {"Fn::FindInMap": [name, *_]}:
            return f"<{name}>"
        case {"Fn::Sub": pattern}:
            return str(pattern)
    return str(value)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
