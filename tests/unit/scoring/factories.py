"""A model that is arithmetic, and runs of it over files in a folder."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import parquet
from pyarrow.fs import LocalFileSystem

from modelserve.errors import ModelFailed
from modelserve.manifest import TensorSpec
from modelserve.tensors import Tensor, encode_bytes, strings
from scoring import Manifest, Plan, ShardReport, begin, finish, plan, score

DISK = LocalFileSystem()


class Adder:
    """`total` is x_0 + x_1, `pair` both doubled, `label` the text in capitals; fails for a run with an x_0 of 13."""

    name = "adder"
    version = "20261121T120000Z-00000000"
    inputs: tuple[TensorSpec, ...] = (
        TensorSpec(name="x", datatype="FP32", shape=(-1, 2)),
        TensorSpec(name="text", datatype="BYTES", shape=(-1, 1)),
    )
    outputs: tuple[TensorSpec, ...] = (
        TensorSpec(name="total", datatype="FP32", shape=(-1, 1)),
        TensorSpec(name="pair", datatype="FP32", shape=(-1, 2)),
        TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
    )
    labels: tuple[str, ...] = ()
    row_wise: bool | None = True
    platform = "made"

    def __init__(self) -> None:
        self.rows: list[int] = []

    def run(self, inputs: list[Tensor], outputs: list[str], *, seconds: float) -> list[Tensor]:
        x = np.frombuffer(memoryview(inputs[0].data).cast("B"), "<f4").reshape(inputs[0].shape)
        texts = strings(inputs[1])
        self.rows.append(len(x))
        if (x[:, 0] == 13).any():
            raise ModelFailed(self.name, f"no 13, as in {texts[0]}")
        label = encode_bytes([text.upper().encode() for text in texts])
        return [
            Tensor("total", "FP32", (len(x), 1), x.sum(axis=1)),
            Tensor("pair", "FP32", x.shape, (2 * x).reshape(-1)),
            Tensor("label", "BYTES", (len(x),), label),
        ]

    def ready(self, *, seconds: float) -> None: ...


def run(path: Path, work: Path, *, model: Any = None, shard_bytes: int = 2**26, **options: Any) -> Manifest:
    """The whole of a run."""
    made = plan(
        DISK,
        str(path),
        model or Adder(),
        shard_bytes=shard_bytes,
        **{key: options.pop(key) for key in ("batch_rows", "columns", "prefix") if key in options},
    )
    started = begin(made, DISK, str(work))
    shards(made, work, model=model, **options)
    return finish(made, DISK, str(work), str(work), started=started)


def shards(made: Plan, work: Path, *, model: Adder | None = None, fs: Any = DISK, **options: Any) -> list[ShardReport]:
    """Every shard, in order."""
    return [score(fs, made, shard, model or Adder(), fs, str(work), **options) for shard in made.shards]


def errors(manifest: Manifest) -> list[dict[str, Any]]:
    """The lines of errors.jsonl."""
    return [orjson.loads(line) for line in Path(manifest.errors).read_bytes().splitlines()] if manifest.errors else []


def csv_rows(manifest: Manifest) -> list[list[str]]:
    """Fields of all parts, without their headers."""
    found: list[list[str]] = []
    for part in manifest.parts:
        found += list(csv.reader(io.StringIO(Path(part.path).read_bytes().decode("utf-8-sig"), newline="")))[1:]
    return found


def json_rows(manifest: Manifest) -> list[dict[str, Any]]:
    return [json.loads(line) for part in manifest.parts for line in Path(part.path).read_bytes().splitlines()]


def table(manifest: Manifest) -> Any:
    return pa.concat_tables([parquet.read_table(part.path) for part in manifest.parts])


def write(path: Path, data: bytes | str | Sequence[str]) -> Path:
    """Lines get their breaks."""
    text = data if isinstance(data, bytes | str) else "".join(f"{line}\n" for line in data)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
