"""Data sets on this machine against a bare loop: the same file read, the same batches run, and nothing written, checked or resumable."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tools.bench.measures import Options, Result, Tick, ratios
from tools.loopback.errors import MeasureError

if TYPE_CHECKING:  # this module is the measured program too, which needs nothing of a subject
    from tools.bench.subject import Subject

__all__ = ["data_sets", "make", "measure"]

_FEATURES = 30
_BATCH = 4096
_GROUP = 50_000
"""Rows of a row group, which Parquet's readers hold as a whole."""
_ROUNDS, _QUICK_ROWS = 4, 10_000


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """Of the group `batch`."""
    rows, rounds = (_QUICK_ROWS, 1) if options.quick else (options.rows, _ROUNDS)
    return data_sets(subject.model, rows=rows, rounds=rounds, tick=tick)


def data_sets(model: Path, *, rows: int, rounds: int, tick: Tick) -> Iterator[Result]:
    """Rows a second and peak memory, for Parquet and CSV; `model` takes an `input` of 30 numbers."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for suffix in ("parquet", "csv"):
            small, large = make(folder / f"small.{suffix}", rows), make(folder / f"large.{suffix}", 10 * rows)
            yield _throughput(model, small, rows, rounds, tick)
            yield _memory(model, small, large, tick)


def make(file: Path, rows: int) -> Path:
    """Rows of 30 numbers and a text, as Parquet or CSV; the same for the same count."""
    import pyarrow as pa  # noqa: PLC0415 - not on the way of what is measured in other processes
    from pyarrow import csv, parquet  # noqa: PLC0415

    generator = np.random.default_rng(1)
    schema = pa.schema([("id", pa.string()), *((f"input_{index}", pa.float32()) for index in range(_FEATURES))])
    with (parquet.ParquetWriter if file.suffix == ".parquet" else csv.CSVWriter)(str(file), schema) as writer:
        for start in range(0, rows, _GROUP):
            count = min(_GROUP, rows - start)
            numbers = generator.random((count, _FEATURES), np.float32)
            writer.write_table(pa.table([pa.array(map(str, range(start, start + count))), *map(pa.array, numbers.T.copy())], schema=schema))
    return file


def _throughput(model: Path, file: Path, rows: int, rounds: int, tick: Tick) -> Result:
    pairs = []
    for number in range(rounds + 1):
        pair = _run("bare", model, file)["seconds"], _run("ours", model, file)["seconds"]
        tick()
        if number:  # the first pair fills the page cache
            pairs.append(pair)
    return ratios(
        pairs,
        name=f"data set, {file.suffix[1:]}",
        group="batch",
        unit="us/row",
        scale=1e6 / rows,
        bar=1 / 0.8,
        comparison=f"plan, score and join {rows:,} rows, as a ratio to reading the same file and session.run in the same batches",
    )


def _memory(model: Path, small: Path, large: Path, tick: Tick) -> Result:
    few, many = (_run("ours", model, file)["megabytes"] for file in (small, large))
    tick()
    return Result(
        name=f"data set memory, {small.suffix[1:]}",
        group="batch",
        unit="MB",
        ours=many,
        floor=few,
        compared=many / few,
        spread=(many / few, many / few),
        bar=1.1,
        comparison="peak memory of 10x the rows, as a ratio",
        runs=1,
    )


def _run(side: str, model: Path, file: Path) -> dict[str, float]:
    """In a process of its own."""
    line = [sys.executable, "-m", "tools.bench.data_sets", side, str(model), str(file)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasureError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _ours(model: Path, file: Path) -> float:
    from modelserve.fetch import LoadedModel  # noqa: PLC0415 - imported by the side that is measured only
    from modelserve.manifest import Manifest  # noqa: PLC0415
    from modelserve.session import open_session  # noqa: PLC0415
    from tools.modelctl import data_sets as scorer  # noqa: PLC0415

    session = open_session(str(model), name="bench", threads=os.cpu_count() or 1)
    manifest = Manifest(
        name="bench",
        version="1",
        created="",
        task="classification",
        inputs=session.inputs,
        outputs=session.outputs,
        files=(),
        opset={},
        ir=8,
        row_wise=True,
    )
    import scoring  # noqa: F401, PLC0415 - both sides are measured from the first byte read

    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        begun = time.perf_counter()
        target = Path(scratch) / file.name
        scorer.score_file(
            LoadedModel(manifest, session, load_seconds=0), file, target, scorer.Options(columns={}), begun=_nothing, progress=_nothing
        )
        return time.perf_counter() - begun


def _nothing(one: int, other: int) -> None:
    """Progress that nobody looks at."""


def _bare(model: Path, file: Path) -> float:
    import onnxruntime  # noqa: PLC0415 - as above
    from pyarrow import csv, parquet  # noqa: F401, PLC0415 - as above

    options = onnxruntime.SessionOptions()  # as ours: a thread that spins takes the core that the reader needs
    options.intra_op_num_threads = os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options)
    batches = _parquet_batches if file.suffix == ".parquet" else _csv_batches
    begun = time.perf_counter()
    for matrix in batches(file):
        for start in range(0, len(matrix), _BATCH):
            session.run(None, {"input": matrix[start : start + _BATCH]})
    return time.perf_counter() - begun


def _parquet_batches(file: Path) -> Iterator[NDArray[Any]]:
    from pyarrow import parquet  # noqa: PLC0415 - as above

    for batch in parquet.ParquetFile(file).iter_batches(_BATCH, columns=[f"input_{index}" for index in range(_FEATURES)]):
        yield np.column_stack([np.asarray(column) for column in batch.columns])


def _csv_batches(file: Path) -> Iterator[NDArray[Any]]:
    import pyarrow as pa  # noqa: PLC0415 - as above
    from pyarrow import csv  # noqa: PLC0415

    names = [f"input_{index}" for index in range(_FEATURES)]
    options = csv.ConvertOptions(include_columns=names, column_types=dict.fromkeys(names, pa.float32()))
    for batch in csv.open_csv(file, read_options=csv.ReadOptions(block_size=4 * 2**20), convert_options=options):
        yield np.column_stack([np.asarray(column) for column in batch.columns])


def main() -> None:
    """One side in this process: seconds, and megabytes at the peak."""
    side, model, file = sys.argv[1:]
    seconds = (_ours if side == "ours" else _bare)(Path(model), Path(file))
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))


def peak_megabytes() -> float:
    """Of this process alone: what it was started from counts in `ru_maxrss` on Linux, and not in VmHWM."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return int(Path("/proc/self/status").read_text("ascii").partition("VmHWM:")[2].split()[0]) / 2**10


if __name__ == "__main__":
    main()
