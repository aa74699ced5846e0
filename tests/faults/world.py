"""Where faults are tried: moto's S3, an endpoint's stand-in, the proxy in front of both, and real functions behind the emulator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import psutil
from onnx import ModelProto

from models.config import FunctionConfig
from modelserve.registry import Registry
from modelserve.settings import PredictSettings
from tests.faults.proxy import Proxy
from tests.unit.modelserve.graphs import scaled
from tests.unit.modelserve.stores import Publisher
from tools import layers
from tools.local import archive, image
from tools.local.assembly import REGION, FileAsset, ImageAsset
from tools.local.cloud import CREDENTIALS, Cloud
from tools.local.environments import Environments
from tools.local.functions import Function
from tools.local.packages import PROJECT
from tools.local.roots import TaskRoot
from tools.local.sagemaker import SageMaker
from tools.local.stack import BUILD
from tools.modelctl.s3 import S3Store

if TYPE_CHECKING:
    from tools.local.containers import Container

__all__ = ["BUCKET", "JOBS", "SIZE", "Answer", "Served", "Subject", "World", "digest", "function", "padded", "read"]

SIZE = 300_000
"""Bytes of a model, about: more than a socket holds, so that a break in the middle is one."""
BUCKET, JOBS = "faults", "jobs"
_LIBRARY = "layers/modelserve"


class Answer(NamedTuple):
    """What a caller sees; `factor` is None unless it is an answer of a model, and NaN for one to another request."""

    status: int
    retry_after: str | None
    error: str
    version: str = ""
    factor: float | None = None


def padded(factor: float) -> bytes:
    """A model that multiplies by `factor`; all are of one size, and what differs stands in the second half."""
    model = ModelProto.FromString(scaled(factor))
    model.doc_string = "-" * SIZE
    content: bytes = model.SerializeToString()
    return content


class World:
    """A store, endpoints and a way to break them; a context manager."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exit_on_failure:
            exit_on_failure.callback(self._exit.close)
            self.cloud = self._exit.enter_context(Cloud())
            self.s3 = self.cloud.client("s3")
            for bucket in (BUCKET, JOBS):
                self.s3.create_bucket(Bucket=bucket)
            self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
            self._runtime = SageMaker(_container, self.s3)
            self._exit.callback(self._runtime.close)
            self.proxy = self._exit.enter_context(self.new_proxy())
            self.folder = Path(self._exit.enter_context(TemporaryDirectory(prefix="faults-")))
            self.predict = image.build(_predict_image(), BUILD)
            self.gateway = _gateway()
            exit_on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def new_proxy(self) -> Proxy:
        """Another one than `proxy`, in front of the same."""
        return Proxy(self.cloud.endpoint_url, self._runtime.url)


