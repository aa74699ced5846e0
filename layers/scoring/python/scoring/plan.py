"""What a run will do, decided before it begins: the files as they are now, the columns the model needs, and the shards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Protocol

import orjson

from modelserve.manifest import TensorSpec

from .errors import DataSetError

__all__ = ["BATCH_ROWS", "CODE", "SCHEMA", "SHARD_BYTES", "File", "Plan", "Shard", "Signature"]

SCHEMA = 1
"""Of plans and manifests; a reader refuses a newer one."""
CODE = "1"
"""Raised when the same plan would give other parts, so that no run is resumed by other code."""
SHARD_BYTES = 64 * 2**20
BATCH_ROWS = 4096
"""More at once take more memory, and no less time."""


class Signature(Protocol):
    """What a plan needs of a model: `modelserve.manifest.Manifest` has it, and so has a loaded one."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def row_wise(self) -> bool | None:
        """Whether a row is answered alone as it is among others; None where nobody looked."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of the data set; `size` in bytes, `hash` such as `etag:…` or `sha256:…`."""

    path: str
    size: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A run of whole rows of one file: bytes `start` to `stop` of it, or its row groups `start` to `stop`."""

    index: int
    file: int
    """Of `Plan.files`."""
    start: int
    stop: int

    def to_dict(self) -> dict[str, int]:
        """As JSON takes it: an item of a Distributed Map."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Shard:
        """Other keys are no concern of it. Raises `KeyError`, `TypeError`, `ValueError`."""
        return cls(**{name: int(document[name]) for name in ("index", "file", "start", "stop")})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run over a data set with one version of a model."""

    model: str
    version: str
    format: str
    """`csv`, `jsonl` or `parquet`, of the files and of the parts alike."""
    files: tuple[File, ...]
    columns: Mapping[str, tuple[str, ...]]
    """Input of the model to the columns it is read from."""
    outputs: Mapping[str, str]
    """Output of the model to the column it is written to."""
    batch_rows: int
    """How many rows the model is asked at once, at most: 1 unless it is known to answer a row alone as it does among others."""
    shards: tuple[Shard, ...]
    code: str = CODE
    schema: int = SCHEMA

    @cached_property
    def id(self) -> str:
        """SHA-256, in hex, of everything that the parts follow from: equal plans make equal parts."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """Without dates, so that the same run is the same bytes."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @classmethod
    def from_json(cls, body: bytes) -> Plan:
        """Raises `DataSetError` for anything but a plan, or one of a newer schema."""
        try:
            document = orjson.loads(body)
            if document["schema"] > SCHEMA:
                raise DataSetError(f"the plan has schema {document['schema']}; this code reads up to {SCHEMA}; deploy the newer release")
            document["files"] = tuple(File(**item) for item in document["files"])
            document["shards"] = tuple(Shard.from_dict(item) for item in document["shards"])
            document["columns"] = {name: tuple(columns) for name, columns in document["columns"].items()}
            return cls(**document)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise DataSetError(f"what was read is no plan ({type(error).__name__}: {error}); plan the run again") from None
