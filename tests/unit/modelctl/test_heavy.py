"""What doctor says of heavy models; SageMaker and its quotas are stubs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.config import GpuConfig, ModelConfig
from tests.unit.modelctl.test_endpoints import ASYNC, ENDPOINT, deploy, deployment, publish, workplace
from tools.modelctl import heavy
from tools.modelctl.checks import Check
from tools.modelctl.deployment import Deployment
from tools.modelctl.endpoints import prepare

__all__ = ["deployment", "workplace"]  # fixtures

REALTIME = ModelConfig(name="step", task="classification", target="gpu")
JOBS = ModelConfig(name="step", task="classification", target="gpu", gpu=GpuConfig(mode="async"))


class Sagemaker:
    """One endpoint, and quotas on pages."""

    def __init__(self, status: str = "InService", quotas: dict[str, float] | None = None) -> None:
        self.status = status
        self.quotas = quotas or {}

    def describe_endpoint(self, **asked: str) -> dict[str, str]:
        return {
            "EndpointStatus": self.status,
            "FailureReason": "its log says why" * (self.status == "Failed"),
        }

    def get_paginator(self, _: str) -> "Sagemaker":
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [
            {"Quotas": [{"QuotaName": f"{name} for endpoint usage", "QuotaCode": "L-1", "Value": value}]}
            for name, value in self.quotas.items()
        ]


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def install(*given: Any, **quotas: Any) -> None:
        made, real = Sagemaker(*given, **quotas), Deployment.client
        services = {"sagemaker", "service-quotas"}
        monkeypatch.setattr(Deployment, "client", lambda self, service, *rest: made if service in services else real(self, service, *rest))

    return install


def checks(deployment: Deployment, *models: ModelConfig) -> dict[str, Check]:
    return {check.what: check for check in heavy.examine(deployment, models)}


def test_without_heavy_models_nothing_is_asked(deployment: Deployment) -> None:
    assert checks(deployment, ModelConfig(name="step", task="classification")) == {}


def serving(deployment: Deployment, *, most: int = 2) -> Deployment:
    """Told by the Serving stack what instances there may be."""
    return replace(deployment, gpu_instances={"type": "ml.g4dn.xlarge", "most": most})


@pytest.mark.parametrize(("allowed", "state"), [(0, "fail"), (3, "warn"), (4, "ok")])
@pytest.mark.parametrize("on", [True, False])
def test_a_quota_is_told_with_the_command_that_raises_it(
    deployment: Deployment, sagemaker: Callable[..., None], allowed: int, state: str, on: bool
) -> None:
    """A deployment whose endpoints are off is well without any."""
    if on:
        deploy({"GpuEndpoint": ENDPOINT})
    state = "warn" if state == "fail" and not on else state
    sagemaker(quotas={"ml.p5.48xlarge": 9, "ml.g4dn.xlarge": allowed})
    check = checks(serving(deployment), REALTIME)["quota ml.g4dn.xlarge"]
    assert (check.state, check.found) == (state, f"{allowed} instances; 4 needed where all run and are updated")
    assert ("--quota-code L-1 --desired-value 4 --region us-east-1" in check.fix) == (state != "ok")


def test_every_endpoint_counts_for_the_quota_of_its_type(deployment: Deployment, sagemaker: Callable[..., None]) -> None:
    sagemaker(quotas={"ml.g4dn.xlarge": 100, "ml.g6.xlarge": 100})
    other = JOBS.model_copy(update={"name": "other", "gpu": GpuConfig(mode="async", instance_type="ml.g6.xlarge", max_instances=3)})
    found = checks(serving(deployment, most=3), REALTIME, JOBS, other)
    assert "8 needed" in found["quota ml.g4dn.xlarge"].found
    assert "6 needed" in found["quota ml.g6.xlarge"].found


def test_before_serving_is_deployed_no_quota_is_known_to_be_needed(deployment: Deployment, sagemaker: Callable[..., None]) -> None:
    sagemaker()
    found = checks(deployment, REALTIME)
    assert found["GPU quota"].fix == "cdk deploy prod/Serving"
    assert not [what for what in found if what.startswith("quota")]


def test_a_type_that_a_region_lacks_is_told(deployment: Deployment, sagemaker: Callable[..., None]) -> None:
    sagemaker()
    assert "us-east-1 has no quota of that type" in checks(serving(deployment), REALTIME)["quota ml.g4dn.xlarge"].found


def test_an_endpoint_that_is_off_is_told_with_what_turns_it_on_and_what_comes_before(
    deployment: Deployment, sagemaker: Callable[..., None], tmp_path: Path
) -> None:
    """SageMaker refuses an endpoint for an empty folder."""
    sagemaker()
    assert checks(deployment, REALTIME)["GPU endpoint"].fix.startswith("modelctl publish step --deployment prod")
    version = publish(deployment, tmp_path).version
    assert checks(deployment, REALTIME)["GPU endpoint"].fix == "modelctl promote step latest --deployment prod"
    deployment.registry().promote("step", version, alias="production", by="ann", reason="")
    assert checks(deployment, REALTIME)["GPU endpoint"].fix == "cdk deploy 'prod/*' -c gpu=on"
    assert checks(deployment, JOBS)["GPU endpoint of step"].fix == "cdk deploy 'prod/*' -c gpu=on"


@pytest.mark.parametrize(("status", "state"), [("InService", "ok"), ("Creating", "warn"), ("Updating", "warn"), ("Failed", "fail")])
def test_the_state_of_an_endpoint_is_told(deployment: Deployment, sagemaker: Callable[..., None], status: str, state: str) -> None:
    deploy({"GpuEndpoint": ENDPOINT})
    sagemaker(status)
    check = checks(deployment, REALTIME)["GPU endpoint"]
    assert check.state == state
    assert ("its log says why" in check.found) == (status == "Failed")


def test_an_async_endpoint_must_run_what_production_names(deployment: Deployment, sagemaker: Callable[..., None], tmp_path: Path) -> None:
    deploy({"AsyncEndpoints": json.dumps(ASYNC)})
    sagemaker()
    assert "not made before a version is promoted" in checks(deployment, JOBS)["GPU endpoint of step"].found
    manifest = publish(deployment, tmp_path, max_batch=0)
    deployment.registry().promote("step", manifest.version, alias="production", by="ann", reason="")
    check = checks(deployment, JOBS)["GPU endpoint of step"]
    assert (check.state, check.fix) == ("fail", f"modelctl promote step {manifest.version} --deployment prod")
    prepare(deployment, manifest, alias="production", progress=print, note=print, pause=0)
    assert checks(deployment, JOBS)["GPU endpoint of step"].state == "ok"
