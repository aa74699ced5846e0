"""Finds the bucket and the API of a deployment, so that nobody copies them from a console."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import orjson
from botocore.config import Config
from botocore.exceptions import ClientError

from modelserve.registry import Registry
from tools.modelctl.clients import Clients
from tools.modelctl.errors import DeploymentNotFound, UsageFailed
from tools.modelctl.paths import LOCAL_DEPLOYMENT
from tools.modelctl.s3 import S3Store
from tools.modelctl.signing import KmsSigner

__all__ = ["CONFIG", "Deployment", "find", "on_this_machine", "open_session", "parameters_of", "stack_name", "stack_outputs"]

CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3}, s3={"addressing_style": "path"})
"""Of every client: without a network a command says so within half a minute."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployment's store and API, and the session that may reach them."""

    name: str
    region: str
    bucket: str
    url: str | None
    """Of the API, with a slash at the end; None while its Serving stack is not deployed."""
    session: boto3.Session
    signing_key: str | None = None
    """ARN of the KMS key that signs manifests, where its Store stack has one."""
    client_table: str | None = None
    """The table of clients; None where its Store stack is older than that."""
    job_table: str | None = None
    """Where it is kept what became of jobs; None as above."""
    data_bucket: str | None = None
    """Where data sets are put to be run; None as above."""
    queues: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """URL of each queue of jobs and of its dead-letter queue, by priority; none while its Batch stack is not deployed."""
    data_set_machine: str | None = None
    """ARN of the state machine that runs data sets; None as above."""
    plans: Mapping[str, str] = field(default_factory=dict)
    """Ids of the usage plans by name; none while its Serving stack is not deployed."""
    gpu_instances: Mapping[str, Any] = field(default_factory=dict)
    """`type` and `most` of the endpoint that realtime heavy models share; none before Serving is deployed, or without such models."""
    key: str | None = None
    """Of the client that `make run` made."""
    endpoint_url: str | None = None
    """Of the stand-in for AWS on this machine."""
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Of the services that have one of their own on this machine."""
    stacks: str = "dev"
    """The deployment in its stacks' names; `make run` starts the stacks of `dev`."""

    @property
    def local(self) -> bool:
        return self.endpoint_url is not None

    @property
    def option(self) -> str:
        """What stands behind a command that is to act here; nothing on this machine, where commands act by themselves."""
        return "" if self.local else f" --deployment {self.name}"

    def client(self, service: str, config: Config = CONFIG) -> Any:
        """A boto3 client."""
        url = self.endpoints.get(service, self.endpoint_url)
        return self.session.client(service, endpoint_url=url, config=config)  # type: ignore[call-overload]

    def registry(self, progress: Callable[[int], None] | None = None) -> Registry:
        """The model store; `progress` is told the bytes of each piece sent or received."""
        signer = KmsSigner(self.client("kms"), self.signing_key) if self.signing_key else None
        return Registry(S3Store(self.client("s3"), self.bucket, progress=progress), signer=signer)

    def clients(self) -> Clients:
        """Those who may call the API. Raises `UsageFailed` before there is anything to let them into."""
        if self.client_table is None or not self.plans:
            command = "make run" if self.local else f"cdk deploy '{self.name}/*'"
            raise UsageFailed(f"{self.name} has no API that clients could be let into yet; run: {command}")
        return Clients(table=self.client_table, dynamodb=self.client("dynamodb"), apigateway=self.client("apigateway"), plans=self.plans)

    def caller(self) -> str:
        """Who moves an alias or lets a client in: the caller's ARN, or on this machine the user."""
        return getpass.getuser() if self.local else str(self.client("sts").get_caller_identity()["Arn"])


def find(name: str, *, profile: str | None = None, file: Path | None = None) -> Deployment:
    """`profile` is one of ~/.aws/config; `file` what `make run` writes. Raises `DeploymentNotFound`."""
    return _find_local(file or LOCAL_DEPLOYMENT) if name == "local" else _find_remote(name, open_session(profile))


def on_this_machine(endpoint_url: str, bucket: str, region: str, *, signing_key: str | None = None) -> Deployment:
    """On a stand-in for AWS, which takes any credentials."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=region)  # noqa: S106
    return Deployment(
        name="local", region=region, bucket=bucket, url=None, session=session, signing_key=signing_key, endpoint_url=endpoint_url
    )


def open_session(profile: str | None) -> boto3.Session:
    """The AWS command line reads AWS_REGION; boto3 only AWS_DEFAULT_REGION."""
    return boto3.Session(profile_name=profile, region_name=os.environ.get("AWS_REGION"))


def stack_name(deployment: str, stack: str) -> str:
    """As CDK names a stack of a stage."""
    return f"ServerlessOnnx-{deployment}-{stack}"


def stack_outputs(client: Any, name: str) -> dict[str, str] | None:
    """None when there is no such stack, or it has only been prepared."""
    try:
        stack = client.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", ())}


def parameters_of(stack: Mapping[str, Any]) -> dict[str, str]:
    """By key, of a stack as CloudFormation describes it."""
    return {each["ParameterKey"]: each.get("ParameterValue", "") for each in stack.get("Parameters", ())}


def _find_local(file: Path) -> Deployment:
    try:
        found = orjson.loads(file.read_bytes())
        os.kill(found["pid"], 0)
        region, bucket, url, endpoint_url = (found[key] for key in ("region", "bucket", "url", "endpoint_url"))
        known = {"key": found.get("key"), "endpoints": found.get("endpoints", {}), **_known(found.get("outputs", {}))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no file, no process of that id, or another file
        raise DeploymentNotFound("local", "nothing runs on this machine", "make run (in another terminal)") from None
    return replace(on_this_machine(endpoint_url, bucket, region), url=url.rstrip("/") + "/", **known)


def _find_remote(name: str, session: boto3.Session) -> Deployment:
    if not session.region_name:
        raise DeploymentNotFound(name, "no region is set", "export AWS_REGION=us-east-1")
    cloudformation = session.client("cloudformation", config=CONFIG)
    store = stack_outputs(cloudformation, stack_name(name, "Store"))
    if not store or "ModelBucket" not in store:
        raise DeploymentNotFound(
            name, f"stack {stack_name(name, 'Store')} is not deployed in {session.region_name}", f"cdk deploy '{name}/*'"
        )
    batch, serving = (stack_outputs(cloudformation, stack_name(name, stack)) or {} for stack in ("Batch", "Serving"))
    url = serving.get("ApiUrl")
    return Deployment(
        name=name,
        region=session.region_name,
        bucket=store["ModelBucket"],
        url=url.rstrip("/") + "/" if url else None,
        session=session,
        stacks=name,
        **_known(store | batch | serving),
    )


def _known(outputs: Mapping[str, str]) -> dict[str, Any]:
    """What the stacks' outputs say beside the bucket and the address."""
    return {
        "signing_key": outputs.get("SigningKey"),
        "client_table": outputs.get("ClientTable"),
        "job_table": outputs.get("JobTable"),
        "data_bucket": outputs.get("DataBucket"),
        "queues": {name: urls for name in ("high", "low") if (urls := _queue(outputs, name.title()))},
        "data_set_machine": outputs.get("DataSetMachine"),
        "plans": orjson.loads(outputs.get("Plans", "{}")),
        "gpu_instances": orjson.loads(outputs.get("GpuInstances", "{}")),
    }


def _queue(outputs: Mapping[str, str], name: str) -> tuple[str, str] | None:
    found = outputs.get(f"{name}QueueUrl"), outputs.get(f"{name}DeadQueueUrl")
    return (found[0], found[1]) if found[0] and found[1] else None
