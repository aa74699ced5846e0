"""What a function's process holds of memory, on recorded numbers and a tiny network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tools.bench import memory
from tools.bench.measures import Options, Unavailable
from tools.loopback.errors import MeasureError

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="what a process holds is read from Linux's /proc")


@dataclass
class FakeFunction:
    """Answers everything alike, in this process."""

    answer: bytes = b'{"statusCode": 200}'
    asked: list[bytes | None] = field(default_factory=list)
    process: Any = field(default_factory=lambda: SimpleNamespace(process=SimpleNamespace(pid=os.getpid())))

    def __call__(self, subject: Any) -> FakeFunction:
        return self

    @contextmanager
    def start(self) -> Iterator[FakeFunction]:
        yield self

    def ask(self, event: bytes | None = None) -> bytes:
        self.asked.append(event)
        return self.answer

    first = ask


def recorded(monkeypatch: pytest.MonkeyPatch, *kibibytes: int) -> None:
    values = iter(kibibytes)
    monkeypatch.setattr(memory, "held", lambda pid, what: next(values))  # noqa: ARG005 - as it is called


def test_the_network_has_as_many_weights_as_are_asked_for(tmp_path: Path) -> None:
    file = memory.dense(tmp_path / "model.onnx", 100)
    (answer,) = onnxruntime.InferenceSession(file).run(None, {"input": np.ones((3, 30), np.float32)})
    assert np.asarray(answer).shape == (3, 2)
    assert file.stat().st_size == pytest.approx(4 * 100 * (30 + 100 + 2), rel=0.02)


@linux
def test_what_a_process_holds_is_what_linux_counts() -> None:
    before = memory.held(os.getpid(), "Anonymous")
    block = bytearray(os.urandom(1)) * (32 * 2**20)
    assert memory.held(os.getpid(), "Anonymous") - before > 31 * 2**10
    now = memory.held(os.getpid(), "VmRSS")
    assert memory.held(os.getpid(), "VmHWM") >= now > len(block) / 2**10


def test_the_peak_is_a_ratio_to_the_floors_in_each_round(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Function", FakeFunction())
    monkeypatch.setattr(memory, "_floor", lambda subject: 100 * 1024)  # noqa: ARG005 - as it is called
    recorded(monkeypatch, 70 * 1024, 80 * 1024, 90 * 1024)
    result = memory._peak(bare_subject, 3, lambda: None)
    assert (result.ours, result.floor, result.compared, result.met) == (80.0, 100.0, 0.8, True)


def test_what_a_model_adds_is_a_ratio_to_its_file(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_subject.model.write_bytes(bytes(2**20))
    monkeypatch.setattr(memory, "Function", FakeFunction())
    recorded(monkeypatch, 3 * 1024, 1024, 3 * 1024, 1024)
    assert memory._of_the_model(bare_subject, bare_subject, 1, lambda: None).bar is None  # so small a model is not held to one
    monkeypatch.setattr(memory, "_LARGE_KIB", 1)
    result = memory._of_the_model(bare_subject, bare_subject, 1, lambda: None)
    assert (result.ours, result.floor, result.compared, result.met) == (2.0, 1.0, 2.0, False)  # its weights, and a copy


def test_growth_is_what_comes_after_the_first_answer(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    function = FakeFunction()
    monkeypatch.setattr(memory, "Function", function)
    monkeypatch.setattr(memory, "events", lambda event: {"a": (200, event), "b": (200, event)})
    monkeypatch.setattr(memory, "held", lambda pid, what: 1000 * len(function.asked))  # noqa: ARG005 - as it is called
    result = memory._growth(bare_subject, 20, lambda: None)
    assert (result.compared, result.met) == (20 * 1.024, False)  # 1000 KiB a request


def test_an_answer_that_is_not_due_is_an_error(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "Function", FakeFunction(b'{"statusCode": 503}'))
    with pytest.raises(MeasureError, match=r"503.*expected 200"):
        memory._first(bare_subject, "VmHWM")


def test_without_proc_it_is_left_out(bare_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda self: False)  # noqa: ARG005 - as it is called
    with pytest.raises(Unavailable, match="/proc"):
        next(memory.measure(bare_subject, Options(), lambda: None))
