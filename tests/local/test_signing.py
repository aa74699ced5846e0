"""A deployment whose manifests are signed: the template's key in KMS, the publisher and the functions, with somebody between them."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from models.config import ModelConfig
from modelserve.errors import RegistryError
from modelserve.manifest import alias_key, version_prefix
from stacks.deployment import Deployment
from stacks.settings import DeploymentSettings
from tests.local.releases import Served
from tests.unit.modelserve.graphs import scaled
from tools import layers
from tools.local.stack import LocalStack
from tools.modelctl.deployment import on_this_machine

pytestmark = [
    pytest.mark.xdist_group("signing"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]
NAME = "signed"
MODELS = ("honest", "swapped", "replaced", "unsigned")
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    layers.build()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # jsii starts `node`
    folder = tmp_path_factory.mktemp("cdk.out")
    app = App(outdir=str(folder), context=json.loads((_ROOT / "cdk.json").read_text("utf-8"))["context"])
    serving = {"alias_check_seconds": 0}
    models = [ModelConfig.model_validate({"name": name, "task": "regression", "serving": serving}) for name in MODELS]
    Deployment(app, settings=DeploymentSettings(name=NAME, signed_manifests=True), models=models)
    app.synth()
    with LocalStack(folder, NAME) as running:
        yield running


class Signed(Served):
    """A model of the deployment, published as modelctl does; its function is called as a service inside of AWS does."""

    def __init__(self, stack: LocalStack, name: str, folder: Path) -> None:
        super().__init__(stack, name, folder)
        self._lambda = stack.cloud.client("lambda")
        found = on_this_machine(stack.endpoint_url, stack.bucket, stack.region, signing_key=stack.outputs["SigningKey"])
        self.registry = found.registry()

    def answer(self) -> tuple[str, float]:
        """The version that answers, and its factor."""
        answered = self.invoke()
        return answered["model_version"], answered["outputs"][0]["data"][0]

    def refused(self) -> str:
        answered = self.invoke()
        assert answered["errorType"] == "ModelNotReady", answered
        return str(answered["errorMessage"])

    def overwrite(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    @property
    def unverified(self) -> int:
        """How often the deployment's alarm has heard of it."""
        return sum(line["UnverifiedModel"][0] for line in self.log if "UnverifiedModel" in line and self._for_the_alarm(line))

    def _for_the_alarm(self, line: dict[str, Any]) -> bool:
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        return ["service"] in directive["Dimensions"] and line["service"] == f"serverless-onnx-{NAME}"

    def invoke(self) -> Any:
        """An inference response, or Lambda's document of an error."""
        document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}
        return json.loads(self._lambda.invoke(FunctionName=self.function, Payload=json.dumps(document))["Payload"].read())


@pytest.fixture
def model(stack: LocalStack, tmp_path: Path) -> Callable[[str], Signed]:
    return lambda name: Signed(stack, name, tmp_path)


def test_what_is_signed_answers_and_is_swapped(model):
    honest = model("honest")
    first = honest.release_scaled(2)
    assert honest.answer() == (first, 2)
    second = honest.release_scaled(3)
    assert honest.answer() == (second, 3)
    assert honest.unverified == 0
    assert honest.processes == 1


def test_whoever_may_write_the_bucket_but_not_sign_changes_no_answer_of_a_running_function(stack, model, tmp_path):
    """Bytes, manifest and alias, all consistent with each other: a second publisher on the same bucket, without the key."""
    swapped = model("swapped")
    first = swapped.release_scaled(2)
    assert swapped.answer() == (first, 2)
    Served(stack, "swapped", tmp_path).release_scaled(666)

    assert swapped.answer() == (first, 2)
    assert swapped.unverified == 1
    assert swapped.processes == 1


def test_replaced_bytes_and_an_alias_that_fits_them_answer_no_cold_start(model):
    replaced = model("replaced")
    version = replaced.release_scaled(2)
    prefix, evil = version_prefix("replaced", version), scaled(666)
    replaced.overwrite(f"{prefix}evil.onnx", evil)
    stored = replaced.s3.head_object(Bucket=replaced.bucket, Key=f"{prefix}evil.onnx")
    alias = json.loads(replaced.s3.get_object(Bucket=replaced.bucket, Key=alias_key("replaced", "production"))["Body"].read())
    sha256 = hashlib.sha256(evil).hexdigest()
    alias["model"] = {"path": f"{prefix}evil.onnx", "size": len(evil), "sha256": sha256, "version_id": stored["VersionId"]}
    replaced.write_alias(json.dumps(alias).encode())

    assert "is not what was published" in replaced.refused()
    assert replaced.unverified >= 1


def test_a_model_from_before_signing_answers_once_it_was_published_and_promoted_again(stack, model, tmp_path):
    unsigned = model("unsigned")
    version = Served(stack, "unsigned", tmp_path).release_scaled(2)
    assert "found no signature" in unsigned.refused()
    with pytest.raises(RegistryError, match="`modelctl publish unsigned`"):
        unsigned.promote(version)

    assert unsigned.release_scaled(2) == version
    for _ in range(300):  # which the function looks for at most once a second
        answered = unsigned.invoke()
        if "errorType" not in answered:
            break
        time.sleep(0.1)
    assert answered["model_version"] == version
