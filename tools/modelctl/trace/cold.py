"""Starts a model's function as Lambda would, over and over, and keeps the trace of the start that is the median."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import modelserve
from models.config import MODELS, ModelConfig
from modelserve.manifest import Alias
from modelserve.record import replace
from modelserve.registry import Registry
from modelserve.settings import PredictSettings
from tools.loopback.authority import KEY_ARN, Signer
from tools.loopback.bootstrap import PROGRAM, arguments
from tools.loopback.errors import MeasureError
from tools.loopback.runtime import first_answer
from tools.loopback.server import KEY_FILE, Network, reached, serving
from tools.loopback.store import BUCKET, MemoryStore
from tools.modelctl.built import Built
from tools.modelctl.errors import UsageFailed
from tools.modelctl.lifecycle import publish
from tools.modelctl.trace.spans import Trace

__all__ = ["Cold", "trace"]

_ROOT = MODELS.parent
_DOCKERFILE = _ROOT / "functions" / "predict" / "Dockerfile"
_WRAPPER = _DOCKERFILE.with_name("start.py")
_REQUIREMENTS = _ROOT / "functions" / "predict" / "requirements-{}.txt"
_BASE = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""What the base image brings along."""
_HANDLER = "functions.predict.handler.handler"
_PROGRAM = """
import sys, time
first = time.monotonic_ns()
sys.path.insert(0, {own!r})
import tracer
sys.path[:1] = {path!r}
tracer.begin({begun}, first, {spans!r})
"""
"""What the interpreter runs before the function's script."""


@dataclass(frozen=True, kw_only=True)
class Cold:
    """Several cold starts of one version."""

    alias: Alias
    memory: int
    """MB that the function is told it has."""
    backend: str
    """What it drives ONNX Runtime by."""
    traces: tuple[Trace, ...]
    """By what they took."""

    @property
    def median(self) -> Trace:
        """The one in the middle."""
        return self.traces[len(self.traces) // 2]


def trace(
    config: ModelConfig,
    built: Built,
    *,
    runs: int,
    backend: str | None = None,
    delay: float = 0.0,
) -> Cold:
    """`runs` cold starts of what was built, behind one that finds nothing in the page cache and is not kept.

    It is published to a store on this machine, whether or not it passed, signed by a key made for it, and read from there by HTTP, `delay`
    seconds a round trip.
    Raises `UsageFailed` where the function gives no answer.
    """
    with MemoryStore() as store, tempfile.TemporaryDirectory() as scratch:
        signer, folder = Signer(), Path(scratch) / "store"
        registry = Registry(store, signer=signer)
        version = publish(registry, built, forced="to be traced").version
        settings = PredictSettings(model_name=config.name, model_bucket=BUCKET, nan_inputs=config.serving.nan, signing_key_arn=KEY_ARN)
        settings = replace(settings, session_backend=backend or settings.session_backend)
        alias = registry.promote(config.name, version, alias=settings.model_alias, by="trace-cold", reason="")
        store.save(folder / BUCKET)
        (folder / KEY_FILE).write_bytes(signer.answer())
        event = _event(config.name, built.example.read_text("utf-8"))
        path = _task_root(settings.session_backend, Path(scratch))
        try:
            with serving(folder, Network(round_trip=delay)) as endpoint:
                environ = _environ(settings, endpoint, config.function.memory)
                traces = [_once(event, environ, path, Path(scratch)) for _ in range(runs + 1)][1:]
        except MeasureError as error:
            raise UsageFailed(f"its cold start can't be traced: {error}") from None
    return Cold(
        alias=alias,
        memory=config.function.memory,
        backend=settings.session_backend,
        traces=tuple(sorted(traces, key=lambda each: each.total)),
    )


def _once(event: Mapping[str, Any], environ: Mapping[str, str], path: list[str], scratch: Path) -> Trace:
    spans = scratch / "spans.json"
    spans.unlink(missing_ok=True)
    program = _PROGRAM.format(own=str(Path(__file__).parent), path=path, begun=time.monotonic_ns(), spans=str(spans)) + PROGRAM
    first_answer(
        [sys.executable, "-I", "-S", "-c", program, *arguments(_WRAPPER)],
        event=event,
        cwd=_ROOT,
        environ={**environ, "TMPDIR": str(scratch)},
    )
    return Trace.read(json.loads(spans.read_bytes()))


def _task_root(backend: str, into: Path) -> list[str]:
    """The project itself, and beside the standard library, as in the image, no package but those that it holds, here of this environment.

    Raises `UsageFailed` where one is not installed.
    """
    packages = into / "packages"
    packages.mkdir()
    locked = re.findall(r"^([\w.-]+)==", Path(str(_REQUIREMENTS).format(backend)).read_text("utf-8"), re.MULTILINE)
    for name in {*locked, *_BASE}:  # one may be locked twice, for two versions of Python
        try:
            files = distribution(name).files or []
        except PackageNotFoundError:
            raise UsageFailed(f"{name} is not installed here, which the function's image holds; run: uv sync") from None
        for top in {file.parts[0] for file in files if not file.parts[0].endswith(".dist-info")} - {"..", "__pycache__"}:
            (packages / top).symlink_to(str(distribution(name).locate_file(top)))
    return [str(_ROOT), str(Path(modelserve.__file__).parents[1]), str(packages)]


def _environ(settings: PredictSettings, endpoint: str, memory: int) -> dict[str, str]:
    """As the image and the function set it."""
    image = dict(re.findall(r"^ENV (\w+)=(\S+)$", _DOCKERFILE.read_text("utf-8"), re.MULTILINE))
    return {
        **image,
        **settings.to_env(),
        **reached(endpoint),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "AWS_LAMBDA_FUNCTION_NAME": "trace-cold",
        "LAMBDA_TASK_ROOT": str(_ROOT),
        "_HANDLER": _HANDLER,
    }


def _event(name: str, body: str) -> dict[str, Any]:
    """As API Gateway's REST API sends it."""
    return {
        "httpMethod": "POST",
        "path": f"/v2/models/{name}/infer",
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"inputs": json.loads(body)["inputs"]}),
        "isBase64Encoded": False,
    }
