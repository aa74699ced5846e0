"""Small things that tests of modelctl need, with only what a test says being other than usual."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import boto3

from modelserve.errors import ObjectNotFound, PreconditionFailed, UnverifiedModel
from modelserve.manifest import MODEL_FILE, Manifest, Object, TensorSpec
from modelserve.registry import Registry
from tools.modelctl.deployment import stack_name


class MemoryStore:
    """An object store without versions, quick enough for hundreds of examples; moto's is the one to trust."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get(self, key: str, *, version_id: str | None = None, unless_etag: str | None = None) -> Object | None:
        if key not in self.objects:
            raise ObjectNotFound(key)
        etag = self._etag(key)
        return None if etag == unless_etag else Object(self.objects[key], str(etag), version_id)

    def download(self, key: str, *, version_id: str | None, size: int, sha256: str, to: str) -> None:
        Path(to).write_bytes(self.objects[key])

    def list(self, prefix: str) -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))

    def put(self, key: str, body: bytes | Path, *, if_etag: str | None = None) -> str | None:
        if self._etag(key) != if_etag:
            raise PreconditionFailed(key)
        self.objects[key] = body.read_bytes() if isinstance(body, Path) else body
        return None

    def verify(self, key: str, *, size: int, sha256: str) -> str | None:
        if key not in self.objects:
            raise ObjectNotFound(key)
        if hashlib.sha256(self.objects[key]).hexdigest() != sha256:
            raise UnverifiedModel(key, "other bytes", sha256)
        return None

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.objects.pop(key, None)

    def _etag(self, key: str) -> str | None:
        return hashlib.md5(self.objects[key]).hexdigest() if key in self.objects else None


def draft(name: str = "fruit", *, labels: tuple[str, ...] = ()) -> Manifest:
    """A manifest before it is published."""
    return Manifest(
        name=name,
        version="",
        created="",
        task="classification",
        inputs=(TensorSpec(name="input", datatype="FP32", shape=(-1, 2)),),
        outputs=(TensorSpec(name="label", datatype="INT64", shape=(-1,)),),
        files=(),
        opset={"": 18},
        ir=8,
        labels=labels,
    )


def model_file(folder: Path, content: bytes) -> Path:
    file = folder / f"{content.hex()}.onnx"
    file.write_bytes(content)
    return file


def published(registry: Registry, folder: Path, content: bytes = b"model", *, name: str = "fruit") -> str:
    """The version of a model whose bytes are `content`."""
    return registry.publish(draft(name), {MODEL_FILE: model_file(folder, content)}).version


TOML = """
task = "classification"
labels = ["low", "high"]
gates = ["accuracy >= 0.9"]
"""
TRAIN = """
import numpy as np
from sklearn.linear_model import LogisticRegression

def load():
    X = np.linspace(-1, 1, 80).reshape(-1, 1)
    return X, (X.ravel() > 0).astype(int)

def train(X, y):
    return LogisticRegression(C=100).fit(X, y)
"""


def model_folder(root: Path, name: str = "step", *, toml: str = TOML, train: str = TRAIN) -> Path:
    """A folder of models/ that trains in milliseconds."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.toml").write_text(toml, "utf-8")
    (folder / "train.py").write_text(train, "utf-8")
    return folder


def deploy(stack: str, outputs: dict[str, str]) -> None:
    """A stack of the deployment `dev` with these outputs, in moto."""
    template: dict[str, Any] = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}
    template["Outputs"] = {key: {"Value": value} for key, value in outputs.items()}
    client: Any = boto3.client("cloudformation")
    client.create_stack(StackName=stack_name("dev", stack), TemplateBody=json.dumps(template))
