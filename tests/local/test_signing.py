"""A deployment whose manifests are signed: the template's key in KMS, the publisher and the functions, with somebody between them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelserve.errors import RegistryError
from modelserve.manifest import alias_key, version_prefix
from tests.local.releases import Served, assembly, eventually
from tests.unit.modelserve.graphs import scaled
from tools.local.stack import LocalStack
from tools.modelctl.deployment import on_this_machine

pytestmark = [
    pytest.mark.xdist_group("signing"),
    pytest.mark.skipif(sys.platform != "linux", reason="the emulator is a Linux program"),
]
NAME = "signed"
MODELS = ("honest", "swapped", "replaced", "unsigned")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    with LocalStack(assembly(tmp_path_factory.mktemp("cdk.out"), MODELS, name=NAME, signed_manifests=True), NAME) as running:
        yield running


class Signed(Served):
    """A model of the deployment, published as modelctl does; its function is called as a service inside of AWS does."""

    def __init__(self, stack: LocalStack, name: str, folder: Path) -> None:
        super().__init__(stack, name, folder)
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
    # The function looks for it at most once a second.
    assert eventually(unsigned.invoke, lambda answer: "errorType" not in answer)["model_version"] == version
