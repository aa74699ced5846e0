"""The models that both targets serve: those of this repository, and graphs of every kind of tensor that Triton takes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from models.config import MODELS, GpuConfig, ModelConfig
from modelserve.manifest import ARCHIVE_FILE, MODEL_FILE, Manifest, TensorSpec
from modelserve.record import replace
from tests.hostile.case import Arrays
from tests.hostile.targets import HALVES, KINDS, NUMBERS, TARGETS, Target, dtype
from tests.unit.modelserve.graphs import identity, non_zero, scaled, session
from tools.modelctl import lifecycle, triton

__all__ = ["GPU", "Sample", "graphs", "repository"]

GPU = "_gpu"
"""What the name of a sample's twin behind Triton ends with."""
_REPOSITORY = ("digits_cnn", "fruit", "house_price", "income", "tumour", "wine_segments")
_WORDS = ("management", "private", "public", "", "naïve", "数")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One model: a file and a draft of its manifest; `rows` of it are `base` with other numbers."""

    draft: Manifest
    model: Path
    gpu: GpuConfig = field(default_factory=GpuConfig)
    earlier: Path | None = None
    """Another version, which answers otherwise."""
    base: Arrays = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.draft.name

    @property
    def target(self) -> Target:
        """As requests are drafted for; nobody asks it for the answer."""
        inputs, outputs = ({spec.name: spec.datatype for spec in specs} for specs in (self.draft.inputs, self.draft.outputs))
        only = {"FP16"} & {*inputs.values(), *outputs.values()}
        return Target(
            name=self.name, model=self.model.read_bytes, inputs=inputs, outputs=outputs, answer=lambda _: {}, binary_only=bool(only)
        )

    def arrays(self, rng: np.random.Generator, rows: int) -> Arrays:
        """Inputs that fit the signature."""
        return {spec.name: self._array(rng, spec, rows) for spec in self.draft.inputs}

    def versions(self, name: str, folder: Path) -> list[tuple[Manifest, dict[str, Path]]]:
        """What is published under `name`, oldest first: a draft and its files, among them what Triton loads where the name is a twin's."""
        models = [each for each in (self.earlier, self.model) if each is not None]
        return [self._version(replace(self.draft, name=name), model, folder) for model in models]

    def _version(self, draft: Manifest, model: Path, folder: Path) -> tuple[Manifest, dict[str, Path]]:
        files = {MODEL_FILE: model}
        if not draft.name.endswith(GPU):
            return draft, files
        packed = folder / f"{draft.name}-{model.stem}.tar.gz"
        triton.archive(model, draft, self.gpu, packed)
        return replace(draft, max_batch=triton.max_batch(draft, self.gpu)), {**files, ARCHIVE_FILE: packed}

    def _array(self, rng: np.random.Generator, spec: TensorSpec, rows: int) -> Any:
        shape = tuple(rows if size < 0 else size for size in spec.shape)
        if spec.datatype == "BYTES":
            words = [*_WORDS, *self.base.get(spec.name, np.array([])).ravel()]
            return np.array([str(words[index]) for index in rng.integers(len(words), size=shape).ravel()], object).reshape(shape)
        if spec.name in self.base:
            return (self.base[spec.name] * rng.uniform(0.2, 2, shape)).astype(dtype(spec.datatype))
        return rng.integers(0, 3, shape).astype(dtype(spec.datatype))


def graphs(folder: Path) -> list[Sample]:
    """The attacked targets of functions but the one with BF16, which Triton's ONNX backend can't pass; FP16, fixed and found shapes."""
    made = {target.name: target.model() for target in TARGETS if target is not HALVES and not target.gpu}
    made |= {"half": identity("FP16"), "square": identity("FP32", (2, 2)), "positions": non_zero()}
    return [_graph(folder, name, graph) for name, graph in made.items()]


def repository() -> list[Sample]:
    """Those of this repository's own models whose tensors differ: trained where they have to be."""
    return [_built(ModelConfig.load(MODELS / name)) for name in _REPOSITORY]


def _graph(folder: Path, name: str, graph: bytes) -> Sample:
    model = folder / f"{name}.onnx"
    model.write_bytes(graph)
    ran = session(graph, name=name)
    draft = Manifest(
        name=name, version="", created="", task="regression", inputs=ran.inputs, outputs=ran.outputs, files=(), opset={"": 21}, ir=10
    )
    gpu = GpuConfig(max_batch=8, preferred_batch_sizes=(4,), queue_delay=200) if name in {NUMBERS.name, KINDS.name} else GpuConfig()
    return Sample(draft=draft, model=model, gpu=gpu, earlier=_earlier(folder) if name == NUMBERS.name else None)


def _earlier(folder: Path) -> Path:
    model = folder / "earlier.onnx"
    model.write_bytes(scaled(3.0))
    return model


def _built(config: ModelConfig) -> Sample:
    built = lifecycle.build(config)
    inputs = json.loads(built.example.read_bytes())["inputs"]
    base = {each["name"]: np.array(each["data"], dtype(each["datatype"])).reshape(each["shape"]) for each in inputs}
    return Sample(draft=replace(built.manifest, max_batch=None), model=built.model, gpu=config.gpu, base=base)
