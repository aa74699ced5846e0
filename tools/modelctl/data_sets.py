"""A data set scored on this machine: which model, where the unfinished run lies, and how it becomes one file."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from modelserve.errors import RegistryError
from modelserve.fetch import Fetcher, LoadedModel
from modelserve.manifest import MODEL_FILE, Manifest
from modelserve.record import replace as with_changes
from tools.modelctl import paths
from tools.modelctl.deployment import find
from tools.modelctl.errors import DeploymentNotFound, UsageFailed
from tools.modelctl.s3 import S3Store

if TYPE_CHECKING:
    import scoring
    from modelserve.manifest import Load
    from modelserve.session import Session

__all__ = ["Options", "Result", "local_model", "score_file", "unfinished"]

_ALIAS = "production"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How columns are bound, and what the model refuses."""

    columns: Mapping[str, str | Sequence[str]]
    prefix: str = ""
    refuse_nan: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run has left."""

    manifest: scoring.Manifest
    manifest_file: Path
    shards: int
    resumed: int
    """Of these, what an earlier start had scored."""


def local_model(name: str) -> tuple[LoadedModel, str]:
    """What `make run` has promoted to production, or without it what training has left; and which of them it is.

    Raises `UsageFailed` where there is neither.
    """

    def opened(path: str, load: Load | None) -> Session:
        from modelserve.session import open_session  # noqa: PLC0415 - takes a tenth of a second, which other commands should not pay

        return open_session(path, name=name, threads=os.cpu_count() or 1, load=load)

    try:
        target = find("local")
        store = S3Store(target.client("s3"), target.bucket)
        return Fetcher(store, opened)(target.registry().alias(name, _ALIAS)), f"{_ALIAS} of `make run`"
    except (DeploymentNotFound, RegistryError, BotoCoreError, ClientError):
        return _built(name, opened), f"build/models/{name}"


def _built(name: str, opened: Callable[[str, Load | None], Session]) -> LoadedModel:
    folder = paths.BUILD / name
    try:
        report = orjson.loads((folder / paths.REPORT_FILE).read_bytes())
        manifest = Manifest.from_json(orjson.dumps(report["manifest"]), what=paths.REPORT_FILE)
        digest = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, RegistryError):
        raise UsageFailed(f"{name} is neither promoted on this machine nor trained; run: modelctl train {name}") from None
    return LoadedModel(with_changes(manifest, version=f"built-{digest[:8]}"), opened(str(folder / MODEL_FILE), None), load_seconds=0)


def score_file(
    model: LoadedModel,
    source: Path,
    target: Path,
    options: Options,
    *,
    begun: Callable[[int, int], None],
    progress: Callable[[int, int], None],
) -> Result:
    """Scores a file, or every file of a folder, to one file; an interrupted run goes on where it stopped.

    `begun` is told the bytes there are, and those of them that were scored before; `progress` the rows and bytes of each block.
    Raises `UsageFailed`, `scoring.DataSetError`, `ServeError`.
    """
    from pyarrow.fs import LocalFileSystem  # noqa: PLC0415

    import scoring  # noqa: PLC0415 - with pyarrow, which takes a quarter of a second that other commands should not pay

    disk, work = LocalFileSystem(), unfinished(target)
    if target.exists() and not work.exists():
        raise UsageFailed(f"{target} is there already; expected a new name, or delete that file first")
    plan = scoring.plan(disk, str(source.resolve()), model, shard_bytes=scoring.SHARD_BYTES, columns=options.columns, prefix=options.prefix)
    if (suffix := _suffix(target)) != plan.format:
        raise UsageFailed(f"{target} would be {suffix or 'of no known format'}; expected .{plan.format}, the format of {source}")
    stamps = _stamps(plan)
    started = scoring.begin(plan, disk, str(work))
    known = [report for shard in plan.shards if (report := scoring.kept(plan, shard, disk, str(work)))]
    total = sum(file.size for file in plan.files)
    begun(total, total * len(known) // len(plan.shards))
    for shard in plan.shards:
        scoring.score(disk, plan, shard, model, disk, str(work), refuse_nan=options.refuse_nan, progress=progress)
    if _stamps(plan) != stamps:
        shutil.rmtree(work)  # nobody knows which parts are of which content
        raise UsageFailed(f"{source} was written to while it was read, so nothing of the run is kept; when it is whole, start it again")
    manifest = scoring.finish(plan, disk, str(work), str(work), started=started)
    part = scoring.join(plan, disk, str(work), str(work / "joined"))
    (work / "joined").replace(target)
    manifest, file = _settled(replace(manifest, parts=(replace(part, path=str(target.resolve())),)), target, work)
    return Result(manifest=manifest, manifest_file=file, shards=len(plan.shards), resumed=len(known))


def _stamps(plan: scoring.Plan) -> list[tuple[int, int]]:
    """Size and time of change of each file: a disk has no ETags, and hashing a file for every shard would take longer than scoring."""
    stats = [Path(file.path).stat() for file in plan.files]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def unfinished(target: Path) -> Path:
    """Where a run lies until its output is whole."""
    return target.with_name(f"{target.name}.unfinished")


def _settled(manifest: scoring.Manifest, target: Path, work: Path) -> tuple[scoring.Manifest, Path]:
    """Errors and manifest beside the output; the manifest last, and then nothing of the run is left."""
    errors = target.with_name(f"{target.name}.errors.jsonl")
    if manifest.errors:
        Path(manifest.errors).replace(errors)
        manifest = replace(manifest, errors=str(errors.resolve()))
    else:
        errors.unlink(missing_ok=True)
    file = target.with_name(f"{target.name}.manifest.json")
    (work / "manifest.json").write_bytes(manifest.to_json())
    (work / "manifest.json").replace(file)
    shutil.rmtree(work)
    return manifest, file


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower().removeprefix(".")
    return "jsonl" if suffix == "ndjson" else suffix
