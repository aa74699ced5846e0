"""The layers of the images stand from rarely to often changed: a release of a function's code moves the last ones only."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tools.local.dockerfile import Instruction, parse

ROOT = Path(__file__).parents[3]
FROM_RARELY_TO_OFTEN = ("base", "requirements", "packages", "library", "code", "bytecode")
MAKES_A_LAYER = ("FROM", "COPY", "RUN")


@pytest.fixture(params=["batch", "predict"])
def folder(request):
    return f"functions/{request.param}/"


@pytest.fixture
def steps(folder):
    """The instructions that make layers, in their order."""
    text = (ROOT / folder / "Dockerfile").read_text("utf-8")
    return [step for step in parse(text) if step.name in MAKES_A_LAYER]


def brings(step: Instruction, folder: str) -> str:
    """Which of `FROM_RARELY_TO_OFTEN` an instruction adds; one that adds several, or anything else, is no layer of its own."""
    if step.name == "FROM":
        return "base"
    if step.name == "RUN":
        return "packages" if " pip install " in step.value else "bytecode"
    *sources, _ = step.value.split()
    kinds = {
        "requirements": all(source in {f"{folder}requirements-${{SESSION_BACKEND}}.txt", "functions/trim.py"} for source in sources),
        "library": all(source.startswith("layers/") for source in sources),
        "code": sources == [folder],
    }
    found = [kind for kind, is_it in kinds.items() if is_it]
    assert len(found) == 1, f"COPY {step.value} holds what changes rarely and what changes often, or what no image needs"
    return found[0]


def test_each_layer_changes_more_often_than_those_below_it(folder, steps):
    order = [FROM_RARELY_TO_OFTEN.index(brings(step, folder)) for step in steps]
    assert order == sorted(order)
    assert set(order) == set(range(len(FROM_RARELY_TO_OFTEN)))


def test_packages_are_installed_from_what_is_locked(folder, steps):
    (install,) = (shlex.split(step.value) for step in steps if brings(step, folder) == "packages")
    assert {"--require-hashes", "--no-deps"} <= set(install)
    assert install[install.index("-r") + 1] == "functions/requirements-${SESSION_BACKEND}.txt"


def test_what_was_copied_last_is_compiled_too(steps):
    """An import without bytecode takes 2.2 times as long, and nothing can write any on Lambda."""
    last = steps[-1]
    assert last.name == "RUN"
    assert last.value.startswith("python -m compileall -q . ")
