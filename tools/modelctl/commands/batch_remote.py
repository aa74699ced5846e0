"""What batch does on a deployment: starts a run, shows how far it is, and says where its predictions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from tools.modelctl.console import err, next_step, note, out, print_json
from tools.modelctl.data_sets_remote import DataSets, Started
from tools.modelctl.deployment import Deployment

__all__ = ["follow", "tell_batches"]

_INTERRUPTED = 130  # as a shell has it for SIGINT


def follow(target: Deployment, runs: DataSets, started: Started, *, detach: bool, as_json: bool) -> None:
    """Shows a run until its end, or only how to look at it later. Raises `DataSetFailed`."""
    command = f"modelctl batch --resume {started.run}{target.option}"
    if detach:
        _detached(started, command, as_json=as_json)
        return
    try:
        result = _watched(runs, started)
    except KeyboardInterrupt:
        note(f"the run {started.run} goes on without you; this follows it: {command}")
        raise typer.Exit(_INTERRUPTED) from None
    if as_json:
        print_json(result)
    else:
        _show(result, f"aws --endpoint-url {target.endpoint_url} s3 cp" if target.endpoint_url else "aws s3 cp")


def _detached(started: Started, command: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"run": started.run, "execution": started.execution})
        return
    out.print(f"The run {started.run} is under way.", soft_wrap=True)
    next_step(command)


def _watched(runs: DataSets, started: Started) -> Mapping[str, Any]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(f"{started.run}: planning", total=None)
        for seen in runs.follow(started):
            if seen.total:
                doing = "scoring" if seen.done < seen.total else "finishing"
                bar.update(task, description=f"{started.run}: {doing}", total=seen.total, completed=seen.done)
    return seen.result


def _show(result: Mapping[str, Any], copy: str) -> None:
    rows, bad = result["rows"], result["bad"]
    tell_batches(result["model_name"], result["model_version"], result["batch_rows"])
    out.print(f"{rows:,} rows by {result['model_name']} {result['model_version']}: {rows - bad:,} scored, {bad:,} bad")
    out.print(f"Output: {result['output']}data/", soft_wrap=True)
    out.print(f"Manifest: {result['manifest']}", soft_wrap=True)
    if result["errors"]:
        next_step(f"{copy} {result['errors']} -   (a line a bad row: its number, and what to put right)")
    else:
        next_step(f"{copy} {result['manifest']} -   (counts and hashes)")


def tell_batches(model: str, version: str, batch_rows: int) -> None:
    """Why a run took as long as it did, where the model was asked row by row."""
    if batch_rows == 1:
        note(
            f"each row ran by itself, which takes longer: {model} {version} isn't known to answer a row alone as it does among others; "
            "if it is from before that was looked at, train and publish it again"
        )
