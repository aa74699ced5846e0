"""What heavy models need before their endpoints can be made, and whether these serve what was promoted: doctor's checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

from models.config import ModelConfig
from modelserve.errors import ServeError
from modelserve.registry import Registry
from tools.modelctl.checks import Check, State, attempt
from tools.modelctl.deployment import Deployment, parameters_of
from tools.modelctl.endpoints import Endpoints, wake

__all__ = ["examine"]

_FAILED = {"Failed", "OutOfService", "UpdateRollbackFailed"}


def examine(deployment: Deployment, models: Sequence[ModelConfig]) -> Iterator[Check]:
    """Nothing without heavy models."""
    heavy = [model for model in models if model.target == "gpu"]
    if not heavy:
        return
    endpoints = Endpoints.of(deployment)
    if not deployment.local:
        if not deployment.gpu_instances:
            fix = f"cdk deploy {deployment.name}/Serving"
            yield Check(what="GPU quota", state="warn", found="not known before Serving is deployed with the heavy models", fix=fix)
        for instance_type, needed in _needed(deployment, heavy).items():
            what = f"quota {instance_type}"
            advice = "check that these credentials may call servicequotas:ListServiceQuotas"
            yield attempt(
                what, advice, partial(_quota, deployment, what, instance_type, needed, off=not endpoints.deployed), refused="warn"
            )
    realtime, waiting = [model for model in heavy if model.realtime], [model for model in heavy if model.asynchronous]
    if realtime:
        yield from _realtime(deployment, endpoints, realtime)
    for model in waiting:
        yield from _async(deployment, endpoints, model)


def _needed(deployment: Deployment, models: Sequence[ModelConfig]) -> Counter[str]:
    """Instances at once by type: a blue/green update runs an endpoint's twice."""
    needed: Counter[str] = Counter()
    shared = deployment.gpu_instances
    if not shared:
        return needed
    if any(model.realtime for model in models):
        needed[shared["type"]] += 2 * shared["most"]
    for model in models:
        if model.asynchronous:
            needed[model.gpu.instance_type or shared["type"]] += 2 * model.gpu.max_instances
    return needed


def _quota(deployment: Deployment, what: str, instance_type: str, needed: int, *, off: bool) -> Check:
    """New accounts have none of these, and need none while the endpoints are `off`."""
    name = f"{instance_type} for endpoint usage"
    pages = deployment.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker")
    found: dict[str, Any] | None = next((each for page in pages for each in page["Quotas"] if each["QuotaName"] == name), None)
    if found is None:
        return Check(what=what, state="warn", found=f"{deployment.region} has no quota of that type, and perhaps no such instances")
    allowed = int(found["Value"])
    told = f"{allowed} instances; {needed} needed where all run and are updated"
    if allowed >= needed:
        return Check(what=what, state="ok", found=told)
    fix = (
        "aws service-quotas request-service-quota-increase --service-code sagemaker "
        f"--quota-code {found['QuotaCode']} --desired-value {needed} --region {deployment.region}"
    )
    return Check(what=what, state="warn" if allowed or off else "fail", found=told, fix=fix)


def _realtime(deployment: Deployment, endpoints: Endpoints, models: Sequence[ModelConfig]) -> Iterator[Check]:
    what = "GPU endpoint"
    if endpoints.realtime:
        yield attempt(what, "", partial(_endpoint, deployment, what, endpoints.realtime))
        return
    try:
        states = {model.name: _archived(deployment.registry(), model.name) for model in models}
    except ServeError as error:
        yield Check(what=what, state="fail", found=str(error), fix=f"check the role's access to bucket {deployment.bucket}")
        return
    published = [name for name, state in states.items() if state]
    if "promoted" in states.values():
        yield Check(what=what, state="warn", found="off: routes of realtime heavy models answer 503", fix=wake(deployment))
    elif published:
        fix = f"modelctl promote {published[0]} latest{deployment.option}"
        yield Check(what=what, state="warn", found="off, and nothing is promoted that it would serve", fix=fix)
    else:
        fix = f"modelctl publish {models[0].name}{deployment.option}"
        yield Check(what=what, state="warn", found="SageMaker makes none before there is a model.tar.gz to serve", fix=fix)


def _archived(registry: Registry, name: str) -> Literal["promoted", "published"] | None:
    """What answers for it, or else its newest version, where that has an archive."""
    alias = registry.aliases(name).get("production")
    if alias and registry.manifest(name, alias.version).max_batch is not None:
        return "promoted"
    versions = registry.versions(name)
    return "published" if versions and registry.manifest(name, versions[-1]).max_batch is not None else None


def _async(deployment: Deployment, endpoints: Endpoints, model: ModelConfig) -> Iterator[Check]:
    what = f"GPU endpoint of {model.name}"
    known = endpoints.asynchronous.get(model.name)
    alias = deployment.registry().aliases(model.name).get("production")
    if known is None:
        yield Check(what=what, state="warn", found="off: its route answers 503", fix=wake(deployment))
        return
    runs = _parameters(deployment, endpoints.stack).get(known.parameter, "")
    if alias is None:
        yield Check(what=what, state="warn", found="not made before a version is promoted", fix=_promote(deployment, model, "latest"))
    elif runs != alias.version:
        again = _promote(deployment, model, alias.version)
        yield Check(what=what, state="fail", found=f"is to run {runs}, and production is {alias.version}", fix=again)
    else:
        yield attempt(what, "", partial(_endpoint, deployment, what, known.endpoint))


def _endpoint(deployment: Deployment, what: str, endpoint: str) -> Check:
    found = deployment.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    status, reason = found["EndpointStatus"], found.get("FailureReason", "")
    if status == "InService":
        return Check(what=what, state="ok", found=f"{endpoint} is in service")
    fix = f"look into CloudWatch's log group /aws/sagemaker/Endpoints/{endpoint}"
    state: State = "fail" if status in _FAILED else "warn"
    return Check(what=what, state=state, found=f"{endpoint} is {status}. {reason}".strip(), fix=fix)


def _parameters(deployment: Deployment, stack: str) -> dict[str, str]:
    return parameters_of(deployment.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0])


def _promote(deployment: Deployment, model: ModelConfig, version: str) -> str:
    return f"modelctl promote {model.name} {version}{deployment.option}"
