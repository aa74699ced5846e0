"""AWS's services on this machine: a moto server in this process, and the stacks created in it through CloudFormation."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer

from tools.local.assembly import REGION, Assembly, FileAsset, Stack
from tools.local.errors import LocalError
from tools.local.functions import Function
from tools.local.moto_events import deliver_events, notify
from tools.local.moto_gaps import defaults, keep_versions, quieten, take_any_body, without_gaps
from tools.local.moto_kms import sign_as_kms
from tools.local.moto_queues import be_fair
from tools.local.moto_sagemaker import update_as_cloudformation
from tools.local.moto_threads import one_at_a_time
from tools.local.sources import record_sources

__all__ = ["CREDENTIALS", "Cloud"]

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_SESSION_TOKEN": "local"}
_CONFIG = Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 2})


class Cloud:
    """A moto server and what is deployed to it; a context manager.

    Moto's state belongs to the process, not to the server: it is emptied when the last Cloud of a process ends.
    """

    _lock = threading.Lock()
    _running = 0

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.outputs: dict[str, str] = {}
        self.ids: dict[tuple[str, str], str] = {}
        """What CloudFormation called a resource, by stack and logical id."""
        self.endpoint_url = ""
        self._executes = False

    def __enter__(self) -> Self:
        quieten()
        take_any_body()
        sign_as_kms()
        update_as_cloudformation()
        one_at_a_time()
        be_fair()
        deliver_events()
        record_sources()
        with Cloud._lock:
            Cloud._running += 1
        self._server.start()
        self.endpoint_url = f"http://127.0.0.1:{self._server.get_host_and_port()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._executes:
            from tools.local.moto_states import stop_executions  # noqa: PLC0415 - as below

            stop_executions(set(self.ids.values()), self.endpoint_url)
        self._server.stop()
        with Cloud._lock:
            Cloud._running -= 1
            if not Cloud._running:
                moto_api_backend.reset()

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud."""
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=REGION,
            endpoint_url=self.endpoint_url,
            aws_access_key_id="local",
            aws_secret_access_key="local",  # noqa: S106 - moto checks none
            config=_CONFIG,
        )

    def upload(self, assembly: Assembly) -> None:
        """Puts every file asset where the templates expect it, as `cdk deploy` does."""
        s3 = self.client("s3")
        for bucket in {asset.bucket for asset in assembly.files.values()}:
            s3.create_bucket(Bucket=bucket)
        for asset in assembly.files.values():
            s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=_body(asset))

    def create(self, stack: Stack) -> list[Function]:
        """Creates a stack and reads its functions back. Raises `LocalError` with CloudFormation's reason."""
        self._bootstrap(stack)
        self._execute_machines(stack)
        cloudformation = self.client("cloudformation")
        try:
            cloudformation.create_stack(
                StackName=stack.name,
                TemplateBody=json.dumps(without_gaps(stack.template)),
                Parameters=defaults(stack.template),
                Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"],
            )
            described = cloudformation.describe_stacks(StackName=stack.name)["Stacks"][0]
        except (ClientError, ResponseParserError) as error:
            raise LocalError(f"stack {stack.name} can't be created: {error}") from None
        if described["StackStatus"] != "CREATE_COMPLETE":
            raise LocalError(f"stack {stack.name} is {described['StackStatus']}: {described.get('StackStatusReason', 'no reason given')}")
        self.outputs |= {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}
        resources = cloudformation.describe_stack_resources(StackName=stack.name)["StackResources"]
        # Moto names none for what it skips.
        names = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in resources if "PhysicalResourceId" in each}
        self.ids |= {(stack.name, logical_id): physical_id for logical_id, physical_id in names.items()}
        s3 = self.client("s3")
        keep_versions(stack, names, s3)
        notify(stack, names, s3)
        return self._functions(stack, names)

    def _functions(self, stack: Stack, names: Mapping[str, str]) -> list[Function]:
        client = self.client("lambda")
        functions = []
        for logical_id, properties in stack.resources("AWS::Lambda::Function"):
            deployed = client.get_function_configuration(FunctionName=names[logical_id])
            functions.append(Function.read(stack, logical_id, properties, deployed))
        return functions

    def _execute_machines(self, stack: Stack) -> None:
        if not self._executes and any(stack.resources("AWS::StepFunctions::StateMachine")):
            from tools.local.moto_states import execute_machines  # noqa: PLC0415 - brings a parser along, half a second

            execute_machines(self.endpoint_url)
            self._executes = True

    def _bootstrap(self, stack: Stack) -> None:
        """Writes the version that `cdk bootstrap` leaves in an account; a template asks for it."""
        for parameter in stack.template.get("Parameters", {}).values():
            if str(parameter.get("Default", "")).startswith("/cdk-bootstrap/"):
                self.client("ssm").put_parameter(Name=parameter["Default"], Value="30", Type="String", Overwrite=True)


def _body(asset: FileAsset) -> bytes:
    return _zip(asset.source) if asset.is_folder else asset.source.read_bytes()


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return buffer.getvalue()
