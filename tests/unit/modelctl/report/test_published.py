"""The page from a build to a version, and the command that writes it for a person."""

import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner, Result

from modelserve.manifest import MODEL_FILE, Manifest
from modelserve.registry import Registry
from tests.unit.modelctl.factories import MemoryStore, draft, published
from tests.unit.modelctl.report import documents
from tools.modelctl import built, lifecycle, paths
from tools.modelctl.built import Built
from tools.modelctl.cli import app
from tools.modelctl.commands import reporting
from tools.modelctl.errors import DeploymentNotFound
from tools.modelctl.report.stored import of_production, of_version
from tools.modelctl.trial import Trial

TRIAL = Trial(load_seconds=0.01, run_seconds=0.001, peak_megabytes=60, answers_zeros=True)


@pytest.fixture(autouse=True)
def workplace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(paths, "BUILD", tmp_path / "build" / "models")
    return tmp_path


@pytest.fixture
def registry(clock: Callable[[], float]) -> Registry:
    """Without moto, which takes longer than all the rest."""
    return Registry(MemoryStore(), clock=clock)


def manifest(accuracy: float) -> Manifest:
    gates = [("accuracy >= 0.5", accuracy, True), ("recall[lemon] >= production", accuracy, True)]
    document = documents.document("fruit", "classification", {"accuracy": accuracy}, gates, {})["manifest"]
    return Manifest.from_json(orjson.dumps(document), what="a test")


def build(content: bytes = b"model", *, accuracy: float = 0.9, state: str = "state") -> Built:
    """What training leaves, without training."""
    folder = paths.BUILD / "fruit"
    built.write_file(folder / MODEL_FILE, content)
    built.write_file(folder / paths.EXAMPLE_FILE, b"{}")
    interval = {"value": accuracy, "low": accuracy - 0.01, "high": accuracy + 0.01}
    return built.write(folder, state, manifest(accuracy), trial=TRIAL, evaluation={"metrics": {"accuracy": interval}})


def page_of(registry: Registry, version: str, folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    registry.download("fruit", version, to=folder)
    return (folder / paths.PAGE_FILE).read_text("utf-8")


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_bytes(b"<html>")])
def test_a_build_whose_page_is_gone_or_damaged_is_made_again(damage: Callable[[Path], object]) -> None:
    page = build().files[paths.PAGE_FILE]
    assert built.read(page.parent, "state") is not None
    damage(page)
    assert built.read(page.parent, "state") is None


def test_what_is_added_to_an_evaluation_is_on_the_page() -> None:
    found = build()
    built.amend(found, compression=documents.compression())
    assert "Size against quality" in found.files[paths.PAGE_FILE].read_text("utf-8")
    assert built.read(found.folder, "state") is not None


def test_a_version_is_published_with_a_page_beside_what_production_names(registry: Registry, tmp_path: Path) -> None:
    first = lifecycle.publish(registry, build(b"first", accuracy=0.7)).version
    assert "Beside production" not in page_of(registry, first, tmp_path / "first")
    registry.promote("fruit", first, alias="production", by="ann", reason="")
    second = lifecycle.publish(registry, build(b"second", accuracy=0.9)).version
    html = page_of(registry, second, tmp_path / "second")
    assert "Beside production" in html
    assert "better, intervals apart" in html
    assert lifecycle.publish(registry, build(b"second", accuracy=0.9)).version == second


def test_the_page_gives_the_reason_of_a_version_that_was_forced(registry: Registry, tmp_path: Path) -> None:
    found = build()
    failed = Built(folder=found.folder, manifest=found.manifest, cached=False, findings=("the model is <too> large [size]",))
    html = page_of(registry, lifecycle.publish(registry, failed, forced="demo on Friday").version, tmp_path / "there")
    assert "<q>demo on Friday</q>" in html


@pytest.mark.parametrize("body", [None, b"no JSON", b"[]", b"{}", b'{"manifest": 1, "evaluation": 2}'])
def test_a_production_without_a_report_that_can_be_read_is_no_obstacle(registry: Registry, tmp_path: Path, body: bytes | None) -> None:
    files = {MODEL_FILE: tmp_path / "model"} | ({paths.REPORT_FILE: tmp_path / "report"} if body is not None else {})
    (tmp_path / "model").write_bytes(b"old")
    (tmp_path / "report").write_bytes(body or b"")
    registry.promote("fruit", registry.publish(draft(), files).version, alias="production", by="ann", reason="")
    assert lifecycle.publish(registry, build(b"new")).version in registry.versions("fruit")


def test_a_report_is_the_one_that_the_manifest_names(registry: Registry) -> None:
    version = lifecycle.publish(registry, build()).version
    found = of_version(registry, "fruit", version)
    assert found is not None
    assert (found.report["manifest"]["version"], found.report["evaluation"]["metrics"]["accuracy"]["value"]) == (version, 0.9)
    assert of_production(registry, "fruit") is None


