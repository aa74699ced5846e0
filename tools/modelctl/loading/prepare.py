"""Finds the way to open a model, leaves its files beside model.onnx, and says in the manifest what each way took."""

from __future__ import annotations

import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np

from models.config import ModelConfig
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, File, Load, Manifest
from modelserve.record import replace
from modelserve.tensors import Tensor, strings
from modelserve.versions import sha256
from tools.modelctl import parity
from tools.modelctl.data import DATATYPES
from tools.modelctl.errors import BuildFailed
from tools.modelctl.example import example
from tools.modelctl.limits import Limits
from tools.modelctl.loading.choice import PLAIN, Figures, choose
from tools.modelctl.loading.compressed import compressed
from tools.modelctl.loading.timing import Subject, Timed, subject, timed
from tools.modelctl.loading.ways import Way, every_way

__all__ = ["SMALL", "Measured", "fastest", "measure", "prepare"]

SMALL = 1_000_000
"""Bytes of a model below which no way is worth more files: it is there and opened within milliseconds as it is."""
_ROWS = 4  # that each way must answer as plain does
_FINALISTS = 3
_ROUNDS = 3  # of these and plain, after one of all
_ARCHITECTURES = {"arm64": "aarch64"}  # of model.toml, as Linux calls them
_NUMBERS = {datatype: np.dtype(name) for name, datatype in DATATYPES.items() if datatype != "BYTES"}
Measured = dict[str, Figures]
"""By the name of the way, from the simplest on."""


def prepare(config: ModelConfig, folder: Path, draft: Manifest, inputs: parity.Answers) -> Manifest:
    """`draft` with how a function opens the model in `folder`, which gets what that needs. `inputs` are held-out rows.

    Raises `BuildFailed` where model.toml asks for what can't be made of this model, or answers otherwise.
    """
    if config.target != "lambda":
        return draft
    asked, model = config.loading.asked, folder / MODEL_FILE
    load, figures = None, None
    if config.loading.format == PLAIN and config.loading.prepack is not False:
        pass  # as it is, whatever that takes
    elif asked or model.stat().st_size >= SMALL:
        load, figures = fastest(config, model, inputs)
    if load is None and asked is None:
        return draft
    return replace(draft, load=load, load_figures=load and figures, load_asked=asked, schema=LOAD_SCHEMA)


def measure(ways: Mapping[str, tuple[Way, tuple[Path, ...]]], config: ModelConfig, inputs: parity.Answers, scratch: Path) -> Measured:
    """What each of `ways` took that answers as plain does; the slowest of them once, the others in turns. Nothing without plain's."""
    requests = list(_requests(inputs, scratch))
    threads = Limits.of(config).threads
    subjects = {name: subject(name, files[0], way.load) for name, (way, files) in ways.items()}
    found = _timed(list(subjects.values()), requests, threads, rounds=1)
    plain = next((one for one in found if one["name"] == PLAIN), None)
    if plain is None:
        return {}
    same = [one for one in found if _agree(plain, one, config)]
    first = _figures(same)
    finalists = {PLAIN, *sorted(first, key=lambda name: first[name].answered_ms)[:_FINALISTS], *_steadiest(first)}
    again = _timed([subjects[name] for name in first if name in finalists], requests[:1], threads, rounds=_ROUNDS)
    return _figures([*same, *again])


def _steadiest(first: Measured) -> list[str]:
    """The fastest to answer of those that run as fast as plain, roughly: one of them may well be taken."""
    steady = [name for name, found in first.items() if found.steady_us <= 1.2 * first[PLAIN].steady_us]
    return sorted(steady, key=lambda name: first[name].answered_ms)[:_FINALISTS]


