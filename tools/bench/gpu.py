"""`python -m tools.bench.gpu`: the sample models on this machine's GPU against its CPU, the same graph and the same rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer

from tools.bench.devices import Answers, Device, Run, cpu, gpu
from tools.bench.samples import SAMPLES, Sample
from tools.loopback.errors import MeasureError

__all__ = ["BEGIN", "END", "Measured", "app", "compare", "document", "measure", "write"]

BATCHES = (1, 8, 32, 128)
BEGIN, END = "<!-- gpu -->", "<!-- /gpu -->"
_LEAST, _SECONDS = 3, 30.0  # rounds that a batch has at least; beyond them it ends with its time
app = typer.Typer(add_completion=False)


@dataclass(frozen=True)
class Measured:
    """One sample on both devices."""

    sample: Sample
    difference: float
    """The largest of a number, relative to the larger of 1 and its magnitude."""
    equal: int
    rows: int
    seconds: dict[int, tuple[float, float]]
    """Medians of a run on the CPU and on the GPU, by batch size."""


@app.command()
def bench(
    samples: Annotated[list[str] | None, typer.Option("--sample", help=f"One of {', '.join(SAMPLES)}; may be repeated.")] = None,
    *,
    rounds: Annotated[int, typer.Option(min=_LEAST, help="Runs of each batch on each device, as far as 30 s allow.")] = 30,
    markdown: Annotated[Path | None, typer.Option(help="A page whose marked block is replaced by the figures.")] = None,
) -> None:
    """Compare this machine's GPU with its CPU: parity, and the speed ratio per batch size. Exits 2 where there is no GPU."""
    device = gpu()
    if device is None:
        print("No GPU can be used here: expected an NVIDIA GPU with onnxruntime-gpu, or with torch and its CUDA libraries.")
        raise typer.Exit(2)
    try:
        names = samples or ["digits_cnn", "transformer"]
        if unknown := [name for name in names if name not in SAMPLES]:
            raise MeasureError(f"there is no sample {unknown[0]!r}; expected one of {', '.join(SAMPLES)}")
        found = document([measure(SAMPLES[name](), cpu(), device, rounds) for name in names], cpu(), device)
        print(found)
        if markdown:
            write(markdown, found)
    except MeasureError as error:
        print(f"bench: {error}")
        raise typer.Exit(1) from None


def measure(sample: Sample, reference: Device, device: Device, rounds: int, batches: Sequence[int] = BATCHES) -> Measured:
    """Both run in turns, so that whatever else this machine does meets them alike."""
    runs = reference.open(sample.model), device.open(sample.model)
    difference, equal = compare(runs[0](sample.rows), runs[1](sample.rows))
    seconds = {batch: _medians(runs, sample.rows[:batch], rounds) for batch in batches}
    return Measured(sample, difference, equal, len(sample.rows), seconds)


def compare(expected: Answers, found: Answers) -> tuple[float, int]:
    """The largest difference of a number, as modelctl's parity defines it, and how many labels are equal."""
    wide = expected["probabilities"].astype(np.float64)
    difference = np.abs(wide - found["probabilities"]) / np.maximum(1, np.abs(wide))
    return float(np.max(difference)), int((expected["label"] == found["label"]).sum())


def document(results: Sequence[Measured], reference: Device, device: Device) -> str:
    """Markdown that says what ran where and when, a table a sample."""
    head = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d}, all in FP32: {device.name} ({device.engine})\n"
        f"against {reference.name} ({reference.engine}).\n"
        "Medians of runs in turns, copies to and from the GPU included."
    )
    return "\n\n".join([head, *map(_table, results)])


def write(page: Path, text: str) -> None:
    """Between the page's marks. Raises `MeasureError` where it has none."""
    whole = page.read_text("utf-8")
    before, begin, rest = whole.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise MeasureError(f"{page} has no block to write to; expected the lines {BEGIN} and {END} in it")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", "utf-8")


def _medians(runs: tuple[Run, Run], rows: np.ndarray, rounds: int) -> tuple[float, float]:
    for run in runs:
        run(rows)  # allocates for this size, and picks its kernels
    pairs: list[tuple[float, ...]] = []
    begun = time.perf_counter()
    while len(pairs) < rounds and (len(pairs) < _LEAST or time.perf_counter() - begun < _SECONDS):
        pairs.append(tuple(_seconds(run, rows) for run in runs))
    reference, device = zip(*pairs, strict=True)
    return median(reference), median(device)


def _seconds(run: Run, rows: np.ndarray) -> float:
    begun = time.perf_counter()
    run(rows)
    return time.perf_counter() - begun


def _table(result: Measured) -> str:
    lines = [
        f"**{result.sample.name}** ({result.sample.what}): numbers differ by at most {result.difference:.1e}, "
        f"{result.equal}/{result.rows} labels are equal.",
        "",
        "| rows | CPU ms | GPU ms | ratio |",
        "| ---: | ---: | ---: | ---: |",
        *(f"| {batch} | {own * 1e3:.2f} | {other * 1e3:.2f} | {own / other:.1f} |" for batch, (own, other) in result.seconds.items()),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app()
