"""Every sample in one deployment on this machine, once in its function and once behind an endpoint whose container is a real Triton."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import App

from models.config import ModelConfig
from modelserve.endpoints import Response
from modelserve.registry import Registry
from stacks.deployment import Deployment
from stacks.settings import DeploymentSettings, Plan
from tests.hostile.case import Case
from tests.hostile.wire import Wire
from tests.triton.comparison import difference
from tests.triton.samples import GPU, Sample
from tools import layers
from tools.local.packages import PROJECT
from tools.local.stack import LocalStack
from tools.modelctl.s3 import S3Store

__all__ = ["NAME", "Pair", "assembly", "release"]

NAME = "triton"
_PLAN = Plan(name="unhindered", requests_per_second=10_000, burst=10_000)
_ALIASES = ("before", "production")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A sample and its twin, both promoted."""

    sample: Sample
    names: Mapping[str, str]
    """What the twin and its versions are called, in the sample's words."""

    def compare(self, wire: Wire, case: Case) -> tuple[Response, str]:
        """The answer of the function that runs the model itself, and what is different in Triton's; empty when nothing is."""
        expected = wire.send(case)
        found = wire.send(self._twin(case))
        if expected.status == 0 or expected.status >= 500:
            return expected, f"status {expected.status} of the function itself: {expected.body[:300]!r}"
        try:
            return expected, difference(expected, found, self.names)
        except (ValueError, LookupError, TypeError) as error:
            return expected, f"no answer of the protocol ({error!r}): {found.body[:300]!r}"

    def _twin(self, case: Case) -> Case:
        path = case.path or f"/v2/models/{case.model}/infer"
        twin = f"{case.model}{GPU}"
        return Case(**{**vars(case), "model": twin, "path": path.replace(f"/models/{case.model}", f"/models/{twin}", 1)})


def assembly(folder: Path, samples: Sequence[Sample]) -> Path:
    """A cloud assembly of the repository's own stacks, with heavy models on."""
    layers.build()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # jsii starts `node`
    app = App(outdir=str(folder), context=json.loads((PROJECT / "cdk.json").read_text("utf-8"))["context"])
    models = [config for sample in samples for config in (_config(sample, ""), _config(sample, GPU))]
    Deployment(app, settings=DeploymentSettings(name=NAME, plans=(_PLAN,), gpu=True), models=models)
    app.synth()
    return folder


def release(stack: LocalStack, sample: Sample, folder: Path) -> Pair:
    """Publishes and promotes a sample's versions to both targets: the last to `production`, the first to `before`."""
    store: Any = S3Store(stack.cloud.client("s3"), stack.bucket)
    registry = Registry(store)
    found: dict[str, list[str]] = {}
    for name in (sample.name, sample.name + GPU):
        published = [registry.publish(draft, files).version for draft, files in sample.versions(name, folder)]
        found[name] = published
        for alias, version in zip(_ALIASES, (published[0], published[-1]), strict=True):
            registry.promote(name, version, alias=alias, by="make test-triton", reason="compared")
    (name, versions), (twin, others) = found.items()
    return Pair(sample=sample, names={twin: name, **dict(zip(others, versions, strict=True))})


def _config(sample: Sample, suffix: str) -> ModelConfig:
    target = {"target": "gpu", "gpu": sample.gpu.model_dump()} if suffix else {}
    return ModelConfig.model_validate({"name": sample.name + suffix, "task": sample.draft.task, **target})
