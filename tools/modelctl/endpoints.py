"""Makes a heavy model's endpoint ready for a version before an alias names it, so that no client waits for a model to load."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError  # noqa: A004  # botocore's own

from models.config import ModelConfig
from modelserve.manifest import ARCHIVE_FILE, Manifest
from modelserve.protocol import parse_document
from modelserve.record import replace
from modelserve.registry import Registry
from modelserve.triton import encode_request
from tools.modelctl import paths
from tools.modelctl.deployment import Deployment, parameters_of, stack_name, stack_outputs
from tools.modelctl.errors import EndpointFailed, UsageFailed
from tools.modelctl.limits import GPU_SECONDS

__all__ = ["ROLLBACK_WAIT", "WAIT", "AsyncEndpoint", "Endpoints", "Progress", "prepare", "wake"]

WAIT = 600
"""Seconds for an endpoint to load a version: an archive may be a gigabyte, and TensorRT takes minutes."""
ROLLBACK_WAIT = 60
"""Seconds; who goes back is in a hurry, and what answered before is mostly loaded."""
_INVOKE = Config(connect_timeout=5, read_timeout=GPU_SECONDS + 5, retries={"total_max_attempts": 1})
_PAUSE = 5.0  # seconds between two looks
_LOADING = {0, 408, 429, 502, 503, 504, 507}
"""What a container answers while it loads a model, or has no room until it has dropped another; 0 is none within SageMaker's time."""
_BUSY = {"ModelNotReadyException", "ServiceUnavailable", "InternalDependencyException", "InternalFailure", "ThrottlingException"}

Progress = Callable[[str], None]
"""Is told each step as it begins."""


@dataclass(frozen=True)
class AsyncEndpoint:
    """The endpoint of one async model, and the parameter of the Gpu stack that says which version it runs."""

    endpoint: str
    parameter: str


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """What a deployment's Gpu stack runs."""

    stack: str
    deployed: bool
    realtime: str | None = None
    """The endpoint of all realtime models."""
    asynchronous: Mapping[str, AsyncEndpoint]
    """By model."""

    @classmethod
    def of(cls, deployment: Deployment) -> Endpoints:
        """As the stack's outputs say; nothing where it isn't deployed, or has nothing to run."""
        stack = stack_name(deployment.stacks, "Gpu")
        outputs = stack_outputs(deployment.client("cloudformation"), stack)
        found = orjson.loads((outputs or {}).get("AsyncEndpoints", "{}"))
        asynchronous = {name: AsyncEndpoint(**each) for name, each in found.items()}
        realtime = (outputs or {}).get("GpuEndpoint")
        return cls(stack=stack, deployed=outputs is not None, realtime=realtime, asynchronous=asynchronous)

    def mode(self, manifest: Manifest) -> Literal["realtime", "async"] | None:
        """What runs the model, by models/<name>/model.toml where there is one; None where that is its function."""
        folder = paths.MODELS / manifest.name
        if (folder / "model.toml").exists():
            config = ModelConfig.load(folder)
            return config.gpu.mode if config.target == "gpu" else None
        if manifest.name in self.asynchronous:
            return "async"
        return None if manifest.max_batch is None else "realtime"


def prepare(
    deployment: Deployment,
    manifest: Manifest,
    *,
    alias: str,
    progress: Progress = lambda _: None,
    note: Progress = lambda _: None,
    force: bool = False,
    wait: float = WAIT,
    pause: float = _PAUSE,
) -> bool:
    """Makes what runs the model ready for a version that `alias` is about to name; nothing where that is its function.

    A realtime endpoint has loaded it then, and answered its example; `force` only notes that it doesn't, which the result says. An async
    one runs it, if `alias` is `production`. Where there is no endpoint, `note` is told. Raises `EndpointFailed`, after which an async
    endpoint runs what it ran before; `UsageFailed` for a version without an archive.
    """
    endpoints = Endpoints.of(deployment)
    mode = endpoints.mode(manifest)
    if mode is None or (mode == "async" and alias != "production"):
        return False
    name = manifest.name
    if manifest.max_batch is None or (mode == "async" and manifest.max_batch):
        raise UsageFailed(
            f'{manifest.version} of {name} has no {ARCHIVE_FILE} for mode = "{mode}", without which no endpoint runs it; with that in '
            f"model.toml, `modelctl publish {name}{deployment.option}` makes a version that has one"
        )
    if mode == "realtime" and endpoints.realtime:
        try:
            _warm(deployment, endpoints.realtime, manifest, progress, note, wait=wait, pause=pause)
        except EndpointFailed as error:
            if not force:
                raise
            note(error.reason)
            return True
    elif mode == "async" and name in endpoints.asynchronous:
        _Stack(deployment, endpoints.stack, pause).update(endpoints.asynchronous[name].parameter, manifest, progress)
    else:
        note(f"{name} has no endpoint yet, and its route answers 503 until there is one; run: {wake(deployment)}")
    return False


def wake(deployment: Deployment) -> str:
    """The command that makes a deployment's endpoints."""
    return "make run" if deployment.local else f"cdk deploy '{deployment.name}/*' -c gpu=on"


