"""The whole app on this machine: the stacks in a moto server, the functions in real processes, the API on a port."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

from modelserve.clients import ALL_MODELS
from tools.local import archive, clients, image, packages, seam
from tools.local.assembly import REGION, Assembly, Stack
from tools.local.asynchronous import RETRY_SECONDS, AsyncInvocations
from tools.local.authorizer import Authorizer
from tools.local.cloud import CREDENTIALS, Cloud
from tools.local.environments import MAX_ENVIRONMENTS, Environments
from tools.local.errors import LocalError
from tools.local.functions import Function
from tools.local.gateway import Gateway, Invoke
from tools.local.gateway_responses import GatewayResponses
from tools.local.poller import Poller
from tools.local.queues import QueuePoller
from tools.local.roots import TaskRoot
from tools.local.routes import Api
from tools.local.sagemaker import SageMaker
from tools.local.server import Server
from tools.local.sources import AsyncConfig, Source, async_configs, sources
from tools.local.streams import StreamPoller
from tools.local.usage import Usage, plans_by_key

if TYPE_CHECKING:
    from tools.local.containers import Container

__all__ = ["BUILD", "LocalStack"]

BUILD = packages.PROJECT / "build" / "local"


class LocalStack:
    """One deployment of a cloud assembly, running until the context ends.

    Several may run in one process as long as their stacks have different names: moto keeps one state for a process.
    """

    def __init__(
        self,
        cdk_out: Path,
        deployment: str = "dev",
        port: int = 0,
        *,
        build: Path = BUILD,
        limit: int = MAX_ENVIRONMENTS,
        max_authorizer_ttl: float | None = None,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
        container: Callable[[], Container] | None = None,
    ) -> None:
        """`build` keeps what can be used again; `limit` is how many environments a function may have at a time.

        `max_authorizer_ttl` caps the seconds for which the template lets the gateway remember who a key belongs to. `retry_seconds` are
        those before each retry of an asynchronous invocation. `container` makes what runs the endpoints' models, once one is asked for;
        without it ONNX Runtime on this machine's CPU does.
        """
        self._assembly = Assembly.load(cdk_out, deployment)
        self._port = port
        self._build = build
        self._limit = limit
        self._max_authorizer_ttl = max_authorizer_ttl
        self._retry_seconds = retry_seconds
        self._container = container or _onnx_container
        self._exit = ExitStack()
        self._lock = threading.Lock()
        self._key = ""
        self._roots: dict[tuple[str, ...], TaskRoot] = {}
        self.region = REGION
        self.endpoint_url = ""
        """Of AWS's services."""
        self.runtime_url = ""
        """Of SageMaker's runtime, which moto does not have."""
        self.url = ""
        """Of the API, its stage at the end."""
        self.outputs: dict[str, str] = {}
        """Of all stacks, with the address where the API answers here."""
        self.environments: dict[str, Environments] = {}
        """By the name that CloudFormation gave the function."""

    @property
    def bucket(self) -> str:
        """The model store."""
        return self.outputs["ModelBucket"]

    @property
    def key(self) -> str:
        """Of the client `local`, which may call every model; made when it is first asked for."""
        with self._lock:
            self._key = self._key or self.new_client("local")
        return self._key

    def new_client(self, name: str, *, models: Sequence[str] = (ALL_MODELS,), plan: str | None = None) -> str:
        """The key of a new client; without `plan` in the one with the highest rate."""
        return clients.create(self.cloud, name, models=models, plan=plan)

    def __enter__(self) -> Self:
        with ExitStack() as exit_on_failure:
            exit_on_failure.callback(self._exit.close)
            self.start_cloud()
            self.start_functions()
            self.start_api()
            exit_on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def close(self) -> None:
        """Ends everything, in the reverse order of its start."""
        self._exit.close()

    def describe(self) -> dict[str, object]:
        """What another program needs in order to use this deployment."""
        return {
            "endpoint_url": self.endpoint_url,
            "endpoints": {"sagemaker-runtime": self.runtime_url},
            "url": self.url,
            "bucket": self.bucket,
            "key": self.key,
            "outputs": self.outputs,
            "region": self.region,
            "pid": os.getpid(),
        }

    def start_cloud(self) -> None:
        """Creates the stacks. Raises `LocalError`."""
        self.cloud = self._exit.enter_context(Cloud())
        self.endpoint_url = self.cloud.endpoint_url
        self.cloud.upload(self._assembly)
        self._functions = [(stack, function) for stack in self._assembly.stacks for function in self.cloud.create(stack)]
        self.outputs = self.cloud.outputs
        sagemaker = SageMaker(self._container, self.cloud.client("s3"))
        self._exit.callback(sagemaker.close)
        self.runtime_url = sagemaker.url

    def start_functions(self, progress: Callable[[str], None] = lambda _: None) -> None:
        """Makes every function's task root; lets the Invoke API, queues, streams and events reach it. Raises `LocalError`."""
        ended = self._exit.enter_context(ExitStack())  # what waits for those whose functions have been ended by then
        endpoints = {"AWS_ENDPOINT_URL": self.endpoint_url, "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME": self.runtime_url}
        services = {**CREDENTIALS, **endpoints, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        for stack, function in self._functions:
            if function.runtime and not function.runtime.startswith("python"):
                continue  # CDK's own helpers; calling one says that it has no process here
            progress(function.logical_id)
            folder = self._build / "functions" / stack.name
            root = self._root(function)
            environments = Environments(function, root, services, folder=folder, limit=self._limit)
            self._exit.callback(environments.close)
            self.environments[function.name] = environments
        self._start_invocations(ended)

    def _start_invocations(self, ended: ExitStack) -> None:
        """Those that no caller waits for; they are told to stop before their functions end, and waited for after that."""
        invokes: Mapping[str, Invoke] = {name: environments.invoke for name, environments in self.environments.items()}
        later = AsyncInvocations(invokes, self._async_configs(), pauses=self._retry_seconds)
        ended.callback(later.join)
        self._exit.callback(seam.disconnect, set(invokes))
        self._exit.callback(later.stop)
        seam.connect(invokes, later.submit)
        for stack in self._assembly.stacks:
            for source in sources(stack, self.cloud.ids):
                poller = _poller(source, self._invoke(source, invokes))
                ended.callback(poller.join)
                self._exit.callback(poller.stop)
                poller.start()

    def _invoke(self, source: Source, invokes: Mapping[str, Invoke]) -> Invoke:
        if source.function not in invokes:
            raise LocalError(f"the mapping of {source.arn} is for function {source.function}, which has no process on this machine")
        return invokes[source.function]

    def _async_configs(self) -> dict[str, AsyncConfig]:
        letters = {function.name: AsyncConfig(dead_letters=function.dead_letters) for _, function in self._functions}
        for stack in self._assembly.stacks:
            for name, config in async_configs(stack, self.cloud.ids).items():
                letters[name] = replace(config, dead_letters=letters[name].dead_letters)
        return letters

    def start_api(self) -> None:
        """Opens the port. Raises `LocalError`."""
        stack = self._api_stack()
        api = Api.read(stack)
        invokes = self._invokes(stack)
        (api_id,) = [self.cloud.ids[stack.name, logical_id] for logical_id, _ in stack.resources("AWS::ApiGateway::RestApi")]
        gateway = Gateway(
            api,
            GatewayResponses.read(stack),
            invokes,
            authorizers=Authorizer.read(stack, invokes, max_ttl=self._max_authorizer_ttl),
            usage=Usage(partial(plans_by_key, self.cloud.client("apigateway"), api_id, api.stage)),
            api_id=api_id,
        )
        self._exit.callback(gateway.close)
        server = Server(gateway, self._port)
        self._exit.callback(server.close)
        self.url = f"http://127.0.0.1:{server.port}/{api.stage}"
        elsewhere = self.outputs.get("ApiUrl", "")
        if elsewhere:
            self.outputs = {key: value.replace(elsewhere, f"{self.url}/") for key, value in self.outputs.items()}

    def _api_stack(self) -> Stack:
        stacks = [stack for stack in self._assembly.stacks if any(stack.resources("AWS::ApiGateway::RestApi"))]
        if len(stacks) != 1:
            raise LocalError(f"{len(stacks)} stacks have a REST API; the local runner serves one")
        return stacks[0]

    def _invokes(self, api_stack: Stack) -> Mapping[str, Invoke]:
        return {
            function.logical_id: self.environments[function.name].invoke
            for stack, function in self._functions
            if stack is api_stack and function.name in self.environments
        }

    def _root(self, function: Function) -> TaskRoot:
        """Functions of the same code share a folder."""
        key = (function.image, function.code, *function.layers)
        if key not in self._roots:
            self._roots[key] = self._make_root(function)
        return self._roots[key]

    def _make_root(self, function: Function) -> TaskRoot:
        assets = self._assembly
        try:
            if function.image:
                return image.build(assets.images[function.image], self._build)
            layers = [assets.files[key] for key in function.layers]
            return archive.unpack(assets.files[function.code], layers, handler=function.handler, cache=self._build)
        except KeyError as error:
            raise LocalError(f"function {function.logical_id} uses asset {error}, which the assembly does not have") from None


def _poller(source: Source, invoke: Invoke) -> Poller:
    return QueuePoller(source, invoke) if source.service == "sqs" else StreamPoller(source, invoke)


def _onnx_container() -> Container:
    from tools.local.containers import OnnxContainer  # noqa: PLC0415 - brings ONNX Runtime and gRPC along, which a start can do without

    return OnnxContainer()