class Served(Publisher):
    """A model of its own, and the function that serves it; a context manager."""

    def __init__(self, world: World, served: Function, root: TaskRoot, services: Mapping[str, str], *, environments: int = 1) -> None:
        """`services` are the function's variables beside those of S3 and the region; the model has the function's name."""
        self._folder = world.folder / served.name
        self._folder.mkdir()
        store: Any = S3Store(world.s3, BUCKET)
        super().__init__(store, self._folder, name=served.name)
        self.registry = Registry(store)
        services = {"AWS_ENDPOINT_URL_S3": world.proxy.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION, **services}
        self._environments = Environments(served, root, services, folder=self._folder / "function", limit=environments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environments.close()

    def call(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The function's answer to what API Gateway hands over; `path` is below the model's own."""
        body = json.dumps(document) if document else ""
        event = {"httpMethod": method, "path": f"/v2/models/{self.name}{path}", "headers": {}, "body": body, "isBase64Encoded": False}
        answered: dict[str, Any] = json.loads(self._environments.invoke(json.dumps(event).encode()).payload)
        return answered

    def infer(self, number: int) -> dict[str, Any]:
        """The answer to a row of its own for each `number`, from 1."""
        row = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [number, 2 * number, 3 * number]}
        return self.call("POST", "/infer", {"inputs": [row]})

    @property
    def processes(self) -> int:
        """How many have answered a first request."""
        return sum(line.get("cold_start") is True for line in self.log())

    @property
    def files(self) -> list[Path]:
        """What was left in /tmp."""
        return [file for file in (self._folder / "function" / "tmp").rglob("*") if file.is_file()]

    def log(self) -> list[dict[str, Any]]:
        """What the function wrote, each line a document."""
        lines = self._environments.log.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


class Subject(Served):
    """One that the predict function runs."""

    def __init__(self, world: World, name: str, *, container: bool = False, environments: int = 1) -> None:
        """`container`: credentials come from the container endpoint, as under SnapStart, and not from variables."""
        # As the stacks deploy it, but that it looks at its alias with each request.
        seconds = float(FunctionConfig().timeout - 2)
        settings = PredictSettings(model_name=name, model_bucket=BUCKET, alias_check_seconds=0.0, deadline_seconds=seconds)
        credentials = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{world.proxy.url}/credentials/{name}"} if container else CREDENTIALS
        super().__init__(world, function(name, settings.to_env()), world.predict, credentials, environments=environments)

    def ask(self) -> Answer:
        """One row through the function."""
        return read(self.infer(1))

    @property
    def failures(self) -> set[str]:
        """Kinds of the errors that loading has met, as the log counts them."""
        return {line["error"] for line in self.log() if line.get("location") == "loader" and "error" in line}

    def limit_files(self, size: int) -> None:
        """The function can't write a file of more bytes from now on: what a full disk is to it."""
        scratch = str(self._folder)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # other models' come and go
                if process.environ().get("TMPDIR", "").startswith(scratch):
                    process.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))


def read(document: Mapping[str, Any], number: int = 1) -> Answer:
    """What a caller sees in the answer to the row of this number."""
    if "statusCode" not in document:  # the function did not answer, Lambda did
        return Answer(502, None, f"{document['errorType']}: {document['errorMessage']}")
    body = json.loads(document["body"])
    if document["statusCode"] != 200:
        return Answer(document["statusCode"], document["headers"].get("Retry-After"), body.get("error", ""))
    data = body["outputs"][0]["data"]
    factor = data[0] / number if data else nan
    return Answer(200, None, "", body["model_version"], factor if data == [factor * number * each for each in (1, 2, 3)] else nan)


def function(name: str, environment: Mapping[str, str]) -> Function:
    """With the memory and the time that a model has by default."""
    config = FunctionConfig()
    return Function(
        name=name,
        logical_id=name,
        handler="",
        runtime="",
        image="",
        code="",
        layers=(),
        environment=environment,
        timeout=config.timeout,
        memory=config.memory,
    )


def _predict_image() -> ImageAsset:
    """Straight from the working tree; what the stacks make of it is not the question here."""
    made_of = digest("functions/predict", f"{_LIBRARY}/python")
    return ImageAsset(hash=made_of, context=PROJECT, dockerfile="functions/predict/Dockerfile", build_args={})


def _gateway() -> TaskRoot:
    """Likewise."""
    layers.build()
    parts = {"functions": "functions/gpu_gateway", _LIBRARY: f"{_LIBRARY}/python", "build/dependencies": "uv.lock"}
    code, *others = (
        FileAsset(source=PROJECT / source, bucket="", key=digest(changes), is_folder=True) for source, changes in parts.items()
    )
    return archive.unpack(code, others, handler="gpu_gateway.handler.handler", cache=BUILD)


def digest(*sources: str) -> str:
    """Of everything in these folders, as they are now."""
    found = hashlib.sha256()
    for source in sources:
        for file in sorted([PROJECT / source, *(PROJECT / source).rglob("*")]):
            if file.is_file() and file.suffix != ".pyc":
                found.update(f"{file.relative_to(PROJECT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _container() -> Container:
    from tools.local.containers import OnnxContainer  # brings ONNX Runtime and gRPC along, which a store can do without

    return OnnxContainer()
