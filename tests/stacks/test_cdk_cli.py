"""The real CDK CLI against moto, from bootstrap to what is left after destroying.

Moto builds no image and skips some resource types: this shows that the command line, the assets and the wiring between the stacks hold.
`--method direct`, because moto applies a change set without regard to DependsOn.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest

from tests.stacks.factories import ROOT

pytestmark = [pytest.mark.xdist_group("cdk-cli"), pytest.mark.slow]

GPU = "ServerlessOnnx-dev-Gpu"
ENVIRONMENT = "aws://123456789012/us-east-1"
# What the CLI needs of a container engine, which isn't here: it looks for the image, builds, tags and pushes it.
DOCKER = """#!/bin/sh
echo "$@" >> "{log}"
[ "$1" = login ] && cat > /dev/null
[ "$1" != inspect ]
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A moto server of its own: its address, by name because it reads no bucket out of an IP address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, server)
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the moto server ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the moto server did not listen within a minute")


@dataclass
class Life:
    """What the commands left behind, in the order in which they ran."""

    outputs: dict[str, dict[str, str]]
    docker: list[list[str]]
    environments: list[dict[str, str]]
    images: set[str]
    diff: str
    stacks_without_gpu: set[str]
    endpoints: list[str]
    gpu_outputs: dict[str, str]
    turned_off: str
    endpoints_after: list[str]
    destroyed: str
    stacks: set[str]
    buckets: set[str]


