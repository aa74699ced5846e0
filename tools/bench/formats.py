"""Loading large models in the way that is chosen when they are built, beside plain ONNX, in processes whose runs take turns."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.config import ModelConfig
from modelserve.manifest import MODEL_FILE, Load
from tools.bench.big_models import resnet_sample, small_resnet_sample, transformer_sample
from tools.bench.measures import Options, Result, Tick, Unavailable, ratios
from tools.bench.samples import Sample
from tools.bench.subject import Subject
from tools.modelctl.example import example
from tools.modelctl.loading.choice import PLAIN
from tools.modelctl.loading.prepare import fastest
from tools.modelctl.loading.timing import Timed, timed
from tools.modelctl.loading.timing import subject as opened

__all__ = ["measure"]

_OURS = "ours"


@dataclass(frozen=True)
class _Case:
    what: str
    sample: Sample
    cpu: Literal["any", "native"]
    """As in [loading] of model.toml."""
    bar: float | None
    """Of loading; None where nothing is held to one."""


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:  # noqa: ARG001 - every measurement has the same parameters
    """The group `formats`. Raises `Unavailable` where ONNX Runtime's library can't be driven here."""
    for case in _cases(quick=options.quick):
        with tempfile.TemporaryDirectory() as folder:
            rounds = 2 if options.quick else max(3, options.rounds // 2)
            yield from _results(case, _pairs(case, Path(folder), rounds=rounds, tick=tick))


def _cases(*, quick: bool) -> list[_Case]:
    if quick:
        return [_Case("small network", small_resnet_sample(), "native", 0.1)]
    network = resnet_sample()
    return [
        _Case("100 MB convolutional network", network, "native", 0.1),
        _Case("100 MB convolutional network, any CPU", network, "any", None),
        _Case("400 MB transformer", transformer_sample(), "any", 1 / 3),
    ]


def _pairs(case: _Case, folder: Path, *, rounds: int, tick: Tick) -> list[tuple[Timed, Timed]]:
    """What plain ONNX took, and the way that was chosen."""
    model, request = folder / MODEL_FILE, folder / "request.json"
    model.write_bytes(case.sample.model.SerializeToString(deterministic=True))
    inputs = {"input": case.sample.rows}
    request.write_bytes(example(inputs))
    config = ModelConfig.model_validate(
        {"name": "bench", "task": "custom", "loading": {"cpu": case.cpu}, "function": {"ephemeral_storage": 2048}}
    )
    load, figures = fastest(config, model, inputs)
    if not figures:
        raise Unavailable("no way of opening a model could be timed; ONNX Runtime's library has to be where `modelserve.native` finds it")
    as_it_is = Load(format=PLAIN, files=())
    plain = opened(PLAIN, model, as_it_is)
    ours = opened(_OURS, folder / load.files[0].path if load else model, load or as_it_is)
    pairs = []
    for _ in range(rounds):
        by_name = {one["name"]: one for one in timed([plain, ours], [request], threads=1)}
        pairs.append((by_name[PLAIN], by_name[_OURS]))
        tick()
    return pairs


def _results(case: _Case, pairs: list[tuple[Timed, Timed]]) -> Iterator[Result]:
    how = "CPUs like this one" if case.cpu == "native" else "any CPU"
    notes = {case.what: f"{case.sample.what}; opened as chosen for {how}"}
    yield ratios(
        [(plain["load_ms"], ours["load_ms"]) for plain, ours in pairs],
        name=f"load of a {case.what}",
        group="formats",
        unit="ms",
        bar=case.bar,
        comparison="CPU time of loading it as chosen, as a ratio to plain ONNX",
        notes=notes,
    )
    steady = None if case.bar is None else 1.1
    yield ratios(
        [(plain["load_ms"] + plain["first_ms"], ours["load_ms"] + ours["first_ms"]) for plain, ours in pairs],
        name=f"load and first run of a {case.what}",
        group="formats",
        unit="ms",
        bar=steady,
        comparison="CPU time of loading it as chosen and of its first run, which reads what loading only mapped, as a ratio to plain ONNX",
        notes=notes,
    )
    yield ratios(
        [(beside, run) for _, ours in pairs for beside, run in zip(ours["beside_us"], ours["runs_us"], strict=True)],
        name=f"runs of a {case.what}",
        group="formats",
        unit="ms",
        scale=1e-3,
        bar=steady,
        comparison="CPU time of a run after the first, as a ratio to one of plain ONNX right before it",
        notes=notes,
    )
