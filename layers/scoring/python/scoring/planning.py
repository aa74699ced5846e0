"""Makes plans: finds the files, binds their columns to the model, and cuts them into shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from pyarrow.fs import FileSelector, FileType

from . import columns as binding
from .errors import ColumnsMissing, DataSetError, FileUnreadable, NothingToScore, PlanConflict
from .files import OBJECT_STORES, put, read, together
from .formats import Format, Head, format_of
from .plan import BATCH_ROWS, SHARD_BYTES, File, Plan, Shard, Signature
from .sources import fingerprint

__all__ = ["begin", "now", "plan"]

_AT_ONCE = 16  # files, each with a few MiB of it


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
    Reads Parquet footers, the first rows of the others, and CSV files of several shards whole: a quoted line break may stand anywhere.
    Raises `DataSetError`.
    """
    binding.check_rows(model)
    paths = _find(fs, path)
    format_ = format_of(paths[0])
    if others := [each for each in paths if format_of(each) is not format_]:
        raise NothingToScore(
            f"{path} has files of several formats, such as {paths[0]} and {others[0]}; expected one, so give each by itself"
        )

    def look(each: str) -> tuple[File, Head, list[tuple[int, int]]]:
        with fs.open_input_file(each) as source:
            file = File(path=each, size=source.size(), hash=fingerprint(source))
            head = format_.head(source, each)
            return file, head, format_.cut(source, each, head, shard_bytes)

    files, heads, cuts = zip(*together(look, paths, threads=_AT_ONCE), strict=True)
    bounds = [(number, start, stop) for number, cut in enumerate(cuts) for start, stop in cut]
    shards = [Shard(index=index, file=number, start=start, stop=stop) for index, (number, start, stop) in enumerate(bounds)]
    bound, named = _bind(model, format_, paths, heads, given=columns or {}, prefix=prefix)
    return Plan(
        model=model.name,
        version=model.version,
        format=format_.name,
        files=files,
        columns=bound,
        outputs=named,
        batch_rows=batch_rows if model.row_wise else 1,
        shards=tuple(shards),
    )


def _find(fs: Any, path: str) -> list[str]:
    path = path.rstrip("/")
    if fs.type_name in OBJECT_STORES:
        _check_name(path)
    info = fs.get_file_info(path)
    if info.type == FileType.File:
        return [path]
    found = fs.get_file_info(FileSelector(path, recursive=True)) if info.type == FileType.Directory else []
    paths = sorted(each.path for each in found if each.type == FileType.File and not each.base_name.startswith(("_", ".")))
    if not paths:
        raise NothingToScore(f"there is no file at {path}, nor below it; expected .csv, .jsonl, .ndjson or .parquet")
    if fs.type_name in OBJECT_STORES:
        for each in paths:
            _check_name(each)
    return paths


def _check_name(path: str) -> None:
    if {"", ".", ".."} & set(path.split("/")):
        raise FileUnreadable(f"{path} has an empty part, '.' or '..' between slashes, by which no file is found; give it another name")


def _bind(
    model: Signature, format_: Format, paths: Sequence[str], heads: Sequence[Head], *, given: Mapping[str, str | Sequence[str]], prefix: str
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


def begin(plan: Plan, fs: Any, work: str, *, create: Callable[[str, bytes], None] | None = None) -> str:
    """Keeps `plan` under `work`, unless it is there already; the time (UTC, ISO 8601) at which the run first began.

    `create` writes a file unless there is one, so that of two runs that begin at once one alone goes on; without it, which Arrow's
    file systems don't offer, the one that wrote last does, and the other's `score` refuses. Raises `PlanConflict` where another plan is.
    """
    path, wanted = f"{work}/plan.json", plan.to_json()
    known = read(fs, path)
    if known is None:
        put(fs, f"{work}/started.json", orjson.dumps({"started": now()}))
        create(path, wanted) if create else put(fs, path, wanted)
        known = read(fs, path)
    if known != wanted:
        raise PlanConflict(work, _difference(Plan.from_json(known or b""), plan))
    started = read(fs, f"{work}/started.json")
    if started is None:
        raise DataSetError(f"{work} has a plan but no started.json; delete {work} to start anew")
    return str(orjson.loads(started)["started"])


def now() -> str:
    """UTC, ISO 8601, in seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _difference(known: Plan, wanted: Plan) -> str:
    fields = [name for name in Plan.__dataclass_fields__ if getattr(known, name) != getattr(wanted, name)]
    values = {"model": (known.model, wanted.model), "version": (known.version, wanted.version)}
    found = [f"{name} ({values[name][0]} there, {values[name][1]} now)" if name in values else name for name in fields]
    return ", ".join(found) or "form"