def fastest(config: ModelConfig, model: Path, inputs: parity.Answers) -> tuple[Load | None, dict[str, dict[str, float]]]:
    """The way to take, its files beside `model` then, and what each took, this one first; no `Load` where it is the model itself.

    Raises `BuildFailed` as `prepare` does.
    """
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        scratch = Path(folder)
        ways = _made(every_way(model, config.loading, architecture=_architecture(config)), scratch)
        figures = measure(ways, config, inputs, scratch)
        insisted = config.loading.insists
        if insisted and len(figures) < 2:
            raise BuildFailed(
                f"{config.name} can't be opened as [loading] of model.toml asks ({config.loading.asked}), or answers otherwise then; "
                "leave [loading] out, and what is fastest is taken"
            )
        name = choose(figures, insisted=insisted) if figures else PLAIN
        taken, files = ways[name]
        load = _placed(taken.load, files, model)
    names = sorted(figures, key=lambda other: other != name)
    return load, {name: {key: round(value, 3) for key, value in asdict(figures[name]).items()} for name in names}


def _made(ways: Iterable[Way], scratch: Path) -> dict[str, tuple[Way, tuple[Path, ...]]]:
    """Those that can be made of this model, with their files."""
    found = {}
    for way in ways:
        with suppress(Exception):  # ONNX Runtime's share no other base; what can't be made isn't taken
            found[way.name] = way, way.make(scratch)
    return found


def _placed(load: Load, files: Sequence[Path], model: Path) -> Load | None:
    """With its files, which lie beside the model then, the first compressed where that pays; None where that leaves the model itself."""
    names = []
    for file in files:
        if file != model:
            file.replace(model.with_name(file.name))
        names.append(model.with_name(file.name))
    packed = compressed(max(names, key=lambda file: file.stat().st_size))
    if packed is not None:
        names = [packed if file == packed.with_suffix("") else file for file in names]
    if packed is None and load.format == PLAIN and load.prepack:
        return None
    stored = tuple(File(path=file.name, size=file.stat().st_size, sha256=sha256(file)) for file in names)
    return replace(load, files=stored, zstd=packed.stem if packed else "")


def _timed(subjects: Sequence[Subject], requests: Sequence[Path], threads: int, *, rounds: int) -> list[Timed]:
    try:
        return timed(subjects, requests, threads=threads, rounds=rounds)
    except (subprocess.CalledProcessError, ValueError):  # such as no library that it could drive: plain ONNX always opens
        return []


def _requests(inputs: parity.Answers, scratch: Path) -> Iterable[Path]:
    for row in range(min(_ROWS, len(next(iter(inputs.values()))))):
        file = scratch / f"request-{row}.json"
        file.write_bytes(example({name: values[row : row + 1] for name, values in inputs.items()}))
        yield file


def _figures(found: Iterable[Timed]) -> Measured:
    """The least of all rounds: whatever else the machine does only adds."""
    by_name: dict[str, list[Timed]] = {}
    for one in found:
        by_name.setdefault(one["name"], []).append(one)
    return {
        name: Figures(
            load_ms=min(one["load_ms"] for one in some),
            first_ms=min(one["first_ms"] for one in some),
            steady_us=min(one["steady_us"] for one in some),
        )
        for name, some in by_name.items()
    }


def _agree(plain: Timed, other: Timed, config: ModelConfig) -> bool:
    pairs = zip(map(_arrays, plain["answers"]), map(_arrays, other["answers"]), strict=True)
    return all(expected.keys() == found.keys() and parity.compare(expected, found, config.parity).passed for expected, found in pairs)


def _arrays(answers: list[tuple[str, str, list[int], str]]) -> parity.Answers:
    return {name: _array(Tensor(name, datatype, tuple(shape), b64decode(data))) for name, datatype, shape, data in answers}


def _array(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    if tensor.datatype == "BYTES":
        return np.array(strings(tensor), dtype=object).reshape(tensor.shape)
    if tensor.datatype == "BF16":  # the upper half of a float32
        return (np.frombuffer(tensor.data, "<u2").astype("<u4") << 16).view("<f4").reshape(tensor.shape)
    return np.frombuffer(tensor.data, _NUMBERS[tensor.datatype]).reshape(tensor.shape)


def _architecture(config: ModelConfig) -> str:
    return _ARCHITECTURES.get(config.function.architecture, config.function.architecture)
