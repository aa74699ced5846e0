"""The command that makes one model of several that were trained apart: average."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tools.modelctl.console import next_step, out
from tools.modelctl.errors import BuildFailed, UsageFailed

if TYPE_CHECKING:
    import onnx

__all__ = ["average"]

_MEMORY = 10_240  # MB; what the largest function has


def average(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="ONNX models of the same shape.", exists=True, dir_okay=False)],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the average.", dir_okay=False)],
    rows: Annotated[
        list[int] | None, typer.Option("--rows", help="Rows that a model was trained on, once for each in their order; the same without.")
    ] = None,
) -> None:
    """Average the weights of networks that were trained apart, on rows that never left where they are (federated averaging).

    All must be the same graph with the same weights in name, shape and type; what differs is told.
    Example: `modelctl average a.onnx b.onnx --rows 1200 --rows 800 --output both.onnx`
    """
    import onnx  # noqa: PLC0415 - slow to import, which `modelctl list` should not pay

    from tools.modelctl import federated  # noqa: PLC0415
    from tools.modelctl.built import write_file  # noqa: PLC0415

    if output.resolve() in {file.resolve() for file in files}:
        raise UsageFailed(f"--output {output} is one of the models to be averaged; expected another file")
    averaged = federated.average([_read(file) for file in files], rows)
    onnx.checker.check_model(averaged)
    body = averaged.SerializeToString(deterministic=True)
    write_file(output, body)
    out.print(f"Averaged {len(files)} models, by {'their rows' if rows else 'equal parts'}: {output} ({len(body):,} bytes)", soft_wrap=True)
    next_step(f"modelctl import {output} --name NAME")


def _read(file: Path) -> onnx.ModelProto:
    """A model that came from elsewhere is read by the lint before anything else looks at it. Raises `BuildFailed`."""
    import onnx  # noqa: PLC0415 - as above

    from tools.modelctl.lint import lint  # noqa: PLC0415

    if findings := lint(file, memory=_MEMORY):
        raise BuildFailed(f"{file} may not be averaged: {'; '.join(map(str, findings[:3]))}")
    return onnx.load_model(file)
