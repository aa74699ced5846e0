"""What the function's image adds to AWS's own, beside what requests open of it; `python -m tools.bench.image_size` lists the rest."""

from __future__ import annotations

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from tools.bench.function import Function
from tools.bench.kept import FILE
from tools.bench.measures import Options, Result, Tick, Unavailable, ratios
from tools.bench.programs import FUNCTION
from tools.bench.requests import events
from tools.bench.subject import Subject
from tools.loopback.bootstrap import arguments
from tools.loopback.store import MemoryStore

__all__ = ["HEADING", "HISTORY", "file_sizes", "line", "measure", "needed", "parts", "wanted"]

HISTORY = FILE.parent / "image-size.md"
_WATCHED = """
import os, sys
_log = os.open(sys.argv.pop(), os.O_WRONLY | os.O_APPEND)
def _watch(event, arguments):
    if event in ("open", "ctypes.dlopen") and isinstance(arguments[0], str):
        os.write(_log, arguments[0].encode() + b"\\n")
sys.addaudithook(_watch)
"""
"""Writes each path that Python opens; libraries are read off the process's maps, as the loader opens those."""
HEADING = "| date | what changed | MiB | opened | ONNX Runtime | NumPy | other packages | ours | ratio |"
_PARTS = ("onnxruntime", "numpy", "modelserve", "functions")


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:  # noqa: ARG001 - once is enough, quick or not
    """The group `image`. Raises `Unavailable` where there is no /proc to read."""
    sizes = file_sizes(subject.root.folder)
    used = needed(subject)
    tick()
    yield ratios(
        [(sum(sizes[path] for path in used), sum(sizes.values()))],
        name="image",
        group="image",
        unit="MiB",
        scale=2**-20,
        bar=1.1,
        comparison="our layers on AWS's base image, as a ratio to the files that requests of every kind open",
    )


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file below, by its path from here."""
    return {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}


def needed(subject: Subject) -> set[str]:
    """Files of the task root that a process opens or maps while it starts and answers each kind of request. Raises `Unavailable`."""
    if not Path("/proc/self/maps").exists():
        raise Unavailable("what a process opens is read from Linux's /proc")
    with (
        tempfile.NamedTemporaryFile() as log,
        Function(subject, _WATCHED + FUNCTION, (*arguments(subject.root.wrapper), log.name)).start() as function,
    ):
        for _, event in events(subject.event).values():
            function.ask(json.dumps(event).encode())
        maps = Path(f"/proc/{function.process.process.pid}/maps").read_text("utf-8").splitlines()
        opened = Path(log.name).read_text("utf-8").splitlines()
    return wanted([*opened, *(mapped.split(maxsplit=5)[-1] for mapped in maps)], subject.root.folder)


def wanted(paths: Iterable[str], folder: Path) -> set[str]:
    """Those of the paths that are files of this folder."""
    files = (path for path in (folder / each for each in paths) if path.is_relative_to(folder) and path.is_file())
    return {str(path.relative_to(folder)) for path in files}


def parts(sizes: Mapping[str, int]) -> dict[str, int]:
    """Bytes by what they are: ONNX Runtime, NumPy, our own packages, all others."""
    found = Counter[str]()
    for path, size in sizes.items():
        found[next((part for part in _PARTS if path.startswith(part)), "others")] += size
    return dict(found)


def line(what: str, sizes: Mapping[str, int], used: Iterable[str], *, day: str) -> str:
    """A line of the history's table."""
    found = parts(sizes)
    columns = [sum(sizes.values()), sum(sizes[path] for path in used)]
    columns += [
        found.get("onnxruntime", 0),
        found.get("numpy", 0),
        found.get("others", 0),
        found.get("modelserve", 0) + found.get("functions", 0),
    ]
    shown = " | ".join(f"{size / 2**20:.1f}" for size in columns)
    return f"| {day} | {what} | {shown} | {columns[0] / columns[1]:.2f} |\n"


def main(keep: Annotated[str, typer.Option(help="Add a line to docs/image-size.md, with this as what changed.")] = "") -> None:
    """List what the image holds and no request opens, largest first, and what it takes by part."""
    with MemoryStore() as store:
        subject = Subject.prepare(store)
        sizes, used = file_sizes(subject.root.folder), needed(subject)
    for path, size in sorted(sizes.items(), key=lambda each: -each[1]):
        if path not in used:
            print(f"{size / 1024:10,.1f} KiB  {path}")
    added = line(keep, sizes, used, day=time.strftime("%Y-%m-%d", time.gmtime()))
    print(f"{HEADING}\n{added}", end="")
    if keep:
        HISTORY.write_text(HISTORY.read_text("utf-8") + added, "utf-8")


if __name__ == "__main__":
    typer.run(main)
