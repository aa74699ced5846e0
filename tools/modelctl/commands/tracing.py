"""The command that tells where a cold start's time goes: trace-cold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from models.config import ModelConfig
from modelserve.session import BACKENDS
from tools.modelctl import paths
from tools.modelctl.commands.training import build
from tools.modelctl.console import note, out, print_json, steps
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import Json, Name
from tools.modelctl.trace.advice import before_handler, hints, largest
from tools.modelctl.trace.waterfall import waterfall

if TYPE_CHECKING:
    from tools.modelctl.trace.cold import Cold

__all__ = ["trace_cold"]

_NARROW, _WIDE = 80, 120  # columns, between which a terminal has its way


def trace_cold(
    name: Name,
    *,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Cold starts, of which the median is shown.")] = 5,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend",
            metavar="BACKEND",
            help=f"What drives ONNX Runtime: {' or '.join(BACKENDS)}, whatever a deployment's session_backend says.",
        ),
    ] = None,
    delay: Annotated[
        float, typer.Option("--delay", min=0, max=1000, metavar="MS", help="Milliseconds of a round trip to the store, as a network has.")
    ] = 0.0,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE", dir_okay=False, help="Also draw it, as an SVG.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where the time of a cold start goes: interpreter, imports, store, hash, session, first run.

    Starts the function's own process as Lambda does, with the packages of its image as they are installed here, the version that
    `publish` would make, and a model store on this machine. Trains first if anything changed.
    Examples: `modelctl trace-cold tumour`, `modelctl trace-cold tumour --delay 15 --picture cold.svg`
    """
    config = ModelConfig.load(paths.MODELS / name)
    if config.target != "lambda":
        raise UsageFailed(f'{name} runs on an endpoint, and its function loads no model; trace-cold is for models with target = "lambda"')
    if backend is not None and backend not in BACKENDS:
        raise UsageFailed(f"--backend is {backend!r}; expected one of: {', '.join(BACKENDS)}")
    if picture is not None:
        _writable(picture)
    found = _traced(config, runs, backend, delay)
    if picture is not None:
        from tools.modelctl.trace.picture import picture as drawn  # noqa: PLC0415 - seldom asked for

        picture.write_text(drawn(found.median, _title(found)), "utf-8")
    if as_json:
        print_json(_document(found))
    else:
        _show(found, delay)
    if picture is not None:
        note(f"drawn in {picture}")


def _writable(file: Path) -> None:
    """Before anything takes its time. Raises `UsageFailed`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise UsageFailed(f"--picture {file}: {error.strerror}; name a file that can be written") from None


def _traced(config: ModelConfig, runs: int, backend: str | None, delay: float) -> Cold:
    built = build(config.name)
    from tools.modelctl.trace.cold import trace  # noqa: PLC0415 - brings scikit-learn, which is slow for the other commands

    with steps(config.name) as begin:
        begin(f"{runs} cold starts, behind one that does not count")
        return trace(config, built, runs=runs, backend=backend, delay=delay / 1000)


def _title(found: Cold) -> str:
    return f"Cold start of {found.alias.name}: {found.median.total:.1f} ms to its first answer"


def _show(found: Cold, delay: float) -> None:
    median, first, last = found.median, found.traces[0], found.traces[-1]
    out.print(Text(_title(found), "bold"))
    told = f"median of {len(found.traces)}, {first.total:.1f} to {last.total:.1f} ms; " if len(found.traces) > 1 else ""
    load = found.alias.load.format if found.alias.load else "onnx"
    told = f"{told}{found.backend} backend, {load} of {found.alias.model.size:,} bytes, a function of {found.memory:,} MB"
    out.print(told, soft_wrap=True)
    far = f"{delay:g} ms away" if delay else "on loopback"
    out.print(f"On this machine with all of its CPUs, the packages of the image as they are installed here, a store {far}.", soft_wrap=True)
    out.print()
    for line in waterfall(median, width=min(max(out.width, _NARROW), _WIDE)):
        out.print(line, no_wrap=True, crop=False)
    out.print()
    told = ", ".join(f"{row.label} {row.own:.1f} ms ({row.own / median.total:.0%})" for row in largest(median))
    out.print(f"Largest: {told}; ∥ runs beside the main thread.", soft_wrap=True)
    before = before_handler(median)
    told = f"{before:.1f} ms ({before / median.total:.0%})"
    out.print(f"The interpreter takes the first {told}, whatever a function does.", soft_wrap=True)
    for hint in hints(median):
        note(hint)


def _document(found: Cold) -> dict[str, object]:
    return {
        "name": found.alias.name,
        "version": found.alias.version,
        "backend": found.backend,
        "memory": found.memory,
        "totals_ms": [round(trace.total, 3) for trace in found.traces],
        "hints": hints(found.median),
        **found.median.document(),
    }
