"""A run through what is measured, and what the command line makes of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.bench.test_measures import a_result
from tools.bench import __main__ as command
from tools.bench import drawn, groups
from tools.bench.measures import Options, Unavailable
from tools.bench.subject import Subject
from tools.loopback.errors import MeasureError


def fakes(monkeypatch: pytest.MonkeyPatch, **measured: Any) -> None:
    """Each group's module yields these results, or raises this error after one of them."""
    for group, outcome in measured.items():
        module = ModuleType(f"fake_{group}")
        module.measure = outcome  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(groups, "MODULES", {group: (f"fake_{group}",) for group in measured})


def yielding(*results: Any) -> Any:
    return lambda subject, options, tick: results  # noqa: ARG005 - what a measurement takes


def raising(error: Exception) -> Any:
    def measure(subject: Any, options: Options, tick: Any) -> Iterator[Any]:
        yield a_result(name="before")
        raise error

    return measure


def test_what_a_machine_lacks_and_what_breaks_leave_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, cold=raising(Unavailable("no cgroup")), warm=raising(MeasureError("no answer")), image=yielding(a_result()))
    found = groups.run(("cold", "warm", "image"), object(), Options(), lambda _: lambda: None)  # type: ignore[arg-type]
    assert [each.name for each in found.results] == ["before", "before", "load"]
    assert (found.unavailable, found.failed) == ({"cold": "no cgroup"}, {"warm": "no answer"})


def test_a_module_that_needs_what_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MODULES", {"peers": ("fake_module_that_is_nowhere",)})
    found = groups.run(("peers",), object(), Options(), lambda _: lambda: None)  # type: ignore[arg-type]
    assert found.unavailable == {"peers": "No module named 'fake_module_that_is_nowhere'"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where results are kept; nothing is prepared."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("<!-- bench --><!-- /bench -->", "utf-8")
    monkeypatch.setattr(command, "ROOT", tmp_path)
    monkeypatch.setattr(drawn, "HEADLINES", ())
    monkeypatch.setattr(command, "MemoryStore", nullcontext)
    monkeypatch.setattr(Subject, "prepare", lambda store: object())  # noqa: ARG005 - as it is called
    return tmp_path


def bench(*arguments: str) -> Any:
    return CliRunner().invoke(command.app, arguments)


def test_a_missed_bar_fails_only_a_strict_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, cold=yielding(a_result()))
    done = bench("--only", "cold")
    assert (done.exit_code, "missed" in done.stdout) == (0, True)
    assert bench("--only", "cold", "--strict").exit_code == 1


def test_what_breaks_fails_the_run_and_what_is_not_there_does_not(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, cold=raising(MeasureError("[no] answer")), image=raising(Unavailable("no image")))
    done = bench("--only", "cold")
    assert (done.exit_code, "cold: [no] answer" in done.stderr) == (1, True)
    done = bench("--only", "image", "--strict", "--quick")
    assert "image: not measured here: no image" in done.stderr


def test_json_has_all_that_is_known_and_nothing_of_where_it_ran(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, cold=yielding(a_result()), image=raising(Unavailable("no image")))
    document = json.loads(bench("--only", "cold", "--only", "image", "--json").stdout)
    assert set(document) == {"date", "machine", "results", "unavailable", "failed"}
    assert set(document["machine"]) == {"processor", "cores", "system", "python", "onnxruntime"}
    assert [each["name"] for each in document["results"]] == ["load", "before"]


def test_a_group_that_is_none_is_told_of_those_that_are(project: Path) -> None:
    done = bench("--only", "hot")
    assert (done.exit_code, "no group hot" in done.stderr) == (2, True)


def test_kept_results_are_what_later_ones_are_compared_with(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, cold=yielding(a_result()))
    assert bench("--only", "cold", "--keep").exit_code == 0
    fakes(monkeypatch, cold=yielding(a_result(compared=9.0, spread=(8.0, 10.0))))
    assert "worse: load, 1.20 on" in bench("--only", "cold").stderr
    assert "worse" not in bench("--only", "cold", "--no-compare").stderr


def test_what_broke_is_not_kept_and_what_was_kept_of_it_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes(monkeypatch, cold=yielding(a_result()), image=yielding(a_result(name="image", group="image")))
    assert bench("--only", "cold", "--only", "image", "--keep").exit_code == 0
    fakes(monkeypatch, cold=raising(MeasureError("no answer")), image=yielding(a_result(name="smaller", group="image")))
    assert bench("--only", "cold", "--only", "image", "--keep").exit_code == 1
    document = json.loads((project / "docs" / "bench.json").read_text("utf-8"))
    assert [each["name"] for each in document["results"]] == ["load", "smaller"]


def test_a_quick_run_is_not_kept(project: Path) -> None:
    assert bench("--quick", "--keep").exit_code == 2
