"""The command that scores data sets: batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from models.config import ModelConfig
from tools.modelctl import data_sets, paths
from tools.modelctl.commands import batch_remote
from tools.modelctl.console import err, next_step, note, out, print_json
from tools.modelctl.data_sets_remote import DataSets, address
from tools.modelctl.deployment import find
from tools.modelctl.errors import UsageFailed
from tools.modelctl.options import DeploymentName, DeploymentOption, Json, OptionalName, Profile

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["batch", "bindings"]

_INTERRUPTED = 130  # as a shell has it for SIGINT


def batch(
    name: OptionalName = None,
    *,
    input_path: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="PATH", help="CSV, JSON Lines or Parquet, or a folder of one of these: s3://…, or with --local a path."
        ),
    ] = None,
    output_path: Annotated[
        str | None,
        typer.Option(
            "--output", metavar="PATH", help="The same rows with predictions, in the same format: s3://…/, or with --local a file."
        ),
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Run on this machine, without AWS.")] = False,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", metavar="INPUT=COLUMN[,…]", help="Where an input's columns are not called as it is; may be repeated."),
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="Stands before the outputs' names, such as `predicted_`.")] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Start the run on a deployment, and don't wait for it.")] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Follow a run of a deployment, or score what is missing of one that failed."),
    ] = None,
    deployment: DeploymentOption = DeploymentName.LOCAL,
    profile: Profile = None,
    as_json: Json = False,
) -> None:
    """Score a data set: the same rows in the same order, with a column for each output of the model.

    A row that can't be scored has no prediction, and its number and the reason go to a file of errors. On a deployment any number of
    functions work at it, and Ctrl-C leaves them at it. With `--local` a run that was interrupted goes on where it stopped when the
    command is given again.

    Examples: `modelctl batch tumour --input s3://bucket/in/ --output s3://bucket/out/ --deployment dev`,
    `modelctl batch tumour --input data.parquet --output out.parquet --local`
    """
    if resume is not None:
        if name or input_path or output_path or local:
            raise UsageFailed(
                "--resume RUN goes on with what the run was started for; expected no NAME, --input, --output or --local beside it"
            )
        target = find(deployment, profile=profile)
        runs = DataSets(target)
        batch_remote.follow(target, runs, runs.resume(resume), detach=detach, as_json=as_json)
    elif not name or not input_path:
        raise UsageFailed("what is to be scored by which model is not said; expected NAME and --input, or --resume RUN")
    elif local:
        if not output_path:
            raise UsageFailed("where the predictions are to go is not said; expected --output FILE with --local")
        _batch_local(name, Path(input_path), Path(output_path), bindings(columns or []), prefix=prefix, as_json=as_json)
    else:
        source = address("--input", input_path, model=name)
        output = address("--output", output_path, model=name) if output_path else None
        target = find(deployment, profile=profile)
        runs = DataSets(target)
        started = runs.start(name, input_uri=source, output_uri=output, columns=bindings(columns or []), prefix=prefix)
        batch_remote.follow(target, runs, started, detach=detach, as_json=as_json)


def _batch_local(name: str, source: Path, target: Path, columns: dict[str, str | list[str]], *, prefix: str, as_json: bool) -> None:
    refuse_nan = ModelConfig.load(paths.MODELS / name).serving.nan == "refuse"
    with err.status(f"loading {name}"):
        model, where = data_sets.local_model(name)
        import scoring  # noqa: PLC0415 - with pyarrow, which takes a quarter of a second that other commands should not pay
    options = data_sets.Options(columns=columns, prefix=prefix, refuse_nan=refuse_nan)
    try:
        with _bar(f"{name} {model.version}") as (begun, progress):
            result = data_sets.score_file(model, source, target, options, begun=begun, progress=progress)
    except scoring.DataSetError as error:
        raise UsageFailed(str(error)) from None
    except KeyboardInterrupt:
        note(f"stopped; what was scored so far lies in {data_sets.unfinished(target)}, and the same command goes on from there")
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        print_json({"manifest": str(result.manifest_file), **vars(result.manifest)})
        return
    _show(result, model.version, where)


def _show(result: data_sets.Result, version: str, where: str) -> None:
    manifest = result.manifest
    if result.resumed:
        note(f"went on with an earlier run, which had scored {result.resumed} of {result.shards} shards")
    batch_remote.tell_batches(manifest.model, version, manifest.batch_rows)
    out.print(
        f"{manifest.rows:,} rows by {manifest.model} {version} ({where}): {manifest.scored:,} scored, {manifest.bad:,} bad", soft_wrap=True
    )
    out.print(f"Output: {manifest.parts[0].path}", soft_wrap=True)
    out.print(f"Manifest: {result.manifest_file}", soft_wrap=True)
    if manifest.errors:
        next_step(f"head {manifest.errors}   (a line a bad row: its number, and what to put right)")
    else:
        next_step(f"head {result.manifest_file}   (counts and hashes)")


def bindings(given: Sequence[str]) -> dict[str, str | list[str]]:
    """Inputs to columns, from `input=column` or `input=column,column`. Raises `UsageFailed`."""
    found: dict[str, str | list[str]] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name or not value or name in found:
            raise UsageFailed(f"--columns {text} can't be read; expected INPUT=COLUMN or INPUT=COLUMN,COLUMN,… once an input")
        found[name] = value.split(",") if "," in value else value
    return found


@contextmanager
def _bar(what: str) -> Iterator[tuple[Callable[[int, int], None], Callable[[int, int], None]]]:
    """Told the bytes in all and those done before, and then the rows and bytes of each block."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), _RowsColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None, rows=0)

        def begun(total: int, done: int) -> None:
            bar.update(task, total=max(total, 1), completed=done)

        def progress(rows: int, size: int) -> None:
            bar.update(task, advance=size, rows=bar.tasks[0].fields["rows"] + rows)

        yield begun, progress


class _RowsColumn(TextColumn):
    """Rows a second since the start."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        seconds = task.elapsed or 0
        return Text(f"{task.fields['rows'] / seconds:,.0f} rows/s" if seconds else "", "dim")
