"""The endpoints that CloudFormation made in moto's SageMaker, and the model archives behind them: fetched, unpacked, loaded once."""

from __future__ import annotations

import tarfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from moto.sagemaker.models import sagemaker_backends

from tools.local.assembly import ACCOUNT, REGION

if TYPE_CHECKING:
    from tools.local.containers import Container

__all__ = ["Archives", "Endpoint", "NoArchive", "find", "split"]


class NoArchive(Exception):
    """Nothing at an archive's address, or nothing that can be unpacked."""

    def __init__(self, url: str) -> None:
        bucket, key = split(url)
        super().__init__(
            f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an object located at the URL and "
            "that the role passed to CreateModel has permissions to download the model."
        )


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint serves by its configuration of now."""

    name: str
    config: str
    url: str
    """Of the archive, or of the folder of archives where it has several models."""
    several: bool
    output: str
    """Where answers of an asynchronous one go; empty for one that answers at once."""
    failure: str
    variant: str


def find(name: str) -> Endpoint | None:
    """By the name that the template gave it."""
    backend = sagemaker_backends[ACCOUNT][REGION]
    endpoint = backend.endpoints.get(name)
    if endpoint is None:
        return None
    config = backend.endpoint_configs[endpoint.endpoint_config_name]
    variant = config.production_variants[0]
    container = backend._models[variant["ModelName"]].primary_container
    answers = (config.async_inference_config or {}).get("OutputConfig", {})
    return Endpoint(
        name=name,
        config=config.endpoint_config_name,
        url=container["ModelDataUrl"],
        several=container.get("Mode") == "MultiModel",
        output=answers.get("S3OutputPath", ""),
        failure=answers.get("S3FailurePath", ""),
        variant=variant["VariantName"],
    )


class Archives:
    """What the container has loaded; an endpoint with another configuration starts with nothing."""

    def __init__(self, container: Callable[[], Container], s3: Any, folder: Path) -> None:
        """`container` is called when it is first needed; `folder` gets the unpacked archives."""
        self._make = container
        self._s3 = s3
        self._folder = folder
        self._lock = threading.Lock()
        self._container: Container | None = None
        self._loaded: dict[tuple[Endpoint, str], Future[str]] = {}
        self._users: Counter[tuple[Endpoint, str]] = Counter()

    @contextmanager
    def loaded(self, endpoint: Endpoint, url: str) -> Iterator[tuple[Container, str]]:
        """The container and the name of the archive in it, which it keeps until the block ends. Raises `NoArchive`, `LoadFailed`."""
        key = (endpoint, url)
        with self._lock:
            self._container = container = self._container or self._make()
            self._users[key] += 1
            first = key not in self._loaded
            loading = self._loaded.setdefault(key, Future())
        try:
            if first:
                self._load(container, key, loading)
            yield container, loading.result()
        finally:
            self._release(key)

    def _load(self, container: Container, key: tuple[Endpoint, str], loading: Future[str]) -> None:
        endpoint, url = key
        name = sha256(f"{endpoint.name} {endpoint.config} {url}".encode()).hexdigest()
        try:
            container.load(name, self._unpacked(name, url))
        except Exception as error:  # noqa: BLE001 - whoever waits for it is told as well
            with self._lock:
                self._loaded.pop(key)
            loading.set_exception(error)
        else:
            loading.set_result(name)

    def _unpacked(self, name: str, url: str) -> Path:
        bucket, key = split(url)
        folder = self._folder / name
        try:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"]
            with tarfile.open(fileobj=body, mode="r|gz") as archive:
                archive.extractall(folder, filter="data")
        except (ClientError, tarfile.TarError, EOFError, zlib.error):
            raise NoArchive(url) from None
        return folder

    def _release(self, key: tuple[Endpoint, str]) -> None:
        """Unloads what belongs to configurations of the past, once nobody uses it."""
        with self._lock:
            self._users[key] -= 1
            idle = [other for other in self._loaded if not self._users[other] and find(other[0].name) != other[0]]
            names = [self._loaded.pop(other).result() for other in idle]
            container = self._container
        for name in names:
            assert container is not None  # it loaded them
            container.unload(name)


def split(url: str) -> tuple[str, str]:
    """Bucket and key of an s3:// address."""
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key
