"""Makes plans: finds the files, binds their columns to the model, and cuts them into shards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from pyarrow.fs import FileSelector, FileType

from . import columns as binding
from .errors import ColumnsMissing, DataSetError, NothingToScore, PlanConflict
from .files import put, read
from .formats import Format, Head, format_of
from .plan import BATCH_ROWS, SHARD_BYTES, File, Plan, Shard, Signature

__all__ = ["begin", "fingerprint", "now", "plan"]

_PIECE = 4 * 2**20


def plan(
    fs: Any,
    path: str,
    model: Signature,
    *,
    shard_bytes: int = SHARD_BYTES,
    batch_rows: int = BATCH_ROWS,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    prefix: str = "",
) -> Plan:
    """The plan of a run over the file at `path`, or over every data file below it, sorted by path.

    `columns` binds inputs that columns of their own name don't; `prefix` stands before the outputs' names where these become columns.
    `batch_rows` are asked at once of a model that is `row_wise`, and one of any other: its predictions would depend on the batch.
    Reads Parquet footers, the first rows of the others, and CSV files whole, where a quoted line break may stand anywhere.
    Raises `DataSetError`.
    """
    binding.check_rows(model)
    paths = _find(fs, path)
    format_ = format_of(paths[0])
    if others := [each for each in paths if format_of(each) is not format_]:
        raise NothingToScore(
            f"{path} has files of several formats, such as {paths[0]} and {others[0]}; expected one, so give each by itself"
        )
    files, heads, shards = [], [], list[Shard]()
    for number, each in enumerate(paths):
        with fs.open_input_file(each) as source:
            files.append(File(path=each, size=source.size(), hash=fingerprint(fs, each)))
            heads.append(format_.head(source, each))
            bounds = format_.cut(source, each, heads[-1], shard_bytes)
        shards += [Shard(index=len(shards) + index, file=number, start=start, stop=stop) for index, (start, stop) in enumerate(bounds)]
    bound, named = _bind(model, format_, paths, heads, given=columns or {}, prefix=prefix)
    return Plan(
        model=model.name,
        version=model.version,
        format=format_.name,
        files=tuple(files),
        columns=bound,
        outputs=named,
        batch_rows=batch_rows if model.row_wise else 1,
        shards=tuple(shards),
    )


def _find(fs: Any, path: str) -> list[str]:
    path = path.rstrip("/")
    info = fs.get_file_info(path)
    if info.type == FileType.File:
        return [path]
    found = fs.get_file_info(FileSelector(path, recursive=True)) if info.type == FileType.Directory else []
    paths = sorted(each.path for each in found if each.type == FileType.File and not each.base_name.startswith(("_", ".")))
    if not paths:
        raise NothingToScore(f"there is no file at {path}, nor below it; expected .csv, .jsonl, .ndjson or .parquet")
    return paths


def _bind(
    model: Signature, format_: Format, paths: list[str], heads: list[Head], *, given: Mapping[str, str | Sequence[str]], prefix: str
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Columns and outputs' names that hold for every file."""
    bound: dict[str, tuple[str, ...]] = {}
    named = binding.name_outputs(model.outputs, (), "", prefix=prefix)
    for path, head in zip(paths, heads, strict=True):
        if head.schema != heads[0].schema:
            raise ColumnsMissing(f"{path} has other columns than {paths[0]}; expected the same in every file of a data set")
        if head.columns is None:
            continue
        binding.name_outputs(model.outputs, head.columns, path, prefix=prefix)
        here = binding.bind(model.inputs, head.columns, path, given=given, lists=format_.lists)
        if bound and here != bound:
            raise ColumnsMissing(f"{path} has the model's inputs in other columns than {paths[0]}; expected the same in every file")
        bound = here
        for spec in model.inputs:
            format_.check(head, spec, bound[spec.name], path)
    return bound or {spec.name: (spec.name,) for spec in model.inputs}, named


def fingerprint(fs: Any, path: str) -> str:
    """What names a file's content: `etag:…` where the file system keeps one, else `sha256:…` of all of it."""
    with fs.open_input_stream(path, compression=None) as stream:
        tag = {key.lower(): value for key, value in (stream.metadata() or {}).items()}.get("etag")
        if tag:
            return f"etag:{tag.decode().strip(chr(34))}"
        digest = hashlib.sha256()
        while piece := stream.read(_PIECE):
            digest.update(piece)
        return f"sha256:{digest.hexdigest()}"


def begin(plan: Plan, fs: Any, work: str) -> str:
    """Keeps `plan` under `work`, unless it is there already; the time (UTC, ISO 8601) at which the run first began.

    Raises `PlanConflict` where another plan is.
    """
    known = read(fs, f"{work}/plan.json")
    if known is None:
        put(fs, f"{work}/started.json", orjson.dumps({"started": now()}))
        put(fs, f"{work}/plan.json", plan.to_json())
    elif known != plan.to_json():
        raise PlanConflict(work, _difference(Plan.from_json(known), plan))
    started = read(fs, f"{work}/started.json")
    if started is None:
        raise DataSetError(f"{work} has a plan but no started.json; delete {work} to start anew")
    return str(orjson.loads(started)["started"])


def now() -> str:
    """UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _difference(known: Plan, wanted: Plan) -> str:
    fields = [name for name in vars(wanted) if getattr(known, name) != getattr(wanted, name)]
    values = {"model": (known.model, wanted.model), "version": (known.version, wanted.version)}
    found = [f"{name} ({values[name][0]} there, {values[name][1]} now)" if name in values else name for name in fields]
    return ", ".join(found) or "form"
