"""Every setting, route, command, metric and error is documented, and no link leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer import Typer

from models.config import ModelConfig
from modelserve import errors, settings
from modelserve.protocol import STATUS
from stacks.settings import DeploymentSettings
from tools.modelctl.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "SECURITY.md")] + sorted((ROOT / "docs").rglob("*.md"))
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (ROOT / "docs" / "reference.md").read_text("utf-8")
MODELS = (ROOT / "docs" / "models.md").read_text("utf-8")


def keys(section: type[BaseModel]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation)
        elif name != "name":
            yield name


def makefile_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def error_names() -> list[str]:
    return [name for name in errors.__all__ if name != "ServeError" and isinstance(getattr(errors, name), type)]


def variables() -> list[str]:
    kinds = [kind for name, kind in vars(settings).items() if name.endswith("Settings")]
    return sorted({name for kind in kinds for name in kind.__annotations__})


@pytest.mark.parametrize("key", list(keys(ModelConfig)))
def test_every_key_of_model_toml_is_documented(key: str) -> None:
    assert f"| `{key}` |" in MODELS


@pytest.mark.parametrize("name", variables())
def test_every_variable_of_a_function_is_documented(name: str) -> None:
    assert f"`{name.upper()}`" in REFERENCE


@pytest.mark.parametrize("name", list(DeploymentSettings.__annotations__))
def test_every_setting_of_a_deployment_is_documented(name: str) -> None:
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize("target", makefile_targets())
def test_every_make_target_is_documented(target: str) -> None:
    assert f"`make {target}`" in REFERENCE


def commands(group: Typer, before: str = "") -> Iterator[str]:
    for command in group.registered_commands:
        assert command.callback
        yield before + (command.name or command.callback.__name__)
    for inner in group.registered_groups:
        assert inner.typer_instance
        yield from commands(inner.typer_instance, f"{before}{inner.name} ")


@pytest.mark.parametrize("command", list(commands(app)))
def test_every_command_of_modelctl_is_documented(command: str) -> None:
    assert f"`modelctl {command}`" in REFERENCE


@pytest.mark.parametrize("name", error_names())
def test_every_error_is_documented(name: str) -> None:
    assert f"`{name}`" in REFERENCE


@pytest.mark.parametrize(("error", "status"), list(STATUS.items()))
def test_every_status_is_the_documented_one(error: type[errors.ServeError], status: int) -> None:
    rows = [row for row in REFERENCE.splitlines() if row.startswith("|") and f"`{error.__name__}`" in row]
    assert [f"| {status} |" in row for row in rows] == [True]


def test_the_readme_has_nothing_to_fill_in() -> None:
    assert not re.search(r"TODO|TBD|FIXME|XXX|\?\?\?|<(?:this|your|the) ", README)


@pytest.mark.parametrize("name", sorted(file.parent.name for file in (ROOT / "models").glob("*/model.toml")))
def test_every_sample_model_is_in_the_readme(name: str) -> None:
    assert f"| `{name}` |" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page: Path) -> None:
    text = page.read_text("utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)|(?:src|srcset)=\"([^\"]+)\"", text)
    local = [link or image for link, image in targets if "://" not in (link or image)]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:docs|functions|models|stacks|tests|tools|layers|\.github)/[\w/.-]+\.\w+)`", page.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []
