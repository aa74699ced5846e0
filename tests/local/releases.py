"""A deployment of its own for tests that break models: each answers `x` times the factor of its version."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aws_cdk import App
from aws_cdk import aws_lambda as lambda_

from models.config import ModelConfig
from modelserve.endpoints import Response
from modelserve.manifest import Alias, alias_key
from modelserve.record import replace
from modelserve.registry import Registry
from stacks.deployment import Deployment
from stacks.settings import DeploymentSettings, Plan
from tests.hostile.targets import TARGETS
from tests.unit.modelserve.graphs import scaled
from tests.unit.modelserve.stores import Publisher
from tools import layers
from tools.local.stack import LocalStack
from tools.modelctl.s3 import S3Store

NAME = "release"
UNREACHABLE = "unreachable"
"""Its function is told of a store where nothing listens."""
FLOWING = "flowing"
"""Its alias is looked at every 0.3 s; the others' with each request."""
BREAKABLE = ("altered", "truncated", "deleted", "relabelled", "foreign", "garbled")
ATTACKED = tuple(target.name for target in TARGETS)
HEAVY, QUEUED = "heavy", "queued"
"""What endpoints run: at once, its alias looked at every 0.3 s; and as jobs."""
FORCED = ("endless", "greedy", "cramped")
"""Models that a lint refuses, promoted all the same; a run of theirs may take six seconds."""
MODELS = ("latecomer", "overwritten", "private", "step", "sturdy", FLOWING, UNREACHABLE, HEAVY, QUEUED, *BREAKABLE, *ATTACKED, *FORCED)
_GPU: dict[str, dict[str, Any]] = {
    HEAVY: {"max_batch": 4},
    QUEUED: {"mode": "async"},
    **{target.name: {} for target in TARGETS if target.gpu},
}
_ROOT = Path(__file__).parents[2]
_PLAN = Plan(name="unhindered", requests_per_second=10_000, burst=10_000)
"""The tests send as fast as they can."""
_PATIENCE = 30.0
_T = TypeVar("_T")


def assembly(folder: Path, models: Sequence[str] = MODELS, **settings: Any) -> Path:
    """A cloud assembly of the repository's own stacks with models of these names; `settings` are of the deployment."""
    layers.build()
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # jsii starts `node`
    app = App(outdir=str(folder), context=json.loads((_ROOT / "cdk.json").read_text("utf-8"))["context"])
    chosen = DeploymentSettings(**{"name": NAME, "plans": (_PLAN,), "gpu": True, **settings})
    deployment = Deployment(app, settings=chosen, models=[config(name) for name in models])
    if UNREACHABLE in models:
        cut_off = deployment.serving.node.find_child(UNREACHABLE).node.find_child("Function")
        assert isinstance(cut_off, lambda_.Function)
        cut_off.add_environment("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    app.synth()
    return folder


def config(name: str) -> ModelConfig:
    """What the model.toml of one of the names above would say."""
    serving = {"alias_check_seconds": 0.3 if name in {FLOWING, HEAVY} else 0}
    function = {"timeout": 8} if name in FORCED else {}
    gpu = {"target": "gpu", "gpu": _GPU[name]} if name in _GPU else {}
    return ModelConfig.model_validate({"name": name, "task": "regression", "serving": serving, "function": function, **gpu})


class Served(Publisher):
    """A model of the deployment: its versions, its bucket, its function."""

    def __init__(self, stack: LocalStack, name: str, folder: Path) -> None:
        self.s3 = stack.cloud.client("s3")
        self.bucket = stack.bucket
        self.cloud = stack.cloud
        self._stack = stack
        store: Any = S3Store(self.s3, stack.bucket)
        super().__init__(store, folder, name=name)
        self.registry = Registry(store)  # by the true time: another test may have moved this model before

    def publish_scaled(self, factor: float) -> str:
        """The version that multiplies by `factor`."""
        return self.publish(scaled(factor))

    def release_scaled(self, factor: float) -> str:
        return self.promote(self.publish_scaled(factor))

    def alias_of(self, version: str) -> Alias:
        """What promoting `version` would write."""
        return replace(self.registry.promote(self.name, version, alias="aside", by="ann", reason=""), alias="production")

    def write_alias(self, document: bytes) -> None:
        """Straight into the bucket, past the registry."""
        self.s3.put_object(Bucket=self.bucket, Key=alias_key(self.name, "production"), Body=document)

    def predict(self, **headers: str) -> Response:
        return call(self._stack, "POST", f"/v2/models/{self.name}/infer", request(), headers)

    def invoke(self, payload: bytes | None = None) -> dict[str, Any]:
        """As a service inside AWS calls the function: an inference response, or Lambda's document of an error."""
        answer = self.cloud.client("lambda").invoke(FunctionName=self.function, Payload=payload or request())
        found: dict[str, Any] = json.loads(answer["Payload"].read())
        assert answer.get("FunctionError") == ("Unhandled" if "errorType" in found else None)
        return found

    @cached_property
    def function(self) -> str:
        """The name that CloudFormation gave the function."""
        functions = self._stack.cloud.client("lambda").list_functions()["Functions"]
        (name,) = [
            each["FunctionName"]
            for each in functions
            if each["FunctionName"] in self._stack.environments and each["Environment"]["Variables"].get("MODEL_NAME") == self.name
        ]
        return str(name)

    @property
    def log(self) -> list[dict[str, Any]]:
        """Log lines and metrics of the function so far."""
        lines = self._stack.environments[self.function].log.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def processes(self) -> int:
        """How many were started for it so far."""
        return sum(line.get("cold_start") is True for line in self.log)

    @property
    def files(self) -> set[Path]:
        """What lies in the /tmp folders of the deployment's functions."""
        scratch = self._stack.environments[self.function].log.parent / "tmp"
        return {file for file in scratch.rglob("*") if file.is_file()}


def request(rows: int = 1) -> bytes:
    tensor = {"name": "x", "datatype": "FP32", "shape": [rows, 3], "data": [1, 2, 3] * rows}
    return json.dumps({"inputs": [tensor]}).encode()


def result(response: Response) -> tuple[str, float]:
    """The version that answered, and its factor."""
    assert response.status == 200, response.body
    answer = json.loads(response.body)
    (output,) = answer["outputs"]
    factor = output["data"][0]
    assert output["data"] == [factor, 2 * factor, 3 * factor]
    return answer["model_version"], factor


def send(url: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Response:
    """Over a socket, since a client library would refuse to send some of what a test sends."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path}{path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    with socket.create_connection((parts.hostname, parts.port), timeout=_PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        with HTTPResponse(connection, method=method) as answer:
            answer.begin()
            names = {name.title(): value for name, value in answer.getheaders()}
            return Response(answer.status, names, answer.read())


def call(stack: LocalStack, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Response:
    """The same with a client's key."""
    return send(stack.url, method, path, body, {"Authorization": f"Bearer {stack.key}", **(headers or {})})


def eventually(ask: Callable[[], _T], expected: Callable[[_T], bool]) -> _T:
    """The first answer that is as expected; fails after half a minute."""
    deadline = time.monotonic() + _PATIENCE
    while not expected(found := ask()):
        assert time.monotonic() < deadline, getattr(found, "body", found)
        time.sleep(0.1)
    return found
