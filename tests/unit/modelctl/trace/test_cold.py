"""A real cold start, traced; and the names that the tracer goes by."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.config import ModelConfig
from modelserve.session import BACKENDS
from tests.unit.modelctl.factories import TOML, model_folder
from tools.modelctl import lifecycle, paths
from tools.modelctl.cli import app
from tools.modelctl.errors import UsageFailed
from tools.modelctl.trace import cold, tracer
from tools.modelctl.trace.spans import KINDS

_ORDER = (
    ("interpreter", ""),
    ("import", "functions"),
    ("import", "modelserve"),
    ("connect", "127"),
    ("import", "awslambdaric"),
    ("session", ""),
    ("run", ""),
)
"""Kinds and names of what comes one after the other."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelConfig, lifecycle.Built]:
    root = tmp_path_factory.mktemp("models")
    config = ModelConfig.load(model_folder(root))
    return config, lifecycle.build(config, models=root, output=root / "build")


def test_a_cold_start_is_traced_to_its_answer(built):
    found = cold.trace(*built, runs=1)

    rows = {row.label: row for row in found.median.rows}
    needed = {
        "interpreter",
        "session",
        "first run",
        "runtime client",
        "INIT, waiting",
        "signature",
    }
    requests = {f"s3 GET {name}" for name in ("production.json", "manifest.json", "model.onnx")} | {"kms POST"}
    assert needed | requests <= set(rows), sorted(rows)
    seen = [(span.kind, span.name.partition(".")[0]) for span in sorted(found.median.spans, key=lambda span: span.begin)]
    begins = [seen.index((kind, name)) for kind, name in _ORDER]
    assert begins == sorted(begins)
    assert sum(row.own for row in found.median.rows if row.lane == 0) == pytest.approx(found.median.total)
    assert found.alias.name == "step"


def test_the_function_sees_no_package_that_its_image_does_not_hold(tmp_path):
    *_, packages = cold._task_root("native", tmp_path)

    held = {file.name for file in Path(packages).iterdir()}
    assert {"orjson", "onnxruntime", "awslambdaric"} <= held
    assert not {"numpy", "boto3", "sklearn"} & held


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(cold, "_BASE", ("no-such-client",))

    with pytest.raises(UsageFailed, match="no-such-client is not installed"):
        cold._task_root("native", tmp_path)


def test_a_function_that_can_not_answer_is_told_with_what_it_said(built, monkeypatch):
    monkeypatch.setattr(cold, "_HANDLER", "functions.nowhere.handler")

    with pytest.raises(UsageFailed, match=r"functions\.nowhere"):
        cold.trace(*built, runs=1)


@pytest.mark.parametrize(
    ("module", "path"),
    [(module, call.path) for module, calls in tracer.CALLS.items() for call in calls] + [tracer.HASHER, tracer.HANDED_OVER],
)
def test_what_is_timed_goes_by_this_name(module, path):
    owner, name = tracer._found(importlib.import_module(module), path)

    assert callable(getattr(owner, name))


def test_every_kind_has_a_name():
    assert {call.kind for calls in tracer.CALLS.values() for call in calls} <= set(KINDS)


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> str:
    monkeypatch.setattr(paths, "MODELS", folder.parent)
    result = CliRunner().invoke(app, ["trace-cold", folder.name, *arguments])
    assert result.exit_code == 1
    return result.stderr


def test_a_model_behind_an_endpoint_is_not_traced(monkeypatch, tmp_path):
    assert "runs on an endpoint" in run(monkeypatch, model_folder(tmp_path, toml=f'target = "gpu"\n{TOML}'))


def test_a_backend_that_is_none_is_refused(monkeypatch, tmp_path):
    said = run(monkeypatch, model_folder(tmp_path), "--backend", "torch")

    assert all(backend in said for backend in ("torch", *BACKENDS))