@pytest.fixture(scope="module")
def life(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Life:
    folder = tmp_path_factory.mktemp("cdk-cli")
    cli = Cli(folder, endpoint)
    cli.run("cdk", "bootstrap", ENVIRONMENT, cwd=folder)
    outputs, _ = cli.deploy("dev/*")
    stacks_without_gpu = cli.stacks()
    diff = cli.run("cdk", "diff", "dev/*", "--method", "template", "--app", cli.environment["CDK_OUTPUT"])
    docker = [line.split() for line in (folder / "docker.log").read_text("utf-8").splitlines()]
    functions = [cli.client("lambda").get_function(FunctionName=each["FunctionName"]) for each in cli.functions()]
    gpu_outputs = cli.deploy("dev/Gpu", "--exclusively", "-c", "gpu=on")[0][GPU]
    endpoints = cli.endpoints()
    _, turned_off = cli.deploy("dev/Gpu", "--exclusively", "-c", "gpu=off")
    endpoints_after = cli.endpoints()
    # From here on the assembly is the one that was deployed.
    cli.environment["CDK_APP"] = cli.environment["CDK_OUTPUT"]
    cli.client("s3").put_object(Bucket=outputs["ServerlessOnnx-dev-Store"]["ModelBucket"], Key="models/fruit/x", Body=bytes(3_000_000))
    cli.detach_policies()
    destroyed = cli.run(sys.executable, "-m", "tools.destroy", "dev", "--force")
    return Life(
        outputs=outputs,
        docker=docker,
        environments=[function["Configuration"]["Environment"]["Variables"] for function in functions],
        images={function["Code"]["ImageUri"] for function in functions if "ImageUri" in function["Code"]},
        diff=diff,
        stacks_without_gpu=stacks_without_gpu,
        endpoints=endpoints,
        gpu_outputs=gpu_outputs,
        turned_off=turned_off,
        endpoints_after=endpoints_after,
        destroyed=destroyed,
        stacks=cli.stacks(),
        buckets={bucket["Name"] for bucket in cli.client("s3").list_buckets()["Buckets"]},
    )


class Cli:
    """Runs commands as somebody with an account and a container engine would."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        docker = folder / "docker"
        docker.write_text(DOCKER.format(log=folder / "docker.log"))
        docker.chmod(0o755)
        self._endpoint = endpoint
        self._folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": str(folder / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
            "AWS_ENDPOINT_URL": endpoint,
            "CDK_DOCKER": str(docker),
            "CDK_OUTPUT": str(folder / "cdk.out"),
            "CDK_NOTICES": "false",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }

    def run(self, *command: str, cwd: Path = ROOT) -> str:
        done = subprocess.run(command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def detach_policies(self) -> None:
        """Moto's CloudFormation deletes no managed policy, and so detaches none, as AWS's does when a stack goes that has one."""
        iam = self.client("iam")
        for policy in iam.list_policies(Scope="Local", OnlyAttached=True)["Policies"]:
            for role in iam.list_entities_for_policy(PolicyArn=policy["Arn"])["PolicyRoles"]:
                iam.detach_role_policy(RoleName=role["RoleName"], PolicyArn=policy["Arn"])

    def deploy(self, *arguments: str) -> tuple[dict[str, dict[str, str]], str]:
        """The outputs of the stacks, by stack, and what the command said."""
        file = self._folder / "outputs.json"
        said = self.run("cdk", "deploy", *arguments, "--method", "direct", "--require-approval", "never", "--outputs-file", str(file))
        return json.loads(file.read_text("utf-8")), said

    def stacks(self) -> set[str]:
        return {stack["StackName"] for stack in self.client("cloudformation").describe_stacks()["Stacks"]}

    def endpoints(self) -> list[str]:
        """Where the models of each endpoint are; moto gives endpoints other names than the template."""
        client = self.client("sagemaker")
        configs = [client.describe_endpoint(EndpointName=each["EndpointName"]) for each in client.list_endpoints()["Endpoints"]]
        variants = [client.describe_endpoint_config(EndpointConfigName=each["EndpointConfigName"]) for each in configs]
        models = [client.describe_model(ModelName=variant["ModelName"]) for each in variants for variant in each["ProductionVariants"]]
        return [model["PrimaryContainer"]["ModelDataUrl"] for model in models]

    def functions(self) -> list[dict[str, Any]]:
        return list(self.client("lambda").list_functions()["Functions"])

    def client(self, service: Any) -> Any:
        session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="us-east-1")
        return session.client(service, endpoint_url=self._endpoint)


def test_a_deploy_ends_with_url_bucket_and_next_command(life):
    store, serving = life.outputs["ServerlessOnnx-dev-Store"], life.outputs["ServerlessOnnx-dev-Serving"]
    assert store["ModelBucket"]
    assert serving["ApiUrl"].endswith(".execute-api.us-east-1.amazonaws.com/dev/")
    assert serving["NextCommand"] == "modelctl doctor --deployment dev"
    assert serving["Curl"].startswith('curl -H "Authorization: Bearer $MODEL_KEY" https://')


def test_every_function_is_told_the_bucket_that_the_store_made(life):
    told = {variables["MODEL_BUCKET"] for variables in life.environments if "MODEL_BUCKET" in variables}
    assert told == {life.outputs["ServerlessOnnx-dev-Store"]["ModelBucket"]}


def test_the_authorizer_is_told_the_table_that_the_store_made(life):
    told = [variables["CLIENT_TABLE"] for variables in life.environments if "CLIENT_TABLE" in variables]
    assert told == [life.outputs["ServerlessOnnx-dev-Store"]["ClientTable"]]


def test_every_folder_of_models_has_a_function(life):
    named = {variables["MODEL_NAME"] for variables in life.environments if "MODEL_NAME" in variables}
    assert named == {file.parent.name for file in (ROOT / "models").glob("*/model.toml")}


def test_two_images_are_built_for_lambdas_platform_and_pushed(life):
    """One that answers, and one for what takes longer."""
    builds = [call for call in life.docker if call[0] == "build"]
    assert {build[build.index("--platform") + 1] for build in builds} == {"linux/amd64"}
    assert {build[build.index("--file") + 1] for build in builds} == {"functions/predict/Dockerfile", "functions/batch/Dockerfile"}
    assert life.images == {call[1] for call in life.docker if call[0] == "push"}
    assert len(life.images) == 2


def test_who_takes_jobs_is_told_the_queues_that_they_are_taken_from(life):
    """As addresses that are known before there is a queue; moto has its own host."""
    made = [urlsplit(life.outputs["ServerlessOnnx-dev-Batch"][name]).path for name in ("HighQueueUrl", "LowQueueUrl")]
    told = {
        tuple(urlsplit(variables[name]).path for name in ("HIGH_QUEUE_URL", "LOW_QUEUE_URL"))
        for variables in life.environments
        if variables.get("HIGH_QUEUE_URL")
    }
    assert told == {tuple(made)}


def test_a_stack_without_endpoints_is_not_made(life):
    assert life.stacks_without_gpu == {"CDKToolkit", *(f"ServerlessOnnx-dev-{each}" for each in ("Store", "Batch", "Serving", "Examples"))}


def test_one_switch_makes_the_endpoint_of_the_models_in_the_store(life):
    bucket = life.outputs["ServerlessOnnx-dev-Store"]["ModelBucket"]
    assert life.endpoints == [f"s3://{bucket}/models/"]
    assert life.gpu_outputs["GpuEndpoint"] == "serverless-onnx-dev"


def test_a_gateway_function_is_told_the_endpoint_before_there_is_one(life):
    told = [variables["ENDPOINT_NAME"] for variables in life.environments if "ENDPOINT_NAME" in variables]
    assert set(told) == {life.gpu_outputs["GpuEndpoint"]}


def test_the_same_switch_deletes_it(life):
    assert "stack has no resources, deleting existing stack" in life.turned_off
    assert life.endpoints_after == []


def test_what_was_just_deployed_has_no_differences(life):
    assert "Number of stacks with differences: 0" in life.diff


def test_destroying_leaves_the_models(life):
    assert life.stacks == {"CDKToolkit"}
    assert life.outputs["ServerlessOnnx-dev-Store"]["ModelBucket"] in life.buckets


def test_destroying_says_what_is_left_and_what_it_costs(life):
    bucket = life.outputs["ServerlessOnnx-dev-Store"]["ModelBucket"]
    assert f"AWS::S3::Bucket             {bucket}, 3.0 MB, $0.00 a month" in life.destroyed
    assert "That costs about $1.00 a month." in life.destroyed
