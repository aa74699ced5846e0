"""What a measurement's test needs of a subject."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools.local.roots import TaskRoot


@pytest.fixture
def bare_subject(tmp_path: Path) -> Any:
    """A task root with nothing in it, and neither a model nor a store behind it."""
    root = TaskRoot(folder=tmp_path, before=(tmp_path,), after=(), handler="app.handler")
    return SimpleNamespace(
        root=root,
        event={"body": "{}"},
        environ={"BENCH": "1"},
        model=tmp_path / "model.onnx",
        told=_told,
    )


def _told(model: str, **settings: str) -> dict[str, str]:
    return {"MODEL_NAME": model, **settings}
