"""Finds the way to open a model, leaves its files beside model.onnx, and says in the manifest what each way took."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median

from models.config import ModelConfig
from modelserve.manifest import LOAD_SCHEMA, MODEL_FILE, File, Load, Manifest
from modelserve.record import replace
from modelserve.versions import sha256
from tools.modelctl import parity
from tools.modelctl.errors import BuildFailed
from tools.modelctl.example import example
from tools.modelctl.limits import Limits
from tools.modelctl.loading.answers import agree
from tools.modelctl.loading.choice import PLAIN, Figures, choose, settled
from tools.modelctl.loading.compressed import compressed
from tools.modelctl.loading.examine import Terms, examine_load
from tools.modelctl.loading.timing import Subject, Timed, subject, timed
from tools.modelctl.loading.ways import Way, every_way
from tools.modelctl.paths import EXAMPLE_FILE
from tools.modelctl.trial import Refused, attempt

__all__ = ["SMALL", "Measured", "fastest", "measure", "prepare"]

SMALL = 1_000_000
"""Bytes of a model below which no way is worth more files: it is there and opened within milliseconds as it is."""
_MAPPED = ("external", "ort")
_ROWS = 4  # that each way must answer as plain does
_FINALISTS = 3
_LIKELY = 1.15  # times as long as plain's: runs of one turn that more of them may show to be fast enough
_SCREENED, _PAIRS = 2, 6  # runs beside plain's in the first turn, and in each other one
_LEAST, _MOST = 2, 7  # turns of these and plain, after one of all
_SECONDS = 60.0  # after which no turn begins
_ARCHITECTURES = {"arm64": "aarch64"}  # of model.toml, as Linux calls them
Measured = dict[str, Figures]
"""By the name of the way, from the simplest on."""
Made = Mapping[str, tuple[Way, tuple[Path, ...]]]
"""Ways and their files, by name."""
Turn = dict[str, Timed]
"""One opening of each, by name."""
Tell = Callable[[str], None]
"""Is told each step as it begins."""


def prepare(config: ModelConfig, folder: Path, draft: Manifest, inputs: parity.Answers, *, tell: Tell = lambda _: None) -> Manifest:
    """`draft` with how a function opens the model in `folder`, which gets what that needs. `inputs` are held-out rows.

    A model below `SMALL` is opened as it is, and not measured. Raises `BuildFailed` where model.toml asks for what can't be made of this
    model, or answers otherwise.
    """
    if config.target != "lambda":
        return draft
    asked, model = config.loading.asked, folder / MODEL_FILE
    load, figures = None, None
    if config.loading.format == PLAIN and config.loading.prepack is not False:
        pass  # as it is, whatever that takes
    elif asked or model.stat().st_size >= SMALL:
        load, figures = fastest(config, model, inputs, tell=tell)
    if not figures and asked is None:
        return draft
    if load is not None:
        tell("opening and asking it so, within the memory and time that it will have")
        _try(config, folder, load)
    return replace(draft, load=load, load_figures=figures or None, load_asked=asked, schema=LOAD_SCHEMA)


def _try(config: ModelConfig, folder: Path, load: Load) -> None:
    """Raises `BuildFailed` where a function could not open it so, or would answer otherwise."""
    limits, request = Limits.of(config), folder / EXAMPLE_FILE
    asked = request if request.exists() else None
    plain = attempt(folder / MODEL_FILE, asked, limits)
    found = (plain,) if isinstance(plain, Refused) else examine_load(folder, load, Terms(plain, asked, limits, config.parity))
    if found:
        raise BuildFailed(f'{config.name} can\'t be opened as {load.format}: {found[0]}; or set format = "onnx" in [loading] of model.toml')


def fastest(
    config: ModelConfig, model: Path, inputs: parity.Answers, *, tell: Tell = lambda _: None
) -> tuple[Load | None, dict[str, dict[str, float]]]:
    """The way to take, its files beside `model` then, and what each took, this one first; no `Load` where it is the model itself.

    Raises `BuildFailed` as `prepare` does.
    """
    with tempfile.TemporaryDirectory(dir=model.parent) as folder:
        scratch = Path(folder)
        tell("making what other ways of opening it need")
        ways = _fitting(_made(every_way(model, config.loading, architecture=_architecture(config)), scratch), config, tell)
        tell(f"measuring {len(ways)} ways of opening it, for about a minute at most")
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


def measure(ways: Made, config: ModelConfig, inputs: parity.Answers, scratch: Path) -> Measured:
    """What each of `ways` took that answers as plain does: all of them once, then the best in turns, until the choice is clear.

    No turn begins after `_SECONDS`. Empty where plain could not be timed.
    """
    requests = list(_requests(inputs, scratch))
    threads, insisted = Limits.of(config).threads, config.loading.insists
    subjects = {name: subject(name, files[0], way.load) for name, (way, files) in ways.items()}
    end = time.monotonic() + _SECONDS
    turns = [_agreeing(_timed(list(subjects.values()), requests, threads, pairs=_SCREENED), config)]
    figures = _figures(turns)
    if len(figures) < 2:
        return figures
    finalists = [PLAIN, *_finalists(figures, insisted=insisted)]
    while len(turns) <= _LEAST or (len(turns) <= _MOST and not settled(figures, insisted=insisted)):
        if time.monotonic() > end:
            break
        turns.append(_timed([subjects[name] for name in finalists], requests[:1], threads, pairs=_PAIRS))
        figures = _figures(turns)
    return figures


def _finalists(first: Measured, *, insisted: bool) -> list[str]:
    """The fastest to answer of those whose runs may turn out to be fast enough."""
    likely = [name for name, found in first.items() if insisted or found.steady_us <= _LIKELY * first[PLAIN].steady_us]
    return sorted(set(likely) - {PLAIN}, key=lambda name: first[name].answered_ms)[:_FINALISTS]


def _made(ways: Iterable[Way], scratch: Path) -> Made:
    """Those that can be made of this model, with their files."""
    found = {}
    for way in ways:
        with suppress(Exception):  # ONNX Runtime's share no other base; what can't be made isn't taken
            found[way.name] = way, way.make(scratch)
    return found


def _fitting(made: Made, config: ModelConfig, tell: Tell) -> Made:
    """Those beside which the next version has room: what is mapped stays in /tmp as long as it is loaded. Raises `BuildFailed`."""
    room, needs = config.function.ephemeral_storage, {name: _mapped_mebibytes(way, files) for name, (way, files) in made.items()}
    most = 2 * max(needs.values(), default=0)
    if most > room:
        advice = f"ephemeral_storage = {most} in [function] of model.toml has room for it, and for the next version beside it"
        if config.loading.insists:
            raise BuildFailed(f"{config.name} stays in /tmp while it is loaded, as [loading] of model.toml asks; {advice}")
        tell(f"leaving out ways for which /tmp is too small; {advice}")
    return {name: found for name, found in made.items() if 2 * needs[name] <= room}


def _mapped_mebibytes(way: Way, files: Sequence[Path]) -> int:
    """0 of what is deleted once it is open."""
    return -(-sum(file.stat().st_size for file in files) // 2**20) if way.load.format in _MAPPED else 0


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


def _timed(subjects: Sequence[Subject], requests: Sequence[Path], threads: int, *, pairs: int) -> Turn:
    try:
        return {one["name"]: one for one in timed(subjects, requests, threads=threads, pairs=pairs)}
    except (subprocess.CalledProcessError, ValueError):  # such as no library that it could drive: plain ONNX always opens
        return {}


def _requests(inputs: parity.Answers, scratch: Path) -> Iterable[Path]:
    for row in range(min(_ROWS, len(next(iter(inputs.values()))))):
        file = scratch / f"request-{row}.json"
        file.write_bytes(example({name: values[row : row + 1] for name, values in inputs.items()}))
        yield file


def _agreeing(turn: Turn, config: ModelConfig) -> Turn:
    return {name: one for name, one in turn.items() if _agree(turn[PLAIN], one, config)}


def _figures(turns: Sequence[Turn]) -> Measured:
    """Medians: of plain what it took, of each other way its ratios to plain in the same turn, as times of plain's."""
    turns = [turn for turn in turns if PLAIN in turn]
    if not turns:
        return {}
    plain = [turn[PLAIN] for turn in turns]
    beside = [us for turn in turns for one in turn.values() for us in one["beside_us"]]
    found = {PLAIN: Figures(median(one["load_ms"] for one in plain), median(one["first_ms"] for one in plain), median(beside or [0.0]))}
    for name in turns[0]:
        pairs = [(turn[PLAIN], turn[name]) for turn in turns if name in turn]
        if name != PLAIN:
            found[name] = _times(found[PLAIN], pairs)
    return found


def _times(plain: Figures, pairs: Sequence[tuple[Timed, Timed]]) -> Figures:
    runs = [us / beside for _, other in pairs for us, beside in zip(other["runs_us"], other["beside_us"], strict=True)]
    return Figures(
        load_ms=plain.load_ms * median(other["load_ms"] / beside["load_ms"] for beside, other in pairs),
        first_ms=plain.first_ms * median(other["first_ms"] / beside["first_ms"] for beside, other in pairs),
        steady_us=plain.steady_us * median(runs),
    )


def _agree(plain: Timed, other: Timed, config: ModelConfig) -> bool:
    return all(agree(expected, found, config.parity) for expected, found in zip(plain["answers"], other["answers"], strict=True))


def _architecture(config: ModelConfig) -> str:
    return _ARCHITECTURES.get(config.function.architecture, config.function.architecture)
