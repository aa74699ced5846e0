"""Scores one shard: reads, runs and writes beside one another, and vouches for the part when it is whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pyarrow as pa

from modelserve.dataplane import Model

from .block import Block
from .errors import DataSetError, FileUnreadable
from .files import Output, output
from .formats import FORMATS, Format, Task
from .inputs import Inputs, gather
from .keeping import keep, kept
from .plan import Plan, Shard
from .reasons import Reasons
from .reports import Part, ShardReport
from .running import Runner
from .sources import check

__all__ = ["score"]

_T = TypeVar("_T")


def score(  # noqa: PLR0917 - from where, what, by what, to where
    fs: Any,
    plan: Plan,
    shard: Shard,
    model: Model,
    out_fs: Any,
    work: str,
    *,
    refuse_nan: bool = False,
    seconds: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> ShardReport:
    """Writes the shard's rows with predictions to a part under `work`, then its report; a valid report is returned as it is.

    `refuse_nan` makes rows with NaN or infinity bad, `seconds` bounds each run of the model, `progress` is told the rows and bytes of
    each block. Raises `FileChanged` and other `DataSetError`s, and the model's `ServeError` where it says nothing of the rows.
    """
    if (model.name, model.version) != (plan.model, plan.version):
        raise DataSetError(f"the plan is for {plan.model} {plan.version}; what was loaded is {model.name} {model.version}; start a new run")
    if shard not in plan.shards[shard.index : shard.index + 1]:
        raise DataSetError(f"shard {shard.index} is of another plan than {work} has: two runs write to it; give each an output of its own")
    if (known := kept(plan, shard, out_fs, work)) is not None:
        return known
    file = plan.files[shard.file]
    written = check(fs, file)
    runner = Runner(model, batch_rows=plan.batch_rows, seconds=seconds)
    fields = [pa.field(plan.outputs[name], kind) for name, kind in runner.types.items()]
    task = Task(path=file.path, start=shard.start, stop=shard.stop, inputs=model.inputs, columns=plan.columns, fields=fields)
    line = _Line(fs, FORMATS[plan.format], task, refuse_nan=refuse_nan)
    path, reasons = f"{work}/data/part-{shard.index:05d}.{plan.format}", Reasons(out_fs, f"{work}/errors/{shard.index:05d}.jsonl")

    def done(block: Block) -> None:
        reasons.add(block)
        if progress:
            progress(block.rows, block.size)

    try:
        with reasons, output(out_fs, path) as out:
            line.run(runner, out, done)
            check(fs, file, written=written)
    except pa.ArrowInvalid as error:
        raise FileUnreadable(f"{file.path} can't be read as {plan.format}: {str(error).partition(chr(10))[0]:.200}") from None
    part = Part(path=path, rows=reasons.rows, size=out.size, sha256=out.sha256)
    report = ShardReport(plan=plan.id, index=shard.index, rows=reasons.rows, bad=reasons.bad, part=part, errors=reasons.written)
    keep(report, out_fs, work)
    return report


class _Line:
    """The three threads of a shard: while one block is run, the next is read and the last one written."""

    def __init__(self, fs: Any, format_: Format, task: Task, *, refuse_nan: bool) -> None:
        self._fs = fs
        self._format = format_
        self._task = task
        self._refuse_nan = refuse_nan

    def run(self, runner: Runner, out: Output, done: Callable[[Block], None]) -> None:
        """`done` hears of each block once the model has run."""
        with (
            self._fs.open_input_file(self._task.path) as source,
            self._fs.open_input_file(self._task.path) as copied,
            ThreadPoolExecutor(1) as writing,
        ):
            writer = self._format.writer(out, copied, self._task)
            written: Future[None] | None = None
            for block, inputs in _ahead(self._read(source)):
                columns = runner.run(block, inputs)
                if written:
                    written.result()
                written = writing.submit(writer.write, block, list(columns.values()))
                done(block)
            if written:
                written.result()
            writer.close()

    def _read(self, source: Any) -> Iterator[tuple[Block, Inputs]]:
        inputs = self._task.inputs
        for block in self._format.blocks(source, self._task):
            yield block, gather(block, inputs, self._task.columns, refuse_nan=self._refuse_nan) if block.rows else Inputs(inputs, {}, 0)


def _ahead(items: Iterator[_T]) -> Iterator[_T]:
    """The same, each made while the one before it is looked at."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item