class _Target:
    """A deployment, as far as the command looks."""

    def __init__(self, registry: Registry) -> None:
        self.local, self.option, self._registry = True, "", registry

    def registry(self) -> Registry:
        return self._registry


@pytest.fixture
def running(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setattr(reporting, "find", lambda *_, **__: _Target(registry))
    return registry


@pytest.fixture
def nothing_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(*_: Any, **__: Any) -> None:
        raise DeploymentNotFound("local", "nothing runs on this machine", "make run")

    monkeypatch.setattr(reporting, "find", find)


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["report", "fruit", *arguments])
    assert result.exit_code == code, result.output
    return result


def written(workplace: Path) -> list[str]:
    return sorted(file.name for file in (workplace / "build" / "reports").glob("*"))


def test_without_a_version_it_is_on_what_was_built_here(workplace: Path, nothing_running: None) -> None:
    digits = build().report["files"][MODEL_FILE][:8]
    shown = run().stdout.splitlines()
    assert shown[0] == f"fruit {digits} passes its 1 gate; 1 more waits for a production to be held against"
    assert shown[-1] == "Next: modelctl report fruit --open"
    assert written(workplace) == [f"fruit-{digits}.html"]


def test_a_build_is_compared_with_production_and_production_not_with_itself(workplace: Path, running: Registry) -> None:
    version = lifecycle.publish(running, build(b"first", accuracy=0.7)).version
    running.promote("fruit", version, alias="production", by="ann", reason="")
    run("--output", str(workplace / "same.html"))
    run("production", "--output", str(workplace / "named.html"))
    build(b"second")
    run("--output", str(workplace / "other.html"))
    compared = ["Beside production" in (workplace / f"{name}.html").read_text("utf-8") for name in ("same", "named", "other")]
    assert compared == [False, False, True]


def test_where_nothing_was_built_it_is_on_the_latest_version(workplace: Path, running: Registry) -> None:
    version = lifecycle.publish(running, build()).version
    for file in (paths.BUILD / "fruit").iterdir():
        file.unlink()
    run()
    assert written(workplace) == [f"fruit-{version}.html"]
    assert version in (workplace / "build" / "reports" / f"fruit-{version}.html").read_text("utf-8")


def test_two_versions_are_compared_from_the_first_to_the_second(workplace: Path, running: Registry) -> None:
    first, second = (lifecycle.publish(running, build(content, accuracy=value)).version for content, value in ((b"a", 0.7), (b"b", 0.9)))
    run("--compare", first, "latest")
    (name,) = written(workplace)
    html = (workplace / "build" / "reports" / name).read_text("utf-8")
    assert name == f"fruit-{first[-8:]}-{second[-8:]}.html"
    assert f"Beside {first}" in html
    assert "better, intervals apart" in html


def test_a_version_is_not_compared_with_itself(workplace: Path, running: Registry) -> None:
    version = lifecycle.publish(running, build()).version
    running.promote("fruit", version, alias="production", by="ann", reason="")
    assert f"production and latest are both {version}; expected two versions" in run("--compare", "production", "latest", code=1).stderr
    assert written(workplace) == []


def test_a_version_from_before_reports_is_told_what_shows_it(running: Registry, tmp_path: Path) -> None:
    version = published(running, tmp_path)
    assert f"`modelctl show fruit {version}` shows its manifest" in run("latest", code=1).stderr


@pytest.mark.parametrize("body", [b"{}", b'{"manifest": 1}'])
def test_a_report_of_another_tool_is_shown_as_far_as_it_goes(running: Registry, tmp_path: Path, body: bytes) -> None:
    (tmp_path / "report").write_bytes(body)
    (tmp_path / "model").write_bytes(b"model")
    running.publish(draft(), {MODEL_FILE: tmp_path / "model", paths.REPORT_FILE: tmp_path / "report"})
    assert "was not scored" in run("latest").stdout


def test_nothing_built_and_nothing_running_says_what_to_do(nothing_running: None) -> None:
    assert "run: modelctl train fruit" in run(code=1).stderr


@pytest.mark.parametrize("arguments", [["latest"], ["--compare", "latest", "production"]])
def test_a_version_needs_a_deployment(nothing_running: None, arguments: list[str]) -> None:
    build()
    assert "make run" in run(*arguments, code=1).stderr


def test_a_version_and_two_to_compare_are_one_too_many(running: Registry) -> None:
    assert "expected a version, or two with --compare" in run("latest", "--compare", "a", "b", code=1).stderr


@pytest.mark.parametrize("there", [True, False])
def test_it_is_opened_where_there_is_a_browser(
    workplace: Path, nothing_running: None, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    opened: list[str] = []

    def opens(address: str) -> bool:
        opened.append(address)
        return there

    monkeypatch.setattr(webbrowser, "open", opens)
    build()
    result = run("--open")
    assert opened == [(workplace / "build" / "reports" / written(workplace)[0]).as_uri()]
    assert ("no browser was found" in result.stderr) == (not there)
