"""What a function's process holds of memory: at its peak, of its model, and after thousands of requests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from modelserve.manifest import MODEL_FILE, Manifest, TensorSpec
from modelserve.registry import Registry
from tools.bench.function import Function
from tools.bench.measures import Options, Result, Tick, Unavailable, added, ratios
from tools.bench.processes import command, first_line, with_binding
from tools.bench.programs import FLOOR
from tools.bench.requests import events
from tools.bench.subject import MODEL, Subject
from tools.loopback.errors import MeasureError
from tools.loopback.store import MemoryStore

__all__ = ["dense", "held", "measure", "published"]

_ROUNDS, _REQUESTS, _WIDE = 5, 10_000, 5000
_QUICK_ROUNDS, _QUICK_REQUESTS, _QUICK_WIDE = 1, 200, 500
_LARGE_KIB = 50 * 1024
_KIB = 1 / 1024  # of what Linux calls a kB, to MiB


def measure(subject: Subject, options: Options, tick: Tick) -> Iterator[Result]:
    """The group `memory`. Raises `Unavailable` where there is no /proc to read."""
    if not Path("/proc/self/smaps_rollup").exists():
        raise Unavailable("what a process holds is read from Linux's /proc")
    rounds, wide = (_QUICK_ROUNDS, _QUICK_WIDE) if options.quick else (_ROUNDS, _WIDE)
    yield _peak(subject, rounds, tick)
    with tempfile.TemporaryDirectory() as scratch, published(subject, dense(Path(scratch) / MODEL_FILE, wide)) as large:
        yield _of_the_model(subject, large, rounds, tick)
    yield _growth(subject, _QUICK_REQUESTS if options.quick else _REQUESTS, tick)


def dense(file: Path, wide: int) -> Path:
    """Writes a network of 30 numbers a row whose middle layer has `wide` x `wide` FP32 weights; 5000 make 100 MB."""
    random = np.random.default_rng(1)
    sizes = (30, wide, wide, 2)
    weights = [numpy_helper.from_array(random.random(shape, np.float32) / wide, f"w{at}") for at, shape in enumerate(pairwise(sizes))]
    names = ["input", "a", "b", "probabilities"]
    nodes = [helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]]) for at in range(3)]
    entry, answer = (helper.make_tensor_value_info(names[at], TensorProto.FLOAT, [None, sizes[at]]) for at in (0, 3))
    graph = helper.make_graph(nodes, "dense", [entry], [answer], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), file)
    return file


@contextmanager
def published(subject: Subject, file: Path) -> Iterator[Subject]:
    """The same function with this model of 30 numbers a row, as plain ONNX in a store of its own."""
    with MemoryStore() as store:
        registry, name = Registry(store), "dense"
        draft = Manifest(
            name=name,
            version="",
            created="",
            task="classification",
            inputs=(TensorSpec(name="input", datatype="FP32", shape=(-1, 30)),),
            outputs=(TensorSpec(name="probabilities", datatype="FP32", shape=(-1, 2)),),
            files=(),
            opset={"": 18},
            ir=8,
            row_wise=True,
        )
        registry.promote(name, registry.publish(draft, {MODEL_FILE: file}).version, alias="production", by="bench", reason="")
        event = {**subject.event, "path": subject.event["path"].replace(MODEL, name)}
        environ = {**subject.environ, **subject.told(name), "AWS_ENDPOINT_URL_S3": store.endpoint}
        yield replace(subject, model=file, event=event, environ=environ)


def held(pid: int, what: str) -> int:
    """In KiB: `VmHWM` (the peak), `VmRSS` (now), or `Anonymous` (now, and in no file)."""
    file = Path(f"/proc/{pid}/{'smaps_rollup' if what == 'Anonymous' else 'status'}")
    return int(file.read_text("ascii").partition(f"{what}:")[2].split()[0])


def _peak(subject: Subject, rounds: int, tick: Tick) -> Result:
    pairs = []
    for _ in range(rounds):
        pairs.append((_floor(subject), _first(subject, "VmHWM")))
        tick()
    return ratios(
        pairs,
        name="memory, small model",
        group="memory",
        unit="MiB",
        scale=_KIB,
        bar=0.85,
        comparison="peak of the function's process at its first answer, as a ratio to python + import onnxruntime + session + one run",
    )


def _of_the_model(small: Subject, large: Subject, rounds: int, tick: Tick) -> Result:
    size, pairs = large.model.stat().st_size / 1024, []
    for _ in range(rounds):
        pairs.append((size, float(_first(large, "Anonymous") - _first(small, "Anonymous"))))
        tick()
    return ratios(
        pairs,
        name="memory, large model",
        group="memory",
        unit="MiB",
        scale=_KIB,
        bar=1.25 if size > _LARGE_KIB else None,  # what runs a small one weighs more than itself
        comparison=f"what a plain ONNX model of {size / 1024:.0f} MiB adds to the function after its first answer, as a ratio to its file: "
        "its weights once, and what runs them",
    )


def _growth(subject: Subject, requests: int, tick: Tick) -> Result:
    kinds = list(events(subject.event).values())
    with Function(subject).start() as function:
        for number, (status, event) in enumerate(islice(cycle(kinds), 1 + requests)):
            _expect(status, event, json.loads(function.ask(json.dumps(event).encode())))
            if number == 0:
                before = held(function.process.process.pid, "VmRSS")
            if number % 100 == 0:
                tick()
        after = held(function.process.process.pid, "VmRSS")
    return added(
        [(before, after)],
        name="memory, growth",
        group="memory",
        unit="MB",
        scale=1024e-6,
        bar=5.0,
        comparison=f"what {requests:,} requests add to the function's process, of {len(kinds)} kinds, after its first answer",
    )


def _expect(status: int, event: Any, answer: Any) -> None:
    if (answer.get("statusCode", 0), "errorType" in answer) != (status, False):
        raise MeasureError(f"the function answered {str(answer)[:500]} to {str(event)[:500]}; expected {status or 'outputs'}")


def _first(subject: Subject, what: str) -> int:
    with Function(subject).start() as function:
        _expect(200, subject.event, json.loads(function.first()))
        return held(function.process.process.pid, what)


def _floor(subject: Subject) -> int:
    root = with_binding(subject.root)
    line = command(root, f"{FLOOR}\nsys.stdin.read()", str(subject.model), json.dumps(dict(subject.event)))
    with first_line(line, root=root) as (_, pid):
        return held(pid, "VmHWM")
