"""Imports point one way, and every module says why it exists."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LIBRARY = ROOT / "layers" / "modelserve" / "python"
_SCORING = ROOT / "layers" / "scoring" / "python"
_OURS = ("app", "functions", "models", "modelserve", "scoring", "stacks", "tests", "tools")
_POWERTOOLS = "aws_lambda_powertools"

# What a module may import besides the standard library and its own room; the nearest entry counts.
_ALLOWED: dict[str, tuple[str, ...]] = {
    "modelserve": ("orjson",),
    "modelserve._fp32_json": ("orjson", "numpy"),
    "modelserve.proxy": ("orjson", "pybase64"),
    "modelserve._zstd": ("backports", "compression"),
    "modelserve.snapshots": ("orjson", "snapshot_restore_py"),
    "modelserve.binding": ("orjson", "numpy", "onnxruntime"),
    "scoring": ("modelserve", "numpy", "orjson", "pyarrow"),
    "functions.predict": ("modelserve", "orjson"),
    "functions.authorizer": ("modelserve", _POWERTOOLS),
    "functions.batch": ("modelserve", "scoring", "orjson", "boto3", "botocore", "pyarrow", _POWERTOOLS),
    "functions.catalog": ("modelserve", "orjson", _POWERTOOLS),
    "functions.gpu_gateway": ("modelserve", _POWERTOOLS),
    "functions.trim": (),
    "functions.jobs": ("modelserve", "orjson", _POWERTOOLS),
    "stacks": ("aws_cdk", "constructs", "models.config", "modelserve.settings"),
    "app": ("aws_cdk", "models.config", "stacks"),
}
# What it may not, where anything from outside is allowed.
_FORBIDDEN: dict[str, tuple[str, ...]] = {
    "models": ("functions", "modelserve", "stacks", "tests", "tools", "app"),
    "tools": ("aws_cdk", "functions", "stacks", "tests", "app"),
    "tools.modelctl": ("aws_cdk", "functions", "stacks", "tests", "tools.bench", "tools.local", "app"),
    "tools.loopback": ("aws_cdk", "functions", "models", "stacks", "tests", "tools.bench", "tools.local", "tools.modelctl", "app"),
}
# What nothing may: a trace has only what Lambda itself writes, and so no payload, no path and no key.
_TRACERS = ("aws_xray_sdk", "opentelemetry", f"{_POWERTOOLS}.Tracer", f"{_POWERTOOLS}.tracing")


def _modules() -> Iterator[tuple[str, Path]]:
    """Every module of the repository but the tests, by its dotted name."""
    yield "app", ROOT / "app.py"
    for base, room in (
        (ROOT, "functions"),
        (ROOT, "models"),
        (ROOT, "stacks"),
        (ROOT, "tools"),
        (_LIBRARY, "modelserve"),
        (_SCORING, "scoring"),
    ):
        for file in sorted((base / room).rglob("*.py")):
            yield ".".join(file.relative_to(base).with_suffix("").parts).removesuffix(".__init__"), file


MODULES = dict(_modules())


class _Running(ast.NodeTransformer):
    """Takes away what only a type checker sees."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else self.generic_visit(node)


def _imports(name: str, file: Path) -> Iterator[str]:
    """The absolute name of everything that a module imports when it runs, wherever in it."""
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(_Running().visit(ast.parse(file.read_text("utf-8")))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            yield from (f"{origin}.{alias.name}" if origin in (*_OURS, _POWERTOOLS) else origin for alias in node.names)


def _nearest(rules: dict[str, tuple[str, ...]], name: str) -> str | None:
    return max((rule for rule in rules if _within(name, rule)), key=len, default=None)


def _within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def _refused(name: str, imported: str) -> bool:
    if imported.partition(".")[0] in sys.stdlib_module_names:
        return False
    if any(_within(imported, each) for each in _TRACERS):
        return True
    if rule := _nearest(_ALLOWED, name):
        room = rule if rule.startswith("functions.") else rule.partition(".")[0]
        return not any(_within(imported, each) for each in (room, *_ALLOWED[rule]))
    rule = _nearest(_FORBIDDEN, name)
    assert rule, f"{name} belongs to no room; give it a rule here"
    return any(_within(imported, each) for each in _FORBIDDEN[rule])


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    assert not [imported for imported in _imports(name, MODULES[name]) if _refused(name, imported)]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_why_it_exists(name):
    if MODULES[name].read_text("utf-8").strip():
        assert ast.get_docstring(ast.parse(MODULES[name].read_text("utf-8"))), f"{name} needs a docstring: one sentence on why it exists"


@pytest.mark.parametrize(
    ("name", "imported"),
    [
        ("modelserve.registry", "numpy"),
        ("modelserve.dataplane", "boto3"),
        ("functions.predict.handler", "functions.catalog.handler"),
        ("functions.predict.handler", _POWERTOOLS),
        ("functions.predict.handler", "scoring.shards"),
        ("scoring.shards", "boto3"),
        ("functions.authorizer.handler", "boto3"),
        ("functions.authorizer.handler", f"{_POWERTOOLS}.Tracer"),
        ("functions.catalog.handler", "aws_xray_sdk.core"),
        ("functions.gpu_gateway.handler", "functions.predict.observability"),
        ("functions.gpu_gateway.handler", "numpy"),
        ("stacks.serving", "modelserve.registry"),
        ("stacks.serving", "boto3"),
        ("tools.local.stack", "stacks.serving"),
        ("tools.modelctl.cli", "tools.local.stack"),
        ("tools.modelctl.trace.cold", "tools.bench.store"),
        ("tools.loopback.runtime", "tools.modelctl.lifecycle"),
        ("models.config", "modelserve.registry"),
    ],
)
def test_the_rules_refuse(name, imported):
    """A rule that refuses nothing would keep nothing."""
    assert _refused(name, imported)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import numpy.linalg", ["numpy.linalg"]),
        ("from .errors import ServeError", ["modelserve.errors"]),
        ("from modelserve import session", ["modelserve.session"]),
        ("from aws_lambda_powertools import Logger, Tracer", ["aws_lambda_powertools.Logger", "aws_lambda_powertools.Tracer"]),
        ("def late():\n    import boto3", ["boto3"]),
        ("if TYPE_CHECKING:\n    import boto3\nelse:\n    import numpy", ["numpy"]),
    ],
)
def test_imports_are_found_in_every_form(tmp_path, source, found):
    (tmp_path / "module.py").write_text(source)
    assert list(_imports("modelserve.module", tmp_path / "module.py")) == found
