"""`python -m tests.image`: builds the functions' images, runs them within Lambda's limits, and reports what they cost to start."""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from modelserve.session import BACKENDS
from tests.image.base import base
from tests.image.container import TMP_MB, Container
from tests.image.docker import ImageError, check_daemon
from tests.image.image import Image, build, check_contents
from tests.image.jobs import events, heard, listening
from tests.image.predictions import check_answer, expected
from tools.local.assembly import Assembly
from tools.local.cloud import Cloud
from tools.local.errors import LocalError
from tools.local.functions import Function
from tools.local.models import Models, Published
from tools.local.steps import Steps
from tools.local.synth import CDK_OUT, layers, synthesize

_STARTS = 3
"""Containers of each model."""
_JOBS = 2
"""Of each model, in one batch of the jobs worker; together they run once."""
_WORKER = "functions.batch.jobs.handler"
_DOCKERFILE = "functions/predict/Dockerfile"
_MIB = 2**20
_CONSOLE = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One model's containers: seconds to the first answer, bytes at most."""

    model: str
    limit: int
    cold: float
    warm: float
    memory: int
    resident: int


def main() -> int:
    """The exit status: 0 when every prediction was right and nothing was left behind."""
    steps = Steps(_CONSOLE)
    try:
        with Models() as models:
            images, assembly = _build(steps)
            with Cloud() as cloud:
                created, published = _deploy(steps, cloud, assembly, models)
                functions = {each.environment["MODEL_NAME"]: each for each in created if "MODEL_NAME" in each.environment}
                published = [model for model in published if model.name in functions]  # the others are run by endpoints
                measured = _predict(steps, images["predict"], functions, published, cloud.endpoint_url)
                other = _predict_otherwise(steps, assembly, functions, published[0], cloud.endpoint_url)
                (worker,) = (each for each in created if each.handler == _WORKER)
                worked = _work(steps, images["batch"], worker, published, cloud)
    except (ImageError, LocalError) as error:
        _CONSOLE.print(f"Error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    _report((*images.values(), other), measured, worked)
    return 0


def _build(steps: Steps) -> tuple[dict[str, Image], Assembly]:
    with steps("docker") as step:
        step.detail = f"daemon {check_daemon()}"
    with steps("cloud assembly"):
        layers()
        synthesize()
        assembly = Assembly.load(CDK_OUT, "dev")
    with steps("base image") as step:
        below = base(os.environ)
        step.detail = below.name
    images = {}
    for asset in assembly.images.values():
        with steps("image") as step:
            image = build(asset, below)
            step.detail = f"{image.folder}, from the folder that the CDK staged, {image.size / _MIB:.0f} MiB"
        with steps("contents") as step:
            step.detail = f"{check_contents(image)} packages, those of the bill of materials"
        images[image.folder] = image
    return images, assembly


def _deploy(steps: Steps, cloud: Cloud, assembly: Assembly, models: Models) -> tuple[list[Function], list[Published]]:
    with steps("stacks and models") as step:
        cloud.upload(assembly)
        created = [function for stack in assembly.stacks for function in cloud.create(stack)]
        trained = [name for name, _ in models.built()]
        published = models.publish(cloud.endpoint_url, cloud.outputs["ModelBucket"])
        step.detail = f"{len(trained)} models in moto"
    return [function for function in created if function.image], published


def _predict(
    steps: Steps, image: Image, functions: dict[str, Function], published: Sequence[Published], endpoint_url: str
) -> list[Measured]:
    measured = []
    with steps("predictions") as step:
        for model in published:
            step.tell(model.name)
            measured.append(_measure(image, functions[model.name], model, endpoint_url))
        step.detail = f"{len(measured)} models, {_STARTS} containers each, every answer what ONNX Runtime itself says"
    return measured


def _predict_otherwise(steps: Steps, assembly: Assembly, functions: dict[str, Function], model: Published, endpoint_url: str) -> Image:
    """One model in the image that a deployment gets whose `session_backend` is the other one."""
    (asset,) = (each for each in assembly.images.values() if each.dockerfile == _DOCKERFILE)
    (backend,) = set(BACKENDS) - {asset.build_args["SESSION_BACKEND"]}
    with steps(f"image, {backend}") as step:
        image = build(replace(asset, build_args={**asset.build_args, "SESSION_BACKEND": backend}), base(os.environ))
        function = functions[model.name]
        function = replace(function, environment={**function.environment, "SESSION_BACKEND": backend})
        measured = _measure(image, function, model, endpoint_url)
        step.detail = f"{image.size / _MIB:.0f} MiB, cold start {measured.cold:.2f} s, every answer what ONNX Runtime itself says"
    return image


def _measure(image: Image, function: Function, model: Published, endpoint_url: str) -> Measured:
    request = model.example.read_bytes()
    outputs = expected(model.example.with_name("model.onnx"), request)
    times: tuple[list[float], list[float]] = ([], [])
    memories, residents = [], []
    for _ in range(_STARTS):
        with Container(image, function, endpoint_url) as container:
            for each in times:
                seconds, answer = container.predict(request)
                check_answer(answer, outputs)
                each.append(seconds)
            container.check_limits()
            container.check_traces()
            memory, resident = container.peak_memory()
            memories.append(memory)
            residents.append(resident)
    return Measured(
        model=model.name,
        limit=function.memory * _MIB,
        cold=statistics.median(times[0]),
        warm=statistics.median(times[1]),
        memory=max(memories),
        resident=max(residents),
    )


def _work(steps: Steps, image: Image, function: Function, published: Sequence[Published], cloud: Cloud) -> Measured:
    """One batch of the jobs worker with jobs of every model; what it tells of each is what ONNX Runtime itself says."""
    batch = events(published, batch=_JOBS)
    with steps("jobs") as step, listening(cloud, function.environment["SERVICE"]) as told:
        with Container(image, function, cloud.endpoint_url) as container:
            cold, answer = container.invoke(batch)
            if json.loads(answer) != {"batchItemFailures": []}:
                raise ImageError(f"the jobs worker answered {answer!r}")
            found = heard(cloud, told, len(batch["Records"]))
            for model in published:
                outputs = expected(model.example.with_name("model.onnx"), model.example.read_bytes())
                for detail in found[model.name]:
                    check_answer(detail, outputs)
            warm, _ = container.invoke(batch)
            heard(cloud, told, 0)  # all of it was done
            container.check_limits()
            container.check_traces()
            memory, resident = container.peak_memory()
        step.detail = f"{len(batch['Records'])} in one batch, every answer what ONNX Runtime itself says"
    return Measured(model="jobs worker", limit=function.memory * _MIB, cold=cold, warm=warm, memory=memory, resident=resident)


def _report(images: Sequence[Image], measured: Sequence[Measured], worked: Measured) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("model", "cold start", "warm", "peak, container", "peak, process", "limit"):
        table.add_column(heading, justify="left" if heading == "model" else "right")
    for each in (*measured, worked):
        sizes = (f"{size / _MIB:.0f} MiB" for size in (each.memory, each.resident, each.limit))
        table.add_row(each.model, f"{each.cold:.2f} s", f"{1000 * each.warm:.0f} ms", *sizes)
    _CONSOLE.print(Padding(table, (1, 0, 1, 4)))
    for image in images:
        _CONSOLE.print(f"Image {image.name}: {image.size / _MIB:.0f} MiB, of which {image.added / _MIB:.0f} MiB are ours", soft_wrap=True)
    _CONSOLE.print(
        f"Cold start: median {statistics.median(each.cold for each in measured):.2f} s from the first request to its answer; "
        f"1 CPU, read-only, {TMP_MB} MB of /tmp, without capabilities",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
