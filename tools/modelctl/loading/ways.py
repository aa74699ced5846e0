"""The ways to open a model, and the files that each needs: made from model.onnx, which stays what is published."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
import onnxruntime
from onnx import helper
from onnxruntime import GraphOptimizationLevel as Level

from models.config import LoadingConfig
from modelserve.cpu import features
from modelserve.manifest import Load
from modelserve.record import replace
from tools.modelctl.loading.choice import PLAIN

__all__ = ["Way", "every_way", "machine", "needed"]

_ARCHITECTURES = {"arm64": "aarch64", "AMD64": "x86_64"}  # as Linux calls them, from what others do
_KERNELS = {"x86_64": ("avx2", "fma", "avx512f"), "aarch64": ("asimdhp", "asimddp", "i8mm", "bf16", "sve")}
"""What ONNX Runtime's choice of layouts depends on."""
_MAPPED = 1024  # bytes of a weight from which it goes into the file that is mapped
_UNPACKED = 0.35
"""Share of the weights of matrix products that are not packed, where some are. Packing is most of the time that a transformer takes to
load; without any its runs take 1.16 times as long, and without this share 1.05 to 1.07: `choice.STEADY` is far enough."""
_PRODUCTS = {"MatMul", "Gemm", "FusedMatMul"}


@dataclass(frozen=True)
class Way:
    """One way to open a model."""

    name: str
    load: Load
    """Without files: what they are is known once one way is taken."""
    make: Callable[[Path], tuple[Path, ...]]
    """Makes its files in a folder that others may have theirs of, and tells them, the one to open first; raises what ONNX Runtime and
    onnx raise."""


def machine() -> str:
    """This machine's architecture, as Linux says it."""
    found = platform.machine()
    return _ARCHITECTURES.get(found, found)


def needed() -> str:
    """As `Load.cpu`: this kind of CPU, with what it has and lacks of what layouts depend on."""
    known = features()
    return " ".join([machine(), *(word if word in known else f"!{word}" for word in _KERNELS.get(machine(), ()))])


def every_way(model: Path, config: LoadingConfig, *, architecture: str) -> list[Way]:
    """Those that `config` lets be taken, from the simplest on, and plain ONNX first in any case.

    A graph that ONNX Runtime optimised here is for a function of this `architecture` only, with `cpu = "native"` for such a CPU only.
    """
    found = [Way("onnx, not packed", Load(format="onnx", files=(), prepack=False), lambda _: (model,))] if config.prepack is False else []
    found.append(Way("external", Load(format="external", files=(), optimize=True), partial(_external, model)))
    if architecture == machine():
        found += _optimised(model, native=config.cpu == "native")
    asked = [way for way in found if config.format in {"auto", way.load.format} and config.prepack in {None, way.load.prepack}]
    return [Way(PLAIN, Load(format="onnx", files=()), lambda _: (model,)), *asked]


def _optimised(model: Path, *, native: bool) -> list[Way]:
    """Level `all` knows this CPU's layouts; `extended`, below it, only the architecture."""
    level = Level.ORT_ENABLE_ALL if native else Level.ORT_ENABLE_EXTENDED
    base, where = Load(format="optimized", files=(), cpu=needed() if native else machine()), ", for this CPU" if native else ""
    external, ort = replace(base, format="external"), replace(base, format="ort")
    return [
        Way(f"optimized{where}", base, partial(_saved, model, level, "model.optimized.onnx")),
        Way(f"optimized, external{where}", external, partial(_saved_external, model, level)),
        Way(f"optimized, external, partly packed{where}", external, partial(_partly_packed, model, level)),
        Way(f"optimized, external, not packed{where}", replace(external, prepack=False), partial(_saved_external, model, level)),
        Way(f"ort{where}", ort, partial(_saved, model, level, "model.ort")),
        Way(f"ort, not packed{where}", replace(ort, prepack=False), partial(_saved, model, level, "model.ort")),
    ]


def _external(model: Path, folder: Path) -> tuple[Path, ...]:
    """The same graph, its weights in a file that is mapped, not read and copied."""
    file, data = folder / "model.external.onnx", folder / "model.external.bin"
    onnx.save_model(onnx.load_model(model), file, save_as_external_data=True, location=data.name, size_threshold=_MAPPED)
    return file, _existing(data)


def _saved(model: Path, level: Level, name: str, folder: Path, **entries: str) -> tuple[Path, ...]:
    file = folder / name
    if file.exists():
        return (file,)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 4  # it warns that such a graph is for such a CPU
    options.intra_op_num_threads = 1
    for key, value in ({"session.save_model_format": "ORT"} if name.endswith(".ort") else entries).items():
        options.add_session_config_entry(key, value)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return (file,)


def _saved_external(model: Path, level: Level, folder: Path) -> tuple[Path, ...]:
    data = folder / "model.mapped.bin"
    entries = {
        "session.optimized_model_external_initializers_file_name": data.name,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(_MAPPED),
    }
    return *_saved(model, level, "model.mapped.onnx", folder, **entries), _existing(data)


def _partly_packed(model: Path, level: Level, folder: Path) -> tuple[Path, ...]:
    """Some weights are inputs too, which have a default then: ONNX Runtime packs none that a caller could replace."""
    file, data = _saved_external(model, level, folder)
    graph = onnx.load_model(file, load_external_data=False)
    unpacked = _unpacked(graph.graph)
    if not unpacked:
        raise ValueError("no weights of matrix products")
    graph.graph.input.extend(helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims) for weight in unpacked)
    partly = folder / "model.partly.onnx"
    partly.write_bytes(graph.SerializeToString(deterministic=True))
    return partly, data


def _unpacked(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    """Weights of matrix products, at most `_UNPACKED` of them by size, which the same graph gives again.

    Those with the most rows to a column come first: a run that arranges them itself loses the least by it. Of those of one shape some
    are taken from all over the graph.
    """
    weights = _weights_of_products(graph)
    room = _UNPACKED * sum(_size(weight) for weight, _ in weights)
    found: list[onnx.TensorProto] = []
    for shape in sorted({rows for _, rows in weights}, reverse=True):
        same = [weight for weight, rows in weights if rows == shape]
        taken = _spread(same, room / sum(map(_size, same)))
        room -= sum(map(_size, taken))
        found += taken
    return found


def _weights_of_products(graph: onnx.GraphProto) -> list[tuple[onnx.TensorProto, float]]:
    """Each with its rows to a column, as the product sees them."""
    initializers = {weight.name: weight for weight in graph.initializer if len(weight.dims) == 2 and all(weight.dims)}
    found = {}
    for node in graph.node:
        if node.op_type in _PRODUCTS and node.input[1] in initializers:
            weight = initializers[node.input[1]]
            turned = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            found[weight.name] = weight, weight.dims[1] / weight.dims[0] if turned else weight.dims[0] / weight.dims[1]
    return list(found.values())


def _spread(weights: list[onnx.TensorProto], share: float) -> list[onnx.TensorProto]:
    """At most `share` of them by size, from the first to the last."""
    found, seen, taken = [], 0, 0
    for weight in weights:
        seen += _size(weight)
        if taken + _size(weight) <= share * seen:
            taken += _size(weight)
            found.append(weight)
    return found


def _size(weight: onnx.TensorProto) -> int:
    return int(weight.dims[0] * weight.dims[1])


def _existing(file: Path) -> Path:
    """Raises `ValueError` for a graph without a weight that is worth a file."""
    if not file.exists() or not file.stat().st_size:
        raise ValueError("no weights to map")
    return file