def _warm(
    deployment: Deployment, endpoint: str, manifest: Manifest, progress: Progress, note: Progress, *, wait: float, pause: float
) -> None:
    request = _request(deployment.registry(), manifest)
    if request is None:
        note(f"{manifest.version} has no {paths.EXAMPLE_FILE} to try it with: its first request waits until the endpoint has loaded it")
        return
    progress(f"waiting for endpoint {endpoint} to answer with it, {wait:,.0f} s at most")
    client = deployment.client("sagemaker-runtime", _INVOKE)
    content_type, body = request
    target = f"{manifest.name}/versions/{manifest.version}/{ARCHIVE_FILE}"
    asked = {"EndpointName": endpoint, "TargetModel": target, "ContentType": content_type, "Body": body}
    ends = time.monotonic() + wait
    while refusal := _refusal(client, asked):
        reason, waits = refusal
        if not waits:
            advice = (
                f'Correct the model and publish it again; `modelctl promote {manifest.name} {manifest.version} --force "REASON"` goes on'
            )
            raise EndpointFailed(manifest.name, manifest.version, f"{endpoint} answered {reason}", advice)
        if time.monotonic() + pause > ends:
            advice = "Run it again to go on waiting, longer with --wait SECONDS; CloudWatch has the endpoint's log"
            raise EndpointFailed(manifest.name, manifest.version, f"{endpoint} did not answer within {wait:,.0f} s ({reason})", advice)
        time.sleep(pause)


def _refusal(client: Any, asked: Mapping[str, Any]) -> tuple[str, bool] | None:
    """Why the endpoint does not answer, and whether waiting may cure it; None when it has answered."""
    try:
        client.invoke_endpoint(**asked)
    except (ConnectionError, HTTPClientError) as error:
        return str(error), True
    except ClientError as error:
        answer: Mapping[str, Any] = error.response
        code, status = answer["Error"].get("Code", ""), answer["ResponseMetadata"].get("HTTPStatusCode", 0)
        reason = f"{code}: {answer.get('OriginalMessage') or answer['Error'].get('Message', '')}"[:1000]
        if code == "ModelError":
            return reason, answer.get("OriginalStatusCode", 0) in _LOADING
        return reason, code in _BUSY or status == 429 or status >= 500
    return None


def _request(registry: Registry, manifest: Manifest) -> tuple[str, bytes] | None:
    """The version's example as Triton takes it; None where it has none."""
    files = tuple(file for file in manifest.files if file.path == paths.EXAMPLE_FILE)
    if not files:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        registry.fetch(replace(manifest, files=files), Path(scratch))
        found = parse_document(orjson.loads((Path(scratch) / paths.EXAMPLE_FILE).read_bytes()))
    return encode_request(found.inputs, [output.name for output in manifest.outputs], batched=bool(manifest.max_batch))


class _Stack:
    """CloudFormation's Gpu stack, whose parameters say which version each async endpoint runs."""

    def __init__(self, deployment: Deployment, name: str, pause: float) -> None:
        self._client = deployment.client("cloudformation")
        self._name = name
        self._pause = pause

    def update(self, parameter: str, manifest: Manifest, progress: Progress) -> None:
        """Blue/green, with CloudFormation's own time limit; what is under way already ends first. Raises `EndpointFailed`."""
        progress(f"updating its endpoint to it (stack {self._name})")
        stack = self._settled()
        parameters = parameters_of(stack)
        if parameters.get(parameter) == manifest.version and stack["StackStatus"].endswith("_COMPLETE"):
            return
        others = [{"ParameterKey": key, "UsePreviousValue": True} for key in parameters if key != parameter]
        try:
            self._client.update_stack(
                StackName=self._name,
                UsePreviousTemplate=True,
                Parameters=[*others, {"ParameterKey": parameter, "ParameterValue": manifest.version}],
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
            return
        stack = self._settled()
        status, runs = stack["StackStatus"], parameters_of(stack).get(parameter)
        if runs == manifest.version and status.endswith("_COMPLETE"):  # of a later update too, that somebody else made
            return
        if status == "UPDATE_COMPLETE":
            advice = f"Look at `modelctl history {manifest.name}`, then try again"
            raise EndpointFailed(manifest.name, manifest.version, f"somebody else has updated it to {runs} at the same time", advice)
        advice = "Its endpoint and the alias stay as they were; CloudWatch has the log of the container that was to replace it"
        raise EndpointFailed(manifest.name, manifest.version, f"CloudFormation says {status}: {self._reason()}", advice)

    def _settled(self) -> Mapping[str, Any]:
        """The stack, once nothing of it is under way."""
        while True:
            stack: Mapping[str, Any] = self._client.describe_stacks(StackName=self._name)["Stacks"][0]
            if not stack["StackStatus"].endswith("_IN_PROGRESS"):
                return stack
            time.sleep(self._pause)

    def _reason(self) -> str:
        """The first failure of the last update: those after it follow from it."""
        reason = "no reason given"
        for event in self._client.describe_stack_events(StackName=self._name)["StackEvents"]:  # the newest first
            if event["ResourceStatus"] == "UPDATE_IN_PROGRESS" and event["PhysicalResourceId"] == event["StackId"]:
                break
            if event["ResourceStatus"].endswith("_FAILED"):
                reason = f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
        return reason
