"""Where faults are tried: moto's S3, the proxy in front of it, and the real predict function behind the emulator."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

import psutil
from onnx import ModelProto

from models.config import FunctionConfig
from modelserve.registry import Registry
from modelserve.settings import PredictSettings
from tests.faults.proxy import Proxy
from tests.unit.modelserve.graphs import scaled
from tests.unit.modelserve.stores import Publisher
from tools.local import image
from tools.local.assembly import REGION, ImageAsset
from tools.local.cloud import CREDENTIALS, Cloud
from tools.local.environments import Environments
from tools.local.functions import Function
from tools.local.packages import PROJECT
from tools.local.stack import BUILD
from tools.modelctl.s3 import S3Store

__all__ = ["SIZE", "Answer", "Subject", "World", "padded"]

SIZE = 300_000
"""Bytes of a model, about: more than a socket holds, so that a break in the middle is one."""
_BUCKET = "faults"
_SOURCES = ("functions/predict", "layers/modelserve/python")
_ROW = [1.0, 2.0, 3.0]


class Answer(NamedTuple):
    """What a caller sees; `factor` is None unless it is an answer of a model."""

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
    """A store and a way to break it; a context manager."""

    def __init__(self) -> None:
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exit_on_failure:
            exit_on_failure.callback(self._exit.close)
            cloud = self._exit.enter_context(Cloud())
            self.s3 = cloud.client("s3")
            self.s3.create_bucket(Bucket=_BUCKET)
            self.s3.put_bucket_versioning(Bucket=_BUCKET, VersioningConfiguration={"Status": "Enabled"})
            self.proxy = self._exit.enter_context(Proxy(cloud.endpoint_url))
            self.folder = Path(self._exit.enter_context(TemporaryDirectory(prefix="faults-")))
            self.root = image.build(_predict_image(), BUILD)
            exit_on_failure.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


class Subject(Publisher):
    """A model of its own, and the function that serves it; a context manager."""

    def __init__(self, world: World, name: str, *, container: bool = False, environments: int = 1) -> None:
        """`container`: credentials come from the container endpoint, as under SnapStart, and not from variables."""
        self._folder = world.folder / name
        self._folder.mkdir()
        store: Any = S3Store(world.s3, _BUCKET)
        super().__init__(store, self._folder, name=name)
        self.registry = Registry(store)
        services = {"AWS_ENDPOINT_URL_S3": world.proxy.url, "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        services |= {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{world.proxy.url}/credentials/{name}"} if container else CREDENTIALS
        self._environments = Environments(_function(name), world.root, services, folder=self._folder / "function", limit=environments)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environments.close()

    def ask(self) -> Answer:
        """One row through the function, as API Gateway hands it over."""
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": _ROW}]})
        event = {"httpMethod": "POST", "path": f"/v2/models/{self.name}/infer", "headers": {}, "body": body, "isBase64Encoded": False}
        answer = self._environments.invoke(json.dumps(event).encode())
        return _read(json.loads(answer.payload))

    @property
    def failures(self) -> set[str]:
        """Kinds of the errors that loading has met, as the log counts them."""
        return {line["error"] for line in self._log() if line.get("location") == "loader" and "error" in line}

    @property
    def processes(self) -> int:
        """How many have answered a first request."""
        return sum(line.get("cold_start") is True for line in self._log())

    @property
    def files(self) -> list[Path]:
        """What was left in /tmp."""
        return [file for file in (self._folder / "function" / "tmp").rglob("*") if file.is_file()]

    def limit_files(self, size: int) -> None:
        """The function can't write a file of more bytes from now on: what a full disk is to it."""
        scratch = str(self._folder)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # other models' come and go
                if process.environ().get("TMPDIR", "").startswith(scratch):
                    process.rlimit(psutil.RLIMIT_FSIZE, (size, psutil.RLIM_INFINITY))

    def _log(self) -> list[dict[str, Any]]:
        lines = self._environments.log.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


def _read(document: Mapping[str, Any]) -> Answer:
    if "statusCode" not in document:  # the function did not answer, Lambda did
        return Answer(502, None, f"{document['errorType']}: {document['errorMessage']}")
    body = json.loads(document["body"])
    if document["statusCode"] != 200:
        return Answer(document["statusCode"], document["headers"].get("Retry-After"), body["error"])
    factor, *others = body["outputs"][0]["data"]
    assert others == [2 * factor, 3 * factor], others
    return Answer(200, None, "", body["model_version"], factor)


def _function(name: str) -> Function:
    """As the stacks deploy it, but that it looks at its alias with each request."""
    config = FunctionConfig()
    settings = PredictSettings(model_name=name, model_bucket=_BUCKET, alias_check_seconds=0.0, deadline_seconds=float(config.timeout - 2))
    return Function(
        name=name,
        logical_id=name,
        handler="",
        runtime="",
        image="predict",
        code="",
        layers=(),
        environment=settings.to_env(),
        timeout=config.timeout,
        memory=config.memory,
    )


def _predict_image() -> ImageAsset:
    """Straight from the working tree; what the stacks make of it is not the question here."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        for file in sorted((PROJECT / source).rglob("*")):
            if file.is_file() and file.suffix != ".pyc":
                digest.update(f"{file.relative_to(PROJECT)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return ImageAsset(hash=digest.hexdigest(), context=PROJECT, dockerfile="functions/predict/Dockerfile", build_args={})
