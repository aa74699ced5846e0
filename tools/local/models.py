"""Trains, publishes and promotes the models of this repository, beside everything else: workers have scikit-learn, this process never."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from models.config import MODELS, ModelConfig
from tools.local.assembly import REGION
from tools.local.errors import LocalError
from tools.modelctl.deployment import Deployment, on_this_machine
from tools.modelctl.endpoints import prepare
from tools.modelctl.errors import ModelctlError
from tools.modelctl.paths import BUILD, REPORT_FILE

__all__ = ["Models", "Published"]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a person wants to know of a model that is being served."""

    name: str
    task: str
    version: str
    metric: str
    labels: tuple[str, ...]
    example: Path


class Models:
    """Starts to build at once; a context manager that leaves no worker behind."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self._names = [config.name for config in ModelConfig.load_all()]
        self._pool = ProcessPoolExecutor(_workers(self._names), multiprocessing.get_context("spawn"), initializer=_follow_parent)
        self._builds = {name: self._pool.submit(_build, name) for name in self._names}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def built(self) -> Iterator[tuple[str, bool]]:
        """Each model's name, and whether it had to be trained, as it is done. Raises `LocalError`."""
        for name, build in self._builds.items():
            yield name, build.result()

    def publish(self, endpoint_url: str, bucket: str, *, signing_key: str | None = None) -> list[Published]:
        """Publishes each model and promotes it to `production`, signed where there is a key. Raises `LocalError`, for a failed gate too."""
        publishing = [self._pool.submit(_publish, name, endpoint_url, bucket, signing_key) for name in self._names]
        target = on_this_machine(endpoint_url, bucket, REGION, signing_key=signing_key)
        published = []
        for each in publishing:
            published.append(each.result())
            _promote(target, published[-1])
        return published


def _workers(names: list[str]) -> int:
    """Where all was built before, little is left to do, and a second worker would only load scikit-learn once more."""
    new = [name for name in names if not (BUILD / name / REPORT_FILE).exists()]
    return max(1, min(len(new), os.cpu_count() or 1))


def _follow_parent() -> None:
    """A worker ends with its parent, however that ends; Ctrl-C is for the parent alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a worker
    parent.join()
    os._exit(1)


def _config(name: str) -> ModelConfig:
    return ModelConfig.load(MODELS / name)


def _build(name: str) -> bool:
    """Whether it had to be trained. Raises `LocalError`, as all that a worker raises must survive being pickled."""
    from tools.modelctl import lifecycle  # noqa: PLC0415 - scikit-learn stays out of the main process

    try:
        return not lifecycle.build(_config(name)).cached
    except ModelctlError as error:
        raise LocalError(str(error)) from None


def _promote(target: Deployment, published: Published) -> None:
    """One after the other: async endpoints are all in one stack. A realtime one loads what it is asked for. Raises `LocalError`."""
    registry, name, version = target.registry(), published.name, published.version
    if _config(name).asynchronous:
        try:
            prepare(target, registry.manifest(name, version), alias="production", pause=0.1)
        except ModelctlError as error:
            raise LocalError(str(error)) from None
    registry.promote(name, version, alias="production", by="make run", reason="the sample models of this repository")


def _publish(name: str, endpoint_url: str, bucket: str, signing_key: str | None) -> Published:
    from tools.modelctl import lifecycle  # noqa: PLC0415

    registry = on_this_machine(endpoint_url, bucket, REGION, signing_key=signing_key).registry()
    built = lifecycle.build(_config(name))
    if built.failures:
        raise LocalError(f"model {name} may not be published: {'; '.join(built.failures)}\nsee models/{name}/model.toml")
    manifest = lifecycle.publish(registry, built)
    shown = [f"{result.gate.split()[0]} {result.value:.4g}" for result in manifest.gates]
    shown += [f"{metric} {value:.4g}" for metric, value in manifest.metrics.items()]
    return Published(
        name=name,
        task=manifest.task,
        version=manifest.version,
        metric=next(iter(shown), ""),
        labels=manifest.labels,
        example=built.example,
    )
